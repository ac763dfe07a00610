"""Checks before any job starts: configuration, targets, disk, simulators, GPUs, and existing files."""

from __future__ import annotations

import contextlib
import os
import sys
import tempfile
from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from vlm4vla.backbones.complete_folder import check_chat_template, check_complete
from vlm4vla.backbones.folder_files import MissingFileError
from vlm4vla.backbones.installing import check_family
from vlm4vla.backbones.lookup import is_known, known_families, supports_expert_heads, supports_packing
from vlm4vla.backbones.tiny_sizes import check_tiny
from vlm4vla.backbones.weights import weight_files
from vlm4vla.config.config import Config, load_config
from vlm4vla.config.public_sets import SetSettings
from vlm4vla.core.disk import check_room
from vlm4vla.core.errors import UserError, suggestion
from vlm4vla.evaluation.simulators.installation import check_installed
from vlm4vla.evaluation.simulators.recorded_states import overlap_note
from vlm4vla.policies.released.folder import check_pi0, check_state_size, key_of
from vlm4vla.report.published_study.scores import read_scores
from vlm4vla.report.rows.paper_numbers import published_backbones
from vlm4vla.study import capability as capability_plan
from vlm4vla.study.outputs import PUBLISHED
from vlm4vla.study.study import Study, table_targets
from vlm4vla.workflow.model_types import check_frozen_vision, check_model_types, check_packages
from vlm4vla.workflow.other_study import check_other_studies, check_other_study
from vlm4vla.workflow.requirements import Requirements, requirements_of
from vlm4vla.workflow.targets import check_target, is_published

MOST_TABLES = 2000  # of a dataset, whose rows are counted before a run; the stage counts those of any number
PUBLISHED_FOLDER = Path("workflow/published")
GPU_DEVICES = ("nvidia[0-9]*", "kfd")  # under /dev: NVIDIA's GPUs, and AMD's driver


def open_study(raw: Mapping[str, Any], targets: Iterable[str] = (), *, planned: bool = False) -> Study:
    """Check a raw configuration and the targets of a run, and return the study.

    `targets`: names or paths, as on Snakemake's command line. `planned`: no job will run, so that missing
    data and tools cause only a note on standard error. Raises UserError with one line per error.
    """
    study = Study(load_config(raw))
    check_is_folder(study.config)
    targets = [str(target) for target in targets]
    for target in targets:
        check_target(study, target)
    if study.config.study == PUBLISHED:
        raise UserError(
            f"config.yaml: study: {study.config.study!r} is reserved for the paper's numbers: write another "
            "name"
        )
    check_published_scores_file(study.config)
    if study.config.capability.source == "scores":
        capability_plan.published_scores(study.config)  # the rules read this file
    if targets and all(is_published(study, target) for target in targets):
        check_writable(study.config)  # the run trains nothing, so that no other check applies
        return study
    with errors_as_notes(planned):
        check_results(study.config)
    needed = requirements_of(study, targets)
    with errors_as_notes(planned):
        check_other_study(study, targets)
    for name, backbone in study.config.backbones.items():
        if not is_known(backbone.family):
            raise UserError(
                f"config.yaml: backbones.{name}.family: unknown family {backbone.family!r}: "
                + suggestion(backbone.family, known_families())
            )
        if backbone.tiny is not None:
            check_tiny(backbone.tiny, name, study.config.image_size, backbone.family)
        if backbone.checkpoint is not None and backbone.revision is None:
            folder = Path(backbone.checkpoint).expanduser()
            check_checkpoint(folder, f"backbones.{name}.checkpoint")
            check_family(folder, backbone.family, f"backbones.{name}")
            check_files(folder, f"backbones.{name}.checkpoint")
        elif backbone.checkpoint is not None:
            check_cached(backbone.checkpoint, backbone.revision, f"backbones.{name}.checkpoint")
    with errors_as_notes(planned):
        check_packages(study)
    check_model_types(study)
    check_frozen_vision(study.config, needed.frozen)
    check_experts(study.config)
    check_packing(study.config, needed.packed)
    check_released_policies(study.config)
    with errors_as_notes(planned):
        check_datasets(study.config, needed.demonstrations)
    fast = study.config.auxiliary and study.config.auxiliary.fast
    if fast and fast.tokenizer is not None:
        from vlm4vla.actions.fast import check_universal

        check_universal(Path(fast.tokenizer).expanduser())
    check_task_checkpoints(study, targets)
    with errors_as_notes(planned):
        check_public_sets(study.config, needed.sets)
    with errors_as_notes(planned):
        check_other_studies(study)
    with errors_as_notes(planned and study.config.capability.source == "lmms-eval"):
        check_capability(study, needed)
    check_existing_artefacts(study)
    note_recorded_states(study.config, needed.rollouts)
    return study


