"""The stages of a study, and how the command line runs one of them."""

from __future__ import annotations

import argparse
import os
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any, NamedTuple

from pydantic import BaseModel

from vlm4vla.config.stages import (
    AuxiliaryDataSettings,
    AuxiliarySettings,
    BackboneSettings,
    CapabilitySettings,
    DemonstrationsSettings,
    FastDataSettings,
    LmmsEvalSettings,
    QuestionsSettings,
    RolloutSettings,
    ScoresSettings,
    VlaSettings,
    read_settings,
)
from vlm4vla.core import registry, successor
from vlm4vla.core.artefacts import (
    canonical_json,
    file_hash,
    parse_json,
    remove_unfinished,
    remove_unfinished_file,
)
from vlm4vla.core.errors import UserError
from vlm4vla.core.imports import load
from vlm4vla.core.output_lock import alone, is_file
from vlm4vla.study.artefact_chain import check_record, recorded_files
from vlm4vla.study.results_folder import read_json
from vlm4vla.training.distributed import launch

MOST_HASHED = 500_000_000  # bytes of a dataset: less than a second
# What a stage removes after its provenance.json is written: an interrupted run resumes from it.
RESUMED = ("checkpoints", "alignment/checkpoints", "begun.json", "progress.json")


class Stage(NamedTuple):
    """A stage of the study, as the command line runs it.

    `help`: its line in `--help`. `module`: has the stage's function `run`. `settings`: the class of its
    settings. `inputs`: names of the folders that it reads, which are also the names of the options.
    `inputs_required`: False for a stage that can run without some of them.
    """

    help: str
    module: str
    settings: type[BaseModel]
    inputs: tuple[str, ...] = ()
    inputs_required: bool = True


STAGES = {
    "questions": Stage(
        "generate images with questions and answers, and the vocabulary of the study",
        "vlm4vla.stages.questions",
        QuestionsSettings,
    ),
    # A checkpoint needs no questions.
    "backbone": Stage(
        "pre-train a tiny backbone on the questions, or install a released checkpoint",
        "vlm4vla.stages.backbone",
        BackboneSettings,
        ("questions",),
        inputs_required=False,
    ),
    "auxiliary-data": Stage(
        "generate or read the questions of an auxiliary task",
        "vlm4vla.stages.auxiliary_data",
        AuxiliaryDataSettings,
    ),
    "fast-data": Stage(
        "turn demonstrations into questions that FAST tokens answer",
        "vlm4vla.stages.fast_data",
        FastDataSettings,
        ("demonstrations",),
    ),
    "auxiliary": Stage(
        "fine-tune a backbone on an auxiliary task, and score it before and after",
        "vlm4vla.stages.auxiliary",
        AuxiliarySettings,
        ("backbone", "data"),
    ),
    "capability": Stage(
        "count the held-out questions that a backbone answers correctly",
        "vlm4vla.stages.capability",
        CapabilitySettings,
        ("backbone", "questions"),
    ),
    "capability-lmms-eval": Stage(
        "measure question scores with lmms-eval, in its own environment",
        "vlm4vla.stages.capability_lmms_eval",
        LmmsEvalSettings,
        ("backbone",),
    ),
    "capability-scores": Stage(
        "take question scores from a file instead of measuring them",
        "vlm4vla.stages.capability_scores",
        ScoresSettings,
    ),
    "demonstrations": Stage(
        "record the scripted expert as a LeRobot dataset, or index an existing dataset",
        "vlm4vla.stages.demonstrations",
        DemonstrationsSettings,
    ),
    "vla": Stage(
        "train a policy from a backbone on the demonstrations of a benchmark",
        "vlm4vla.stages.vla",
        VlaSettings,
        ("backbone", "demonstrations"),
    ),
    # The reference policies (floor and ceiling) have no VLA, and few rollouts can stop early.
    "rollout": Stage(
        "evaluate a policy on the initial states of a benchmark",
        "vlm4vla.stages.rollout",
        RolloutSettings,
        ("vla", "demonstrations", "against"),
        inputs_required=False,
    ),
}


