"""The command line of the stage `questions`, which the fixture `stage` replaces."""

from __future__ import annotations

import json
from pathlib import Path

SETTINGS = {"questions": {"train_pictures": 2, "held_out_pictures": 1}, "image_size": 64}


def command(output: Path, settings: dict | None = None) -> list[str]:
    return ["questions", "--settings", json.dumps(settings or SETTINGS), "--output", str(output)]
