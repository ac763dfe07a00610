"""The workflow with synthetic records: the results up to the rollouts exist, the tables do not."""

from __future__ import annotations

import sys
from pathlib import Path

import numpy as np
import synthetic_study as made
import yaml
from fast_yaml import load_yaml
from PIL import Image
from workflow_project import REPOSITORY, Project

COMMAND = """#!{python}
import sys
sys.path.insert(0, {source!r})
from vlm4vla.cli import main
sys.exit(main())
"""


def write_film(path: Path, frames: int = 12) -> Path:
    """Write a GIF of a square that moves to the right. Each frame lasts 0.2 s."""
    path.parent.mkdir(parents=True, exist_ok=True)
    images = []
    for index in range(frames):
        pixels = np.full((64, 64, 3), 200, dtype=np.uint8)
        pixels[20:40, 4 * index : 4 * index + 12] = (30, 90, 180)
        images.append(Image.fromarray(pixels))
    images[0].save(path, save_all=True, append_images=images[1:], duration=200, loop=0)
    return path


def add_records(project: Project, *tables: str) -> Project:
    """Write synthetic records of `tables` to results/embedded of `project`.

    The project's config.yaml keeps only these tables, and its jobs call the package's own command.
    """
    root = project.folder / "results" / "embedded"
    made.write_curves(root)  # first, because a rollout must not be older than its policy
    for path in made.write_study(root):
        write_film(path.parent / "videos" / "episode0000.gif")
    made.write_capability(root)
    path = project.folder / "config.yaml"
    config = load_yaml(path.read_text())
    config["tables"] = {name: config["tables"][name] for name in tables}
    config["tables"].get("main", {}).pop("experts", None)
    path.write_text(yaml.safe_dump(config, sort_keys=False))
    command = project.folder / "bin" / "vlm4vla"
    command.write_text(COMMAND.format(python=sys.executable, source=str(REPOSITORY / "src")))
    return project
