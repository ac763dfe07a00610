"""The scales of a study, and the files that override config.yaml for each of them."""

from __future__ import annotations

from pathlib import Path
from typing import Literal

Scale = Literal["embedded", "smoke", "paper", "released"]
BASE = Path("config.yaml")
FOLDER = Path("workflow/scales")
# The files over config.yaml, in the order of --configfile.
LAYERS: dict[str, tuple[Path, ...]] = {
    "embedded": (),
    "smoke": (FOLDER / "smoke.yaml",),
    "paper": (FOLDER / "paper.yaml",),
    "released": (FOLDER / "paper.yaml", FOLDER / "released.yaml"),
}
# The scales with real models and simulators, whose numbers can be compared with the published ones.
REAL = ("paper", "released")
