"""Checks that end a run before any job starts: configuration, targets, disk, and files already there."""

from __future__ import annotations

import contextlib
import shutil
import sys
import tempfile
from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from vlm4vla.backbones.installing import check_family
from vlm4vla.backbones.known_families import families, is_read
from vlm4vla.backbones.weights import weight_files
from vlm4vla.config.config import Config, load_config
from vlm4vla.core.errors import UserError, nearest
from vlm4vla.study import capability as capability_plan
from vlm4vla.study import published_outputs as published_study
from vlm4vla.study.study import TARGETS, Study
from vlm4vla.workflow.public_sets import check_sets
from vlm4vla.workflow.requirements import Asked, asked
from vlm4vla.workflow.targets import _is_published, check_target


def open_study(raw: Mapping[str, Any], targets: Iterable[str] = (), *, planned: bool = False) -> Study:
    """The study of a raw configuration, once everything that can be checked beforehand is right.

    `targets`: what Snakemake was asked for. `planned`: nothing will run, so data and tools that are not there
    yet are a note on standard error. Raises UserError with one line for each fault.
    """
    study = Study(load_config(raw))
    targets = [str(target) for target in targets]
    for target in targets:
        check_target(study, target)
    if study.config.study == published_study.TARGET:
        raise UserError(
            f"config.yaml: study: {study.config.study!r} is where the paper's numbers go: write another"
        )
    check_scores(study.config)
    if study.config.capability.source == "scores":
        capability_plan.published(study.config)  # what the rules ask for is there
    if targets and all(_is_published(study, target) for target in targets):
        check_writable(study.config)  # nothing is trained: what training needs is not asked for
        return study
    with noted(planned):
        check_results(study.config)
    needed = asked(study, targets)
    for name, backbone in study.config.backbones.items():
        if backbone.family not in families():
            raise UserError(
                f"config.yaml: backbones.{name}.family: unknown family {backbone.family!r}: "
                + nearest(backbone.family, families())
            )
        if backbone.checkpoint is not None and backbone.revision is None:
            folder = Path(backbone.checkpoint).expanduser()
            check_checkpoint(folder, f"backbones.{name}.checkpoint")
            check_family(folder, backbone.family, f"backbones.{name}")
    check_experts(study.config)
    with noted(planned):
        check_datasets(study.config, needed.demonstrations)
    fast = study.config.auxiliary and study.config.auxiliary.fast
    if fast and fast.tokenizer is not None:
        from vlm4vla.actions.fast import check_universal

        check_universal(Path(fast.tokenizer).expanduser())
    check_task_checkpoints(study, targets)
    with noted(planned):
        check_sets(study.config, needed.sets)
    with noted(planned and study.config.capability.source == "lmms-eval"):
        check_capability(study, needed)
    check_made(study)
    return study


@contextlib.contextmanager
def noted(planned: bool) -> Iterator[None]:
    """Let a plan go on where a run would end."""
    try:
        yield
    except UserError as error:
        if not planned:
            raise
        print(f"note: a run would end here: {error}", file=sys.stderr)


def check_experts(config: Config) -> None:
    """Refuse an expert VLA on a family whose language model cannot be read layer by layer."""
    for name, expert in config.experts.items():
        family = config.backbones[expert.backbone].family
        if not is_read(family):
            raise UserError(
                f"config.yaml: experts.{name}.backbone: {expert.backbone!r} is of the family {family!r}, "
                "whose language model no expert head can read: write a backbone of another family"
            )


def check_datasets(config: Config, needed: Collection[str]) -> None:
    """Refuse a local data set that is not there, or whose features are not what its benchmark needs.

    `needed`: benchmarks.
    """
    for name in config.benchmarks:
        if name not in needed:
            continue
        wanted = config.benchmarks[name].demonstrations
        if wanted.dataset is None:
            continue
        from vlm4vla.data.demonstrations.matching import check_stated_gripper, choose
        from vlm4vla.data.lerobot.hub import META, check_no_revision, dataset_folder
        from vlm4vla.data.lerobot.metadata import read_metadata

        key = f"config.yaml: benchmarks.{name}.demonstrations"
        check_no_revision(wanted.dataset, wanted.revision, key)
        if wanted.revision is None:
            metadata = read_metadata(dataset_folder(wanted.dataset, None, META, key))
            choice = choose(metadata, wanted, key)
            check_stated_gripper(metadata, choice, wanted, name, key)


