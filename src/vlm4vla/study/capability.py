"""Which question scores a study needs, and where each comes from: the workflow's and the checks' view."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path

from vlm4vla.config.config import Config
from vlm4vla.config.stages import LmmsEvalSettings, ScoresSettings
from vlm4vla.core.errors import UserError
from vlm4vla.evaluation.capability.lmms_results import read_results
from vlm4vla.evaluation.capability.published_scores import KEY, NONE, OVERALL, Scores, read_published

Vlm = tuple[str, str]  # backbone, auxiliary task
RULES = {
    "embedded": "rules/capability.smk",
    "lmms-eval": "rules/capability_lmms_eval.smk",
    "scores": "rules/capability_scores.smk",
}


def published(config: Config) -> Scores:
    """What the CSV of `capability.scores` holds. Raises UserError."""
    return read_published(config.capability.scores, config.backbones, config.auxiliaries())


def measured(config: Config, vlms: Iterable[Vlm]) -> list[Vlm]:
    """Those of `vlms` that have a score: all of them, but where scores are published ones."""
    if config.capability.source != "scores":
        return list(vlms)
    known = published(config)
    return [vlm for vlm in vlms if vlm in known]


def scores_settings(config: Config, vlm: Vlm) -> ScoresSettings:
    """What the CSV says of a VLM, whole: another line of it reruns nothing of this one."""
    sets = dict(_published_of(config, vlm))
    overall = sets.pop(OVERALL)
    return ScoresSettings(
        name=vlm[0], auxiliary=vlm[1], file=config.capability.scores.file, sets=sets, overall=overall
    )


def _published_of(config: Config, vlm: Vlm) -> dict:
    known = published(config)
    if vlm not in known:
        what = f"model {vlm[0]!r}" + (f" with auxiliary {vlm[1]!r}" if vlm[1] != NONE else "")
        raise UserError(f"{KEY}: {config.capability.scores.file}: has no line for {what}: write one")
    return known[vlm]


def results_file(config: Config, vlm: Vlm) -> str | None:
    """The result file of lmms-eval that is there already for a VLM."""
    name = vlm[0] if vlm[1] == NONE else "/".join(vlm)
    return config.capability.lmms_eval.results.get(name)


def names(config: Config, vlm: Vlm) -> list[str]:
    """What a VLM may be called in a result file: its folder here, or the checkpoint that it is."""
    backbone, task = vlm
    if task == NONE:
        checkpoint, own = config.backbones[backbone].checkpoint, f"backbones/{backbone}"
    else:
        tasks = config.auxiliary.tasks if config.auxiliary else {}
        checkpoint, own = tasks[task].checkpoint if task in tasks else None, f"auxiliary/{backbone}/{task}"
    return [own, *([Path(checkpoint).name] if checkpoint else [])]


def lmms_eval_settings(config: Config, vlm: Vlm) -> LmmsEvalSettings:
    """A run of lmms-eval, or a result file in its place: only what the one or the other depends on."""
    given, file = config.capability.lmms_eval, results_file(config, vlm)
    common = {"name": vlm[0], "auxiliary": vlm[1], "tasks": given.tasks, "names": names(config, vlm)}
    if file is not None:
        return LmmsEvalSettings(**common, results=file)
    return LmmsEvalSettings(
        **common,
        model=given.model_of(config.backbones[vlm[0]].family),
        limit=given.limit,
        batch=given.batch,
        arguments=given.arguments,
        include=given.include,
        environment=given.environment,
    )


def check(config: Config, needed: Iterable[Vlm], points: Iterable[Vlm]) -> None:
    """Refuse, before any job, scores that are not there or cannot be made. Raises UserError.

    `needed`: every VLM whose score a table shows; `points`: those that a table cannot do without.
    """
    if config.capability.source == "scores":
        for vlm in points:
            _published_of(config, vlm)
    if config.capability.source == "lmms-eval":
        _check_lmms_eval(config, list(needed))


def _check_lmms_eval(config: Config, needed: list[Vlm]) -> None:
    from vlm4vla.evaluation.capability.lmms_eval import interpreter

    given = config.capability.lmms_eval
    for name in given.results:
        backbone, _, task = name.partition("/")
        if backbone not in config.backbones or (task or NONE) not in config.auxiliaries():
            raise UserError(
                f"config.yaml: capability.lmms_eval.results: {name!r} is no VLM of this study: write "
                "BACKBONE or BACKBONE/TASK"
            )
    for vlm in needed:
        file = results_file(config, vlm)
        if file is not None:
            read_results(Path(file).expanduser(), given.tasks, names(config, vlm))
            continue
        family = config.backbones[vlm[0]].family
        if given.model_of(family) is None:
            raise UserError(
                f"config.yaml: capability.lmms_eval: lmms-eval has no model for the family {family!r} of "
                f"{vlm[0]!r}: write models.{family}, or results.{'/'.join(vlm).removesuffix('/' + NONE)} "
                "with the path of a result file"
            )
        interpreter(given.environment)