@contextlib.contextmanager
def errors_as_notes(planned: bool) -> Iterator[None]:
    """If `planned`, print a UserError as a note on standard error instead of raising it."""
    try:
        yield
    except UserError as error:
        if not planned:
            raise
        print(f"note: a run would stop with this error: {error}", file=sys.stderr)


def check_experts(config: Config) -> None:
    """Refuse an expert VLA if no expert head can read the layers of its backbone's language model."""
    for name, expert in config.experts.items():
        family = config.backbones[expert.backbone].family
        if not supports_expert_heads(family):
            raise UserError(
                f"config.yaml: experts.{name}.backbone: {expert.backbone!r} has the family {family!r}, and "
                "expert heads do not support its language model: write a backbone of another family"
            )


def check_packing(config: Config, names: Collection[str]) -> None:
    """Refuse attention without padding for a backbone that cannot have it."""
    for name in sorted(names):
        family = config.backbones[name].family or ""
        if not supports_packing(family):
            raise UserError(
                f"config.yaml: execution.attention: flash_attention_2 is for plain causal attention, and the "
                f"family {family!r} of backbones.{name} has other attention, or may have: write `attention: "
                "auto` or `attention: sdpa`"
            )


def check_released_policies(config: Config) -> None:
    """Refuse a released policy whose folder is missing, damaged or of another kind, or does not fit.

    A checkpoint from the hub that is not in the cache yet is checked by its rollout.
    """
    for benchmark, settings in config.benchmarks.items():
        for name, policy in settings.released_policies.items():
            key = key_of(benchmark, name)
            if policy.revision is None:
                folder = Path(policy.checkpoint).expanduser()
                check_checkpoint(folder, f"{key}.checkpoint")
            else:
                found = check_cached(policy.checkpoint, policy.revision, f"{key}.checkpoint")
                if found is None:
                    continue
                folder = found
            horizon = policy.execution_horizon or settings.evaluation.execution_horizon
            statistics = check_pi0(folder, policy, horizon, key)
            if settings.evaluation.simulator is None:
                from vlm4vla.data.lerobot.writer import STATE_NAMES

                check_state_size(statistics, len(STATE_NAMES), key)


def check_datasets(config: Config, needed: Collection[str]) -> None:
    """Refuse a dataset on this machine that is missing or incomplete, or lacks what its benchmark needs.

    `needed`: the benchmarks whose demonstrations the run reads. A dataset of the hub is on this machine if
    the hub is switched off (HF_HUB_OFFLINE); otherwise its stage checks it.
    """
    for name in config.benchmarks:
        settings = config.benchmarks[name].demonstrations
        if name not in needed or settings.dataset is None:
            continue
        from vlm4vla.data.demonstrations.matching import check_stated_gripper, choose
        from vlm4vla.data.lerobot.hub import META, cached_folder, check_no_revision, dataset_folder
        from vlm4vla.data.lerobot.metadata import read_metadata

        key = f"config.yaml: benchmarks.{name}.demonstrations"
        check_no_revision(settings.dataset, settings.revision, key)
        if settings.revision is None:
            folder = dataset_folder(settings.dataset, None, META, key)
        else:
            folder = cached_folder(settings.dataset, settings.revision)
        if folder is not None:
            metadata = read_metadata(folder)
            choice = choose(metadata, settings, key)
            check_stated_gripper(metadata, choice, settings, name, key)
            if len(metadata.tables()) <= MOST_TABLES:
                metadata.check_tables()
            if metadata.is_video(choice.camera):
                metadata.videos(choice.camera)


def note_recorded_states(config: Config, benchmarks: Collection[str]) -> None:
    """Print a note for each of `benchmarks` whose evaluation plays the initial states of its demonstrations.

    This is known of datasets on this machine that were recorded on the simulator.
    """
    for name in sorted(benchmarks):
        dataset = config.benchmarks[name].demonstrations.dataset
        folder = Path(dataset).expanduser() if dataset is not None else None
        if folder is not None and folder.is_dir():
            note = overlap_note(config.benchmarks[name].evaluation, folder)
            if note is not None:
                print(f"note: config.yaml: benchmarks.{name}: {note}", file=sys.stderr)


