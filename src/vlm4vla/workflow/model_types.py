"""Checks before any job of backbones whose model type has no adapter of its own."""

from __future__ import annotations

import contextlib
import sys
from collections.abc import Collection, Iterator
from importlib import metadata
from pathlib import Path

from vlm4vla.backbones.generic.surveyed import findings, problem
from vlm4vla.backbones.lookup import is_generic
from vlm4vla.backbones.weights import read_config
from vlm4vla.config.backbones import Backbone
from vlm4vla.config.config import Config
from vlm4vla.core.errors import UserError
from vlm4vla.study.study import Study

PAGE = "docs/backbones.md"
TIMM = "timm"


def check_packages(study: Study) -> None:
    """Raise UserError for a backbone whose model type needs a package that is not installed."""
    for name, backbone in study.config.backbones.items():
        found = findings().get(backbone.family or "") if is_generic(backbone.family or "") else None
        lacking = found.lacking() if found is not None else []
        if TIMM in lacking and _has_other_vision(backbone):
            lacking.remove(TIMM)
        if lacking:
            raise UserError(
                f"config.yaml: backbones.{name}.family: {backbone.family!r} needs "
                f"{' and '.join(lacking)}: run in the environment of `make env-torchvision` ({PAGE})"
            )


def _has_other_vision(backbone: Backbone) -> bool:
    """Whether the folder of a checkpoint has a vision encoder that is not timm's, as its type usually has."""
    folder = Path(backbone.checkpoint or "").expanduser()
    if backbone.checkpoint is None or not (folder / "config.json").is_file():
        return False
    stated = (read_config(folder).get("vision_config") or {}).get("model_type")
    return stated is not None and not stated.startswith(TIMM)


def check_model_types(study: Study) -> None:
    """Raise UserError for a backbone whose model type, or whose tiny widths, do not work.

    What `vlm4vla survey` has found with the installed transformers is known. Any other type is surveyed now.
    A tiny backbone that no run has made yet is built once.
    """
    surveyed: set[str] = set()
    for name, backbone in study.config.backbones.items():
        family = backbone.family or ""
        if not is_generic(family):
            continue
        key = f"config.yaml: backbones.{name}"
        reason = problem(family)
        if reason is not None:
            raise UserError(f"{key}.family: {family!r} does not work as a backbone: {reason} ({PAGE})")
        if not _is_known(family) and family not in surveyed:
            surveyed.add(family)
            with _quiet():
                _survey(family, key, tiny=backbone.tiny is not None)
        lacks = family in findings() and findings()[family].lacking()
        if backbone.tiny is not None and not lacks and not Path(study.backbone_path(name)).exists():
            with _quiet():
                _build(study, name)


def check_frozen_vision(config: Config, trainings: Collection[tuple[str, str]]) -> None:
    """Refuse to freeze the vision encoder of a model that turns images into codes: no training changes it.

    `trainings`: names of a backbone, and of a variant or auxiliary task that freezes its vision encoder.
    """
    for name, training in sorted(trainings):
        family = config.backbones[name].family or ""
        if is_generic(family) and _has_image_codes(family):
            raise UserError(
                f"config.yaml: {training}: the model type {family!r} of backbones.{name} turns images into "
                "codes, so its vision encoder gets no gradient in any case, and freezing it would repeat the "
                f"training without {training}: leave {name} or {training} out of the tables ({PAGE})"
            )


def _has_image_codes(family: str) -> bool:
    from transformers.models.auto.configuration_auto import CONFIG_MAPPING

    from vlm4vla.backbones.generic.image_codes import has_image_codes

    return has_image_codes(CONFIG_MAPPING[family]())


@contextlib.contextmanager
def _quiet() -> Iterator[None]:
    """Within the context, transformers does not say which faster packages it could use."""
    from transformers.utils import logging

    before = logging.get_verbosity()
    logging.set_verbosity_error()
    try:
        yield
    finally:
        logging.set_verbosity(before)


def _is_known(family: str) -> bool:
    found = findings().get(family)
    return found is not None and found.transformers == metadata.version("transformers")


def _survey(family: str, key: str, *, tiny: bool) -> None:
    """Survey a type that nobody has surveyed, such as one of a newer transformers."""
    from vlm4vla.policies.survey import survey

    found = survey(family)
    if found.works:
        return
    if found.failed == "twin" and not tiny:
        # The rules for tiny configurations do not fit it, which says nothing about the checkpoint.
        print(
            f"note: {key}: no small model of the type {family!r} can be built to check it before the run "
            f"({found.reason}): the checkpoint is checked when it is loaded",
            file=sys.stderr,
        )
        return
    raise UserError(
        f"{key}.family: {family!r} does not work as a backbone with transformers "
        f"{metadata.version('transformers')}: `vlm4vla survey` fails at {found.failed!r}: {found.reason}"
    )


def _build(study: Study, name: str) -> None:
    """Build a tiny backbone with the configured widths, and check it."""
    from vlm4vla.backbones import build
    from vlm4vla.backbones.generic.checks import check_states
    from vlm4vla.training.batches.alignment import GRID

    config = study.config
    backbone = build(config.backbones[name], name, [], config.image_size, 0)
    check_states(backbone, f"config.yaml: backbones.{name}")
    if config.pretraining is not None and config.pretraining.alignment is not None:
        backbone.adapter.tokens_of_cells(backbone.model, GRID)
