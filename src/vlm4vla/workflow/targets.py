"""Checks of the targets that a user names: every target must be made by a rule."""

from __future__ import annotations

import os
from collections.abc import Collection, Mapping

from vlm4vla.conventions.tables import TABLES
from vlm4vla.core.errors import UserError, suggestion
from vlm4vla.study.layout import ARTEFACTS, Artefact
from vlm4vla.study.outputs import PUBLISHED
from vlm4vla.study.runs import EXPERT_VARIANT, FAST, REFERENCES
from vlm4vla.study.study import Study, table_targets

SEEDS = 2**32  # a seed is below this number (config/base.py)
_OF_POLICIES = ("vla", "rollout", "shard", "cell")  # `vlm` may be an expert VLA in the paths of these
# A rule makes all artefacts of these kinds together, and only those that the configuration needs.
_MADE_TOGETHER = ("table", "figure", "analysis", "caption", "films", "summary", "study_config")


def is_published(study: Study, target: str) -> bool:
    """Whether a target belongs to the analysis of the paper's numbers."""
    return target == PUBLISHED or target in study.published_study()


def check_target(study: Study, target: str) -> None:
    """Raise UserError for a target that no rule makes: an unknown name, or a path with an unknown name."""
    if is_published(study, target):
        return
    targets = table_targets()
    if target in targets:
        if not study.targets(target):
            [table] = targets[target]
            others = [study.target_of(name) for name in study.tables()]
            if TABLES[table].same_cells_as in study.tables():  # only a table of several rankings is left out
                raise UserError(
                    f"target {target!r}: there is nothing to compare: config.yaml: "
                    f"tables.{TABLES[table].same_cells_as}.benchmarks has one benchmark: add another one, or "
                    "write transfer.records: [FOLDER] with the results of another study"
                )
            raise UserError(
                f"target {target!r}: config.yaml has no such table: add "
                f"tables.{TABLES[table].same_cells_as or table}, "
                f"or write one of these targets: all_tables, {', '.join(others)}"
            )
        return
    root = f"{study.root}/"
    if not target.startswith(root):
        plain = os.path.relpath(os.path.abspath(target.replace("\0", "")))
        if "/" in target and plain != target and plain.startswith((root, f"{study.published_layout.root}/")):
            raise UserError(
                f"target {target!r}: Snakemake takes a path only as the rules write it: write {plain!r}"
            )
        if target.startswith(f"{study.published_layout.root}/"):
            raise UserError(
                f"target {target!r}: no rule makes this file: {suggestion(target, study.published_study())}"
            )
        if "/" in target:
            raise UserError(
                f"target {target!r}: the study {study.config.study!r} makes files below {root}: write a path "
                "in this folder, or add the layers of the study that you mean with `--configfile`"
            )
        known = [*targets, PUBLISHED]
        raise UserError(f"target {target!r}: unknown target: {suggestion(target, known)}")
    _check_path(study, target)


def _check_path(study: Study, target: str) -> None:
    path = target.removeprefix(f"{study.root}/")
    found = study.layout.parse(target)
    artefact = found[0] if found else _artefact_in_folder(target, path)
    values = found[1] if found else artefact.parse_beginning(path)
    for wildcard, known in _known_values(study, artefact, values).items():
        value = values.get(wildcard)
        if value is not None and value not in known:
            label = "backbone" if wildcard == "vlm" else wildcard
            raise UserError(f"target {target!r}: unknown {label} {value!r}: {suggestion(value, known)}")
    seed = values.get("seed")
    if seed is not None and (str(int(seed)) != seed or int(seed) >= SEEDS):
        raise UserError(
            f"target {target!r}: {seed!r} is not a seed: write a whole number from 0 to {SEEDS - 1}"
        )
    if not found:
        completed = artefact.completed(path)
        advice = f"did you mean '{study.root}/{completed}'?"
        if completed is None:
            advice = f"write a path of the form {study.layout.output(artefact.name)}"
        raise UserError(f"target {target!r}: no rule makes this file: {advice}")
    made = study.targets("all_tables")
    if artefact.name in _MADE_TOGETHER and target not in made:
        raise UserError(f"target {target!r}: no rule makes this file: {suggestion(target, made)}")


def _artefact_in_folder(target: str, path: str) -> Artefact:
    """The first kind of artefact in the folder that `path` begins with, for a message about `path`."""
    folder = path.partition("/")[0]
    known = []
    for artefact in ARTEFACTS.values():
        if artefact.folder == folder:
            return artefact
        known += artefact.paths() if "/" not in artefact.pattern else [artefact.folder]
    raise UserError(
        f"target {target!r}: unknown stage {folder!r}: {suggestion(folder, dict.fromkeys(known))}"
    )


def _known_values(study: Study, artefact: Artefact, values: Mapping[str, str]) -> dict[str, Collection[str]]:
    """The values that the wildcards of an artefact may have."""
    config = study.config
    models: Collection[str] = study.policies() if artefact.name in _OF_POLICIES else config.backbones
    auxiliaries, variants = study.auxiliaries(), list(config.variants)
    only: dict[str, Collection[str]] = {}
    if artefact.name in ("rollout", "shard") and values.get("vlm") in REFERENCES:
        embedded = values.get("benchmark") in study.embedded_benchmarks()
        known = values.get("benchmark") in config.benchmarks
        models = study.reference_policies(values["benchmark"]) if known else REFERENCES
        auxiliaries, variants = ["none"], [EXPERT_VARIANT]
        only = {"seed": ["0"], "executed": [""]} if embedded else {}
    elif values.get("vlm") in config.experts:
        variants = [EXPERT_VARIANT]
    tasks = study.auxiliaries()[1:]
    if artefact.name == "auxiliary_data":  # both forms of FAST injection share one dataset
        tasks = list(dict.fromkeys("fast" if task in FAST else task for task in tasks))
    return {
        "vlm": models,
        "auxiliary": auxiliaries,
        "task": tasks,
        "variant": variants,
        "benchmark": config.benchmarks,
        "table": study.tables(),
        **only,
    }