def check_published_scores_file(config: Config) -> None:
    """Refuse a file of question scores for the analysis of the paper's numbers that cannot be used."""
    if config.published_scores is None:
        return
    if not Path(config.published_scores).is_file():
        raise UserError(
            f"config.yaml: published_scores: no file {config.published_scores!r}: write the path of a CSV "
            "file with the columns model,score, or remove the key"
        )
    read_scores(Path(config.published_scores), published_backbones(PUBLISHED_FOLDER))


def check_is_folder(config: Config) -> None:
    """Refuse results below something that is no folder, where Snakemake itself could not look for files."""
    try:
        for path in (Path(config.results), *Path(config.results).parents):
            if path.is_dir():
                return
            if os.path.lexists(path):
                what = "is a link to nothing" if path.is_symlink() else "is not a folder"
                raise UserError(
                    f"results: folder {config.results!r} is not writable ({str(path)!r} {what}): write "
                    "another folder"
                )
    except OSError as error:
        raise UserError(
            f"results: folder {config.results[:200]!r} is not writable ({error.strerror}): write "
            "another folder"
        ) from None


def check_writable(config: Config) -> None:
    """Refuse a results folder that is not writable."""
    folder = Path(config.results)
    try:
        folder.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryFile(dir=folder):
            pass
    except OSError as error:
        raise UserError(
            f"results: folder {config.results!r} is not writable ({error.strerror}): "
            "write another folder, or change its permissions"
        ) from None


def check_results(config: Config) -> None:
    """Refuse a results folder that is not writable, or a disk with less than `minimum_free_gb` free."""
    check_writable(config)
    check_room(
        Path(config.results),
        config.minimum_free_gb * 1e9,
        "results: the workflow (minimum_free_gb)",
        "write another folder",
    )


def check_checkpoint(folder: Path, key: str) -> None:
    """Refuse a Hugging Face folder that is missing, lacks config or weights, or has a truncated file."""
    if not folder.is_dir():
        raise UserError(
            f"{key}: folder {str(folder)!r} does not exist: write the folder of a checkpoint, "
            "or a hub name and its `revision`"
        )
    try:
        weight_files(folder)
    except UserError as error:
        raise UserError(f"{key}: {error}") from None


def check_files(folder: Path, key: str) -> None:
    """Refuse a Hugging Face folder without a tokenizer or an image processor, or with a wrong one."""
    try:
        check_complete(folder)
    except UserError as error:
        raise UserError(f"{key}: {error}") from None


def check_cached(name: str, revision: str, key: str) -> Path | None:
    """Refuse a checkpoint of the hub without a valid name and commit, or in the cache with a damaged file.

    A file that is missing there is downloaded by the stage, if the hub can be reached. Returns the folder in
    the cache, or None if a file is missing there.
    """
    from huggingface_hub import is_offline_mode
    from huggingface_hub.errors import HFValidationError

    from vlm4vla.backbones.hub import COMMIT, cached_snapshot

    if not COMMIT.fullmatch(revision):
        raise UserError(
            f"{key.removesuffix('checkpoint')}revision: {revision!r} is not a commit, and what a branch or a "
            f"tag means may change: write the 40 hexadecimal digits of a commit of {name!r}"
        )
    try:
        return cached_snapshot(name, revision)
    except HFValidationError:
        raise UserError(
            f"{key}: {name!r} is not a name on the hub: write OWNER/NAME, or the path of a local folder "
            "without `revision`"
        ) from None
    except UserError as error:
        if not isinstance(error, MissingFileError) or is_offline_mode():
            raise UserError(f"{key}: {error}") from None
    return None


def check_task_checkpoints(study: Study, targets: Sequence[str]) -> None:
    """Refuse an auxiliary task's local checkpoint that is damaged or of the wrong family.

    The family must be that of each backbone that `targets` (without any, all tables) fine-tune on the task. A
    checkpoint from the hub is checked by its stage.
    """
    config = study.config
    if config.auxiliary is None:
        return
    tables = [table for target in targets or ["all_tables"] for table in _tables(study, target)]
    wanted = [(run.model, run.auxiliary) for table in tables for run in study.cells(table)]
    wanted += [vlm for target in targets if (vlm := _fine_tuned_vlm(study, target)) is not None]
    for name, task in config.auxiliary.tasks.items():
        if task.checkpoint is None:
            continue
        if task.revision is not None:
            check_cached(task.checkpoint, task.revision, f"auxiliary.tasks.{name}.checkpoint")
            continue
        folder, key = Path(task.checkpoint).expanduser(), f"auxiliary.tasks.{name}"
        check_checkpoint(folder, f"{key}.checkpoint")
        for vlm in dict.fromkeys(vlm for vlm, auxiliary in wanted if auxiliary == name):
            check_family(folder, config.backbones[vlm].family, key, f"backbone {vlm!r}")
        check_files(folder, f"{key}.checkpoint")


