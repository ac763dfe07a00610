"""The stages that the command knows."""

from __future__ import annotations

from pathlib import Path

import vlm4vla
from vlm4vla.stages.running import STAGES

SOURCE = Path(vlm4vla.__file__).parents[1]


def test_every_stage_of_the_command_exists():
    for stage, (module, model, inputs) in STAGES.items():
        path = SOURCE.joinpath(*module.split(".")).with_suffix(".py")
        assert path.is_file(), stage
        assert model.model_fields and isinstance(inputs, tuple)
