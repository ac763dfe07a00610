"""The stages of a study, and how the command line runs one of them."""

from __future__ import annotations

import argparse
import contextlib
import json
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
from vlm4vla.core import registry
from vlm4vla.core.artefacts import canonical_json, file_hash, remove_unfinished
from vlm4vla.core.errors import UserError
from vlm4vla.core.imports import load
from vlm4vla.core.output_lock import alone, is_file
from vlm4vla.study.artefact_chain import check_recorded_files, recorded_files
from vlm4vla.study.results_folder import read_json
from vlm4vla.training.distributed import launch

MOST_HASHED = 500_000_000  # bytes of a dataset: less than a second


class Stage(NamedTuple):
    """A stage of the study, as the command line runs it.

    `module`: has the stage's function `run`. `settings`: the class of its settings. `inputs`: names of the
    folders that it reads, which are also the names of the options. `inputs_required`: False for a stage that
    can run without some of them.
    """

    module: str
    settings: type[BaseModel]
    inputs: tuple[str, ...] = ()
    inputs_required: bool = True


STAGES = {
    "questions": Stage("vlm4vla.stages.questions", QuestionsSettings),
    # A checkpoint needs no questions.
    "backbone": Stage("vlm4vla.stages.backbone", BackboneSettings, ("questions",), inputs_required=False),
    "auxiliary-data": Stage("vlm4vla.stages.auxiliary_data", AuxiliaryDataSettings),
    "fast-data": Stage("vlm4vla.stages.fast_data", FastDataSettings, ("demonstrations",)),
    "auxiliary": Stage("vlm4vla.stages.auxiliary", AuxiliarySettings, ("backbone", "data")),
    "capability": Stage("vlm4vla.stages.capability", CapabilitySettings, ("backbone", "questions")),
    "capability-lmms-eval": Stage("vlm4vla.stages.capability_lmms_eval", LmmsEvalSettings, ("backbone",)),
    "capability-scores": Stage("vlm4vla.stages.capability_scores", ScoresSettings),
    "demonstrations": Stage("vlm4vla.stages.demonstrations", DemonstrationsSettings),
    "vla": Stage("vlm4vla.stages.vla", VlaSettings, ("backbone", "demonstrations")),
    # The reference policies (floor and ceiling) have no VLA, and few rollouts can stop early.
    "rollout": Stage(
        "vlm4vla.stages.rollout",
        RolloutSettings,
        ("vla", "demonstrations", "against"),
        inputs_required=False,
    ),
}


def run_stage(arguments: argparse.Namespace) -> None:
    """Run one stage. Raises UserError for invalid settings and for unfinished inputs.

    Only one process at a time writes an output folder. A process that waited for another one does nothing if
    the other one finished the same work.
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
    lock = contextlib.nullcontext(False) if launch.is_part_of_run(execution) else alone(arguments.output)
    with lock as waited:
        if waited and is_finished(arguments.output, settings, folders):
            print(f"{arguments.output}: the other process has finished it")
            return
        if not launch.is_part_of_run(execution) and not is_file(arguments.output):
            remove_unfinished(arguments.output)
        if execution is not None:
            command = launch.stage_command(arguments.command, arguments.settings, inputs, arguments.output)
            launch.run(command, execution, arguments.output)
        else:
            load(stage.module)[0].run(settings, **inputs, output=arguments.output)


def check_input(name: str, folder: Path) -> None:
    """Raise UserError unless the files that the provenance of an input lists are as it recorded them.

    All weights are compared, and the files of a dataset up to `MOST_HASHED` bytes: hashing a large dataset
    would take longer than many jobs. `name`: of the option.
    """
    record = read_json(folder / "provenance.json", "run the stage that writes it again")
    if not isinstance(record, dict):
        raise UserError(f"{folder / 'provenance.json'}: not a provenance record: run its stage again")
    check_recorded_files(folder / "provenance.json", record)
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


def is_finished(output: Path, settings: Any, inputs: dict[str, Path]) -> bool:
    """Whether `output` is finished, and was made with these settings from these inputs."""
    path = output if is_file(output) else output / "provenance.json"
    # Snakemake deletes the declared output before a rerun. For a rollout this is not the provenance.
    declared = output / "episodes.parquet" if isinstance(settings, RolloutSettings) else path
    if not path.exists() or not declared.exists():
        return False
    record = json.loads(path.read_text())
    record = record.get("provenance", record)
    same_settings = canonical_json(record["settings"]) == canonical_json(settings.model_dump(mode="json"))
    hashes = {entry["sha256"] for entry in record["inputs"].values()}
    return same_settings and all(
        file_hash(folder / "provenance.json") in hashes for folder in inputs.values()
    )