def check_scores(config: Config) -> None:
    """Refuse question scores for the published study that are not there."""
    if config.published_scores is not None and not Path(config.published_scores).is_file():
        raise UserError(
            f"config.yaml: published_scores: no file {config.published_scores!r}: write the path of a CSV "
            "with the columns model,score, or leave the key out"
        )


def check_writable(config: Config) -> None:
    """Refuse a results folder that cannot be written."""
    folder = Path(config.results)
    try:
        folder.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryFile(dir=folder):
            pass
    except OSError as error:
        raise UserError(
            f"results: folder {config.results!r} cannot be written ({error.strerror}): "
            "write a folder that can, or mend its permissions"
        ) from None


def check_results(config: Config) -> None:
    """Refuse a results folder that cannot be written, or a disk with less room than `minimum_free_gb`."""
    check_writable(config)
    folder = Path(config.results)
    free = shutil.disk_usage(folder).free / 1e9
    if free < config.minimum_free_gb:
        raise UserError(
            f"results: the disk of {config.results!r} has {free:.1f} GB free, minimum_free_gb asks for "
            f"{config.minimum_free_gb:g}: free some room, or write another folder"
        )


def check_checkpoint(folder: Path, key: str) -> None:
    """Refuse a Hugging Face folder that is not there, without config or weights, or with a truncated file."""
    if not folder.is_dir():
        raise UserError(
            f"{key}: folder {str(folder)!r} does not exist: write the folder of a checkpoint, "
            "or a hub name together with its `revision`"
        )
    try:
        weight_files(folder)
    except UserError as error:
        raise UserError(f"{key}: {error}") from None


def check_task_checkpoints(study: Study, targets: Sequence[str]) -> None:
    """Refuse an auxiliary task's local checkpoint that is damaged, or of another family than a backbone that
    one of `targets` (none: all tables) wants to know the task. What a hub name is, its stage finds out."""
    config = study.config
    if config.auxiliary is None:
        return
    tables = [table for target in targets or ["all_tables"] for table in _tables(study, target)]
    wanted = [(run.vlm, run.auxiliary) for table in tables for run in study.cells(table)]
    wanted += [tuned for target in targets if (tuned := _tuned(study, target)) is not None]
    for name, task in config.auxiliary.tasks.items():
        if task.checkpoint is None or task.revision is not None:
            continue
        folder, key = Path(task.checkpoint).expanduser(), f"auxiliary.tasks.{name}"
        check_checkpoint(folder, f"{key}.checkpoint")
        for vlm in dict.fromkeys(vlm for vlm, auxiliary in wanted if auxiliary == name):
            check_family(folder, config.backbones[vlm].family, key, f"backbone {vlm!r}")


def check_capability(study: Study, needed: Asked) -> None:
    """Refuse question scores that are needed and that are not there, nor can be made."""
    points = study.scored("correlation") if needed.correlation else []
    capability_plan.check(study.config, needed.capability, points)


def _tables(study: Study, target: str) -> list[str]:
    """The tables that a target, by name or by path, makes."""
    if target in TARGETS:
        return [table for table in TARGETS[target] if table in study.tables()]
    return [table for table in study.tables() if target in study.table_files(table)]


def _tuned(study: Study, target: str) -> tuple[str, str] | None:
    """The backbone and the auxiliary task in a target's path, if it has both."""
    parts = target.removeprefix(f"{study.root}/").split("/")
    if parts[0] not in ("auxiliary", "capability", "vla", "rollouts", "cells") or len(parts) < 3:
        return None
    vlm, task = parts[1], parts[2].removesuffix(".json")
    if vlm in study.config.experts:
        vlm = study.config.experts[vlm].backbone
    return (vlm, task) if vlm in study.config.backbones else None


def check_made(study: Study) -> None:
    """Refuse damaged files among the artefacts that are already there and that a job would read."""
    for vlm in study.config.backbones:
        provenance = Path(study.backbone_path(vlm))
        if provenance.exists():
            weight_files(provenance.parent)
    for benchmark in study.config.benchmarks:
        provenance = Path(study.demonstrations_path(benchmark))
        if provenance.exists():
            from vlm4vla.data.demonstrations.opening import open_demonstrations

            open_demonstrations(provenance.parent, images=False)