def run_stage(arguments: argparse.Namespace) -> None:
    """Run one stage. Raises UserError for invalid settings and for unfinished inputs.

    Only one process at a time writes an output folder. A process that waited for another one does nothing if
    the other one finished the same work. Neither does a process whose work was finished by a job of a killed
    run. What a finished folder holds stays until its successor is whole.
    """
    stage = STAGES[arguments.command]
    settings = read_settings(arguments.settings, stage.settings)
    registry.check(getattr(settings, "extension", None))
    inputs = {name: getattr(arguments, name) for name in stage.inputs}
    folders = {name: folder for name, folder in inputs.items() if folder is not None}
    for name, folder in folders.items():
        if not (folder / "provenance.json").exists():
            raise UserError(f"--{name}: {str(folder)!r} has no provenance.json: write a finished folder")
        check_input(name, folder)
    execution = launch.execution_to_launch(settings)
    output: Path = arguments.output

    def make(work: Path) -> None:
        if execution is not None:
            command = launch.stage_command(arguments.command, arguments.settings, inputs, work)
            launch.run(command, execution, work)
        else:
            load(stage.module)[0].run(settings, **inputs, output=work)

    # A rollout keeps a finished one itself, because it also keeps shards of the same policy.
    keeps_itself = is_file(output) or isinstance(settings, RolloutSettings)
    if launch.is_part_of_run(execution):  # the process that holds the lock does the rest
        make(output if keeps_itself else successor.work_folder(output))
        return
    with alone(output) as waited:
        remove_unfinished_file(output) if is_file(output) else remove_unfinished(output)
        confirmed = _confirm(output, settings, folders)
        replaced = not keeps_itself and _replace_if_whole(output, settings, folders)
        meanwhile = waited or confirmed or replaced or successor.OF_WORKFLOW in os.environ
        if meanwhile and is_finished(output, settings, folders):
            print(f"{output}: another process has finished it")
            for name in () if is_file(output) else RESUMED:
                left = output / name
                shutil.rmtree(left, ignore_errors=True) if left.is_dir() else left.unlink(missing_ok=True)
            return
        work = output if keeps_itself else successor.work_folder(output)
        if work == output and not keeps_itself:
            shutil.rmtree(output / successor.NEXT, ignore_errors=True)  # of a folder that is not there now
        make(work)
        if work != output:
            successor.replace(output)


def _confirm(output: Path, settings: BaseModel, inputs: dict[str, Path]) -> bool:
    """Take back an output that a job of a killed run has finished, if it is the output of this work."""
    declared = _declared(output, settings)
    mark = successor.unconfirmed(declared)
    if not mark.exists():
        return False
    mark.unlink(missing_ok=True)
    if declared.exists() or not is_finished(output, settings, inputs, successor.aside):
        return False
    successor.aside(declared).replace(declared)
    try:
        if not is_file(output):
            check_input("output", output)
    except UserError as error:
        print(f"note: {error}: it is made again now", flush=True)
        declared.replace(successor.aside(declared))
        return False
    return True


def _replace_if_whole(output: Path, settings: BaseModel, inputs: dict[str, Path]) -> bool:
    """Finish what an earlier process was doing at its very end: putting a finished folder in place."""
    replaced = successor.finish_replacing(output)
    if is_finished(output / successor.NEXT, settings, inputs):
        successor.replace(output)
        replaced = True
    return replaced


def check_input(name: str, folder: Path) -> None:
    """Raise UserError unless an input has a provenance record, and its files are as the record lists them.

    All weights are compared, and the files of a dataset up to `MOST_HASHED` bytes: hashing a large dataset
    would take longer than many jobs. `name`: of the option.
    """
    record = read_json(folder / "provenance.json", "run the stage that writes it again")
    if not isinstance(record, dict):
        raise UserError(f"{folder / 'provenance.json'}: not a provenance record: run its stage again")
    check_record(folder / "provenance.json", {"settings": {}, "inputs": {}} | record)  # these are not used
    left = MOST_HASHED
    for inside, expected in recorded_files(record):
        file = folder / inside
        if not file.is_file():
            raise UserError(f"--{name}: {file}: missing: run the stage that writes it again")
        if file.suffix != ".safetensors":
            left -= file.stat().st_size
            if left < 0:
                continue
        if file_hash(file) != expected:
            raise UserError(
                f"--{name}: {file}: changed since its stage wrote it (another hash than in provenance.json): "
                "run the stage that writes it again"
            )


def _declared(output: Path, settings: Any) -> Path:
    """The file that the stage's rule declares as its output. For a rollout this is not the provenance."""
    if is_file(output):
        return output
    return output / ("episodes.parquet" if isinstance(settings, RolloutSettings) else "provenance.json")


def is_finished(
    output: Path,
    settings: Any,
    inputs: dict[str, Path],
    name: Callable[[Path], Path] = lambda declared: declared,
) -> bool:
    """Whether `output` is finished, and was made with these settings from these inputs.

    `name`: gives the present path of the file that the stage's rule declares. Snakemake takes it away before
    a rerun.
    """
    declared = _declared(output, settings)
    path = output / "provenance.json" if declared.name == "episodes.parquet" else name(declared)
    if not path.exists() or not name(declared).exists():
        return False
    try:
        record = parse_json(path.read_text())
        record = record.get("provenance", record)
        made_with = canonical_json(record["settings"])
        hashes = {entry["sha256"] for entry in record["inputs"].values()}
    except (ValueError, KeyError, TypeError, AttributeError):  # not a record of a finished stage
        return False
    return made_with == canonical_json(settings.model_dump(mode="json")) and all(
        file_hash(folder / "provenance.json") in hashes for folder in inputs.values()
    )
