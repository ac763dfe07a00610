"""The stages of a study, and how a command line runs one."""

from __future__ import annotations

import argparse
import contextlib
import json
from pathlib import Path
from typing import Any

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
from vlm4vla.core.artefacts import canonical_json, file_hash
from vlm4vla.core.errors import UserError
from vlm4vla.core.imports import load
from vlm4vla.core.output_lock import alone, is_file
from vlm4vla.training.distributed import launch

# stage: (module of its `run`, settings model, inputs)
STAGES = {
    "questions": ("vlm4vla.stages.questions", QuestionsSettings, ()),
    "backbone": ("vlm4vla.stages.backbone", BackboneSettings, ("questions",)),
    "auxiliary-data": ("vlm4vla.stages.auxiliary_data", AuxiliaryDataSettings, ()),
    "fast-data": ("vlm4vla.stages.fast_data", FastDataSettings, ("demonstrations",)),
    "auxiliary": ("vlm4vla.stages.auxiliary", AuxiliarySettings, ("backbone", "data")),
    "capability": ("vlm4vla.stages.capability", CapabilitySettings, ("backbone", "questions")),
    "capability-lmms-eval": (
        "vlm4vla.stages.capability_lmms_eval",
        LmmsEvalSettings,
        ("backbone",),
    ),
    "capability-scores": ("vlm4vla.stages.capability_scores", ScoresSettings, ()),
    "demonstrations": ("vlm4vla.stages.demonstrations", DemonstrationsSettings, ()),
    "vla": ("vlm4vla.stages.vla", VlaSettings, ("backbone", "demonstrations")),
    "rollout": ("vlm4vla.stages.rollout", RolloutSettings, ("vla", "demonstrations")),
}


# Stages that may lack inputs: floor and ceiling have no VLA, a checkpoint learns from no questions.
OPTIONAL = {"rollout", "backbone"}


def run_stage(arguments: argparse.Namespace) -> None:
    """Run one stage as the command line says."""
    module, model, names = STAGES[arguments.command]
    settings = read_settings(arguments.settings, model)
    registry.check(getattr(settings, "extension", None))
    inputs = {name: getattr(arguments, name) for name in names}
    given = {name: folder for name, folder in inputs.items() if folder is not None}
    for name, folder in given.items():
        if not (folder / "provenance.json").exists():
            raise UserError(f"--{name}: {str(folder)!r} holds no provenance.json: write a finished folder")
    execution = launch.execution_of(settings)
    held = contextlib.nullcontext(False) if launch.is_part(execution) else alone(arguments.output)
    with held as waited:
        if waited and is_made(arguments.output, settings, given):
            print(f"{arguments.output}: the other process has made it")
        elif execution is not None:
            command = launch.command_of(arguments.command, arguments.settings, inputs, arguments.output)
            launch.run(command, execution, arguments.output)
        else:
            load(module)[0].run(settings, **inputs, output=arguments.output)


def is_made(output: Path, settings: Any, inputs: dict[str, Path]) -> bool:
    """Whether `output` is whole, of these settings and of these inputs."""
    path = output if is_file(output) else output / "provenance.json"
    # A rollout's declared file is its episodes: Snakemake deletes it, not the provenance, before a rerun.
    declared = output / "episodes.parquet" if isinstance(settings, RolloutSettings) else path
    if not path.exists() or not declared.exists():
        return False
    record = json.loads(path.read_text())
    record = record.get("provenance", record)
    same = canonical_json(record["settings"]) == canonical_json(settings.model_dump(mode="json"))
    hashes = {entry["sha256"] for entry in record["inputs"].values()}
    return same and all(file_hash(folder / "provenance.json") in hashes for folder in inputs.values())
