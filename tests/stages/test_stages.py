"""The stages of the command line."""

from __future__ import annotations

from pathlib import Path

import vlm4vla
from vlm4vla.stages.running import STAGES

SOURCE = Path(vlm4vla.__file__).parents[1]


def test_every_stage_of_the_command_line_exists():
    for name, stage in STAGES.items():
        path = SOURCE.joinpath(*stage.module.split(".")).with_suffix(".py")
        assert path.is_file(), name
        assert stage.settings.model_fields and isinstance(stage.inputs, tuple)
