"""The workflow over made-up records: all up to the rollouts lies there, the tables are still to make."""

from __future__ import annotations

import sys
from pathlib import Path

import numpy as np
import synthetic_study as made
import yaml
from PIL import Image
from workflow_project import REPOSITORY, Project

COMMAND = """#!{python}
import sys
sys.path.insert(0, {source!r})
from vlm4vla.cli import main
sys.exit(main())
"""


def film(path: Path, frames: int = 12) -> Path:
    """A GIF of a square that wanders; every frame lasts 0.2 s."""
    path.parent.mkdir(parents=True, exist_ok=True)
    pictures = []
    for index in range(frames):
        pixels = np.full((64, 64, 3), 200, dtype=np.uint8)
        pixels[20:40, 4 * index : 4 * index + 12] = (30, 90, 180)
        pictures.append(Image.fromarray(pixels))
    pictures[0].save(path, save_all=True, append_images=pictures[1:], duration=200, loop=0)
    return path


def play(project: Project, *tables: str) -> Project:
    """Put records of `tables` below `project`/results/embedded, keep those tables alone in its config.yaml,
    and let its jobs call the real command."""
    root = project.folder / "results" / "embedded"
    made.write_curves(root)  # first: what is made of a policy must not be older than it
    for path in made.write_study(root):
        film(path.parent / "videos" / "episode0000.gif")
    made.write_capability(root)
    written = project.folder / "config.yaml"
    config = yaml.safe_load(written.read_text())
    config["tables"] = {name: config["tables"][name] for name in tables}
    config["tables"].get("main", {}).pop("experts", None)
    written.write_text(yaml.safe_dump(config, sort_keys=False))
    command = project.folder / "bin" / "vlm4vla"
    command.write_text(COMMAND.format(python=sys.executable, source=str(REPOSITORY / "src")))
    return project
