"""Whether a rule makes a target: names and paths that a user may ask for."""

from __future__ import annotations

from pathlib import Path

from vlm4vla.core.errors import UserError, nearest
from vlm4vla.study import published_outputs as published_study
from vlm4vla.study.study import TARGETS, Study

CELL_FORMATS = (".md", ".csv", ".tex")


def _is_published(study: Study, target: str) -> bool:
    return target == published_study.TARGET or target in study.published_study()


def check_target(study: Study, target: str) -> None:
    """Refuse a target that no rule makes: an unknown name, or a path with an unknown name in it."""
    root = f"{study.root}/"
    if _is_published(study, target):
        return
    if target in TARGETS:
        if not study.targets(target):
            raise UserError(
                f"target {target!r}: config.yaml has no such table: add tables.{TARGETS[target][0]}, "
                f"or ask for one of: all_tables, {', '.join(study.tables())}"
            )
        return
    if not target.startswith(root):
        if "/" in target:
            raise UserError(
                f"target {target!r}: the study {study.config.study!r} makes files below {root}: write a path "
                "there, or `--configfile` with the layers of the study that you mean"
            )
        known = [*TARGETS, published_study.TARGET]
        raise UserError(f"target {target!r}: unknown target: {nearest(target, known)}")
    _check_path(study, target, target.removeprefix(root).split("/"))


def _check_path(study: Study, target: str, parts: list[str]) -> None:
    config = study.config
    known = {
        "vlm": config.backbones,
        "policy": study.policies(),
        "auxiliary": study.auxiliaries(),
        "task": study.auxiliaries()[1:],
        "variant": config.variants,
        "benchmark": config.benchmarks,
        "table": study.tables(),
    }
    shapes = {
        "questions": (),
        "backbones": ("vlm",),
        "capability": ("vlm", "auxiliary"),
        "auxiliary": ("vlm", "task"),
        "auxiliary_data": (),
        "demonstrations": ("benchmark",),
        "vla": ("policy", "auxiliary", "variant", "benchmark"),
        "rollouts": ("policy", "auxiliary", "variant", "benchmark"),
        "cells": ("policy", "auxiliary", "variant", "benchmark"),
        "tables": ("table",),
        "analysis": ("table",),
        "figures": (),
        "films": ("benchmark",),
        "summary.md": (),
        "summary.rst": (),
        "config.yaml": (),
        "config.html": (),
    }
    stage, *rest = parts
    if stage not in shapes:
        raise UserError(f"target {target!r}: unknown stage {stage!r}: {nearest(stage, shapes)}")
    if stage == "rollouts" and rest and rest[0] in ("random", "expert"):
        known["policy"] = (rest[0],)
    if stage == "cells" and len(rest) == len(shapes[stage]) and Path(target).suffix not in CELL_FORMATS:
        raise UserError(f"target {target!r}: no such file: did you mean {target + CELL_FORMATS[0]!r}?")
    for kind, word in zip(shapes[stage], rest, strict=False):
        name = Path(word).stem if kind in ("table", "auxiliary", "benchmark") else word
        if name not in known[kind]:
            label = "backbone" if kind in ("vlm", "policy") else kind
            raise UserError(f"target {target!r}: unknown {label} {name!r}: {nearest(name, known[kind])}")
