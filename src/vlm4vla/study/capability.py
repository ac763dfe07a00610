"""The question scores that a study needs, and the source of each score.

`capability.source` in the configuration is `embedded` (the package's own questions), `lmms-eval` or `scores`
(published scores in a CSV file). The rules and the checks before a run use this module.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from pathlib import Path

from vlm4vla.config.capability import QuestionScore
from vlm4vla.config.config import Config
from vlm4vla.config.stages import LmmsEvalSettings, ScoresSettings
from vlm4vla.core.errors import UserError
from vlm4vla.evaluation.capability.lmms_eval import interpreter, read_results
from vlm4vla.evaluation.capability.published_scores import KEY, NONE, OVERALL, Scores, read_published
from vlm4vla.study.layout import ARTEFACTS, fill

Vlm = tuple[str, str]  # a backbone, and the auxiliary task that it was fine-tuned on, or "none"
RULES = {
    "embedded": "rules/capability.smk",
    "lmms-eval": "rules/capability_lmms_eval.smk",
    "scores": "rules/capability_scores.smk",
}


def published_scores(config: Config) -> Scores:
    """The scores in the CSV file of `capability.scores`. Raises UserError."""
    return read_published(config.capability.scores, config.backbones, config.auxiliaries())


def scored_vlms(config: Config, vlms: Iterable[Vlm]) -> list[Vlm]:
    """The `vlms` that have a score: all, or with the source `scores` those in the CSV file."""
    if config.capability.source != "scores":
        return list(vlms)
    known = published_scores(config)
    return [vlm for vlm in vlms if vlm in known]


def scores_settings(config: Config, vlm: Vlm) -> ScoresSettings:
    """All published scores of one VLM. They are settings, so that a change of another VLM's line reruns
    nothing for this VLM."""
    sets = dict(_scores_of_vlm(config, vlm))
    overall = sets.pop(OVERALL)
    return ScoresSettings(
        name=vlm[0], auxiliary=vlm[1], file=config.capability.scores.file, sets=sets, overall=overall
    )


def _scores_of_vlm(config: Config, vlm: Vlm) -> Mapping[str, QuestionScore]:
    known = published_scores(config)
    if vlm not in known:
        row = f"model {vlm[0]!r}" + (f" with auxiliary {vlm[1]!r}" if vlm[1] != NONE else "")
        raise UserError(f"{KEY}: {config.capability.scores.file}: no line for {row}: add this line")
    return known[vlm]


def results_file(config: Config, vlm: Vlm) -> str | None:
    """The result file of lmms-eval that the configuration names for a VLM; None if there is none."""
    name = vlm[0] if vlm[1] == NONE else "/".join(vlm)
    return config.capability.lmms_eval.results.get(name)


def accepted_names(config: Config, vlm: Vlm) -> list[str]:
    """The names that a VLM may have in a result file: its folder in the results, or its checkpoint."""
    backbone, task = vlm
    if task == NONE:
        checkpoint = config.backbones[backbone].checkpoint
        folder = fill(ARTEFACTS["backbone"].stem, {"vlm": backbone})
    else:
        tasks = config.auxiliary.tasks if config.auxiliary else {}
        checkpoint = tasks[task].checkpoint if task in tasks else None
        folder = fill(ARTEFACTS["auxiliary"].stem, {"vlm": backbone, "task": task})
    return [folder, *([Path(checkpoint).name] if checkpoint else [])]


def lmms_eval_settings(config: Config, vlm: Vlm) -> LmmsEvalSettings:
    """The settings of a run of lmms-eval, or of reading a result file: only the values that it depends on."""
    given, file = config.capability.lmms_eval, results_file(config, vlm)
    common = {"name": vlm[0], "auxiliary": vlm[1], "tasks": given.tasks, "names": accepted_names(config, vlm)}
    if file is not None:
        return LmmsEvalSettings(**common, results=file, limit=given.limit)
    family, pixels = config.backbones[vlm[0]].family, config.backbones[vlm[0]].pixels
    # lmms-eval's models replace the bounds of the checkpoint's image processor by their own.
    bounds = (
        {"min_pixels": pixels.min, "max_pixels": pixels.max} if pixels and family not in given.models else {}
    )
    return LmmsEvalSettings(
        **common,
        model=given.model_for(family),
        limit=given.limit,
        batch=given.batch,
        arguments={key: value for key, value in bounds.items() if value is not None} | given.arguments,
        include=given.include,
        environment=given.environment,
    )


def check_capability_source(config: Config, shown: Iterable[Vlm], required: Iterable[Vlm]) -> None:
    """Raise UserError, before any job starts, for scores that are missing and cannot be made.

    `shown`: every VLM whose score a table shows. `required`: the VLMs whose published score must not be
    missing.
    """
    if config.capability.source == "scores":
        for vlm in required:
            _scores_of_vlm(config, vlm)
    if config.capability.source == "lmms-eval":
        _check_lmms_eval(config, list(shown))


def _check_lmms_eval(config: Config, shown: list[Vlm]) -> None:
    given = config.capability.lmms_eval
    for name in given.results:
        backbone, _, task = name.partition("/")
        if backbone not in config.backbones or (task or NONE) not in config.auxiliaries():
            raise UserError(
                f"config.yaml: capability.lmms_eval.results: {name!r} is not a VLM of this study: write "
                "BACKBONE or BACKBONE/TASK"
            )
    asked: dict[str, tuple[int | None, str]] = {}  # by task: the number of questions, and the first file
    for vlm in shown:
        file = results_file(config, vlm)
        if file is not None:
            names = accepted_names(config, vlm)
            found = read_results(Path(file).expanduser(), given.tasks, names, given.limit)
            for task, score in found.items():
                count, first = asked.setdefault(task, (score.questions, file))
                if count != score.questions:
                    raise UserError(
                        f"{file}: {task}: {score.questions} questions, but {first} has {count}: evaluate "
                        "both models on the same questions"
                    )
            continue
        family = config.backbones[vlm[0]].family
        if given.model_for(family) is None:
            key = "/".join(vlm).removesuffix(f"/{NONE}")
            raise UserError(
                f"config.yaml: capability.lmms_eval: lmms-eval has no model for the family {family!r} of "
                f"{vlm[0]!r}: write models.{family}, or write results.{key} with the path of a result file"
            )
        interpreter(given.environment)