def check_capability(study: Study, needed: Requirements) -> None:
    """Refuse a run that needs question scores which are missing and cannot be made."""
    config = study.config
    required = study.scored("correlation") if needed.correlation else []
    capability_plan.check_capability_source(config, needed.capability, required)
    if config.capability.source != "lmms-eval":
        return
    asked = [vlm for vlm in needed.capability if capability_plan.results_file(config, vlm) is None]
    for name in dict.fromkeys(name for name, _ in asked):
        checkpoint = config.backbones[name].checkpoint
        if checkpoint is not None and config.backbones[name].revision is None:
            try:
                check_chat_template(Path(checkpoint).expanduser())
            except UserError as error:
                raise UserError(f"backbones.{name}.checkpoint: {error}") from None


def _tables(study: Study, target: str) -> list[str]:
    """The tables that a target makes. The target is a name or a path."""
    if target in table_targets():
        return [table for table in table_targets()[target] if table in study.tables()]
    return [table for table in study.tables() if target in study.table_files(table)]


def _fine_tuned_vlm(study: Study, target: str) -> tuple[str, str] | None:
    """The backbone and the auxiliary task in the path of a target, if the path has both."""
    found = study.layout.parse(target)
    wildcards = found[1] if found else {}
    vlm, task = wildcards.get("vlm"), wildcards.get("auxiliary") or wildcards.get("task")
    if vlm in study.config.experts:
        vlm = study.config.experts[vlm].backbone
    return (vlm, task) if task and vlm in study.config.backbones else None


def check_existing_artefacts(study: Study) -> None:
    """Refuse damaged backbones and demonstrations among the results that exist already."""
    for vlm in study.config.backbones:
        provenance = Path(study.backbone_path(vlm))
        if provenance.exists():
            weight_files(provenance.parent)
    for benchmark in study.config.benchmarks:
        provenance = Path(study.demonstrations_path(benchmark))
        if provenance.exists():
            from vlm4vla.data.demonstrations.frame_index import open_demonstrations

            open_demonstrations(provenance.parent, images=False)


def check_public_sets(config: Config, needed: Collection[str]) -> None:
    """Refuse a local dataset that lacks its folder, files or columns, and a hub name without a revision.

    `needed`: the auxiliary tasks whose datasets the run reads. A dataset from the hub is checked by its
    stage.
    """
    tasks = config.auxiliary.tasks if config.auxiliary else {}
    for task, settings in tasks.items():
        if task not in needed:
            continue
        for name, public_set in settings.resolved_sets(task).items():
            key = f"config.yaml: auxiliary.tasks.{task}" + ("" if name == task else f".mixture.{name}")
            _check_public_set(public_set, key)


def _check_public_set(settings: SetSettings, key: str) -> None:
    if Path(settings.dataset).expanduser().is_dir():
        from vlm4vla.auxiliary.public.opening import open_set

        open_set(settings, key)
    elif settings.revision is None:
        raise UserError(
            f"{key}.dataset: {settings.dataset!r} is not a folder, and a hub name needs a revision: write "
            "`revision`, or the path of a folder"
        )


def check_simulators(config: Config, benchmarks: Iterable[str]) -> None:
    """Refuse a simulator of one of `benchmarks` that is not installed."""
    for name in sorted(benchmarks):
        simulator = config.benchmarks[name].evaluation.simulator
        if simulator is not None:
            check_installed(simulator, name)


def check_gpus(needed: int, offered: int | None, devices: Path = Path("/dev")) -> None:
    """Refuse a training that needs more GPUs than the run offers, since Snakemake would start it anyway.

    `needed`: the GPUs of the largest training. `offered`: the number in `--resources gpu=`, or None. If this
    machine has no GPU, print a note on standard error.
    """
    if not needed:
        return
    if offered is not None and needed > offered:
        raise UserError(
            f"--resources gpu={offered}: a training needs {needed} GPUs, one for each of its processes: "
            f"write fewer `processes` in its `execution`, or --resources gpu={needed}"
        )
    if not any(path for pattern in GPU_DEVICES for path in devices.glob(pattern)):
        print(
            f"note: no GPU found in {devices}: trainings of released checkpoints would run on the CPU",
            file=sys.stderr,
        )
