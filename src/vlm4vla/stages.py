"""The stages of a study, and how a command line runs one."""

from __future__ import annotations

import argparse
import contextlib

from vlm4vla import extensions
from vlm4vla.artefacts import UserError
from vlm4vla.capability_settings import LmmsEvalSettings, ScoresSettings
from vlm4vla.output_lock import alone, is_made
from vlm4vla.settings import (
    AuxiliaryDataSettings,
    AuxiliarySettings,
    BackboneSettings,
    CapabilitySettings,
    DemonstrationsSettings,
    FastDataSettings,
    QuestionsSettings,
    RolloutSettings,
    VlaSettings,
)
from vlm4vla.settings_json import read_settings
from vlm4vla.start_up import load
from vlm4vla.training import launch

# stage: (module of its `run`, settings model, inputs)
STAGES = {
    "questions": ("vlm4vla.simulation.questions_stage", QuestionsSettings, ()),
    "backbone": ("vlm4vla.backbones.stage", BackboneSettings, ("questions",)),
    "auxiliary-data": ("vlm4vla.auxiliary.data_stage", AuxiliaryDataSettings, ()),
    "fast-data": ("vlm4vla.auxiliary.fast_stage", FastDataSettings, ("demonstrations",)),
    "auxiliary": ("vlm4vla.auxiliary.stage", AuxiliarySettings, ("backbone", "data")),
    "capability": ("vlm4vla.capability.stage", CapabilitySettings, ("backbone", "questions")),
    "capability-lmms-eval": (
        "vlm4vla.capability.lmms_eval_stage",
        LmmsEvalSettings,
        ("backbone",),
    ),
    "capability-scores": ("vlm4vla.capability.published_scores", ScoresSettings, ()),
    "demonstrations": ("vlm4vla.demonstrations_stage", DemonstrationsSettings, ()),
    "vla": ("vlm4vla.training.vla_stage", VlaSettings, ("backbone", "demonstrations")),
    "rollout": ("vlm4vla.rollout.stage", RolloutSettings, ("vla", "demonstrations")),
}


# Stages that may lack inputs: floor and ceiling have no VLA, a checkpoint learns from no questions.
OPTIONAL = {"rollout", "backbone"}


def run_stage(arguments: argparse.Namespace) -> None:
    """Run one stage as the command line says."""
    module, model, names = STAGES[arguments.command]
    settings = read_settings(arguments.settings, model)
    extensions.check(getattr(settings, "extension", None))
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
