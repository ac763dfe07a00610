"""The smoke study in a folder of its own, made by the command that a user types."""

from __future__ import annotations

import fcntl
import os
import shutil
import subprocess
import sys
from pathlib import Path

import yaml

from vlm4vla.config.config import load_config
from vlm4vla.study.study import Study

REPOSITORY = Path(__file__).parents[2]
LAYER = "workflow/scales/smoke.yaml"


def snakemake(
    *arguments: str, folder: Path, layers: tuple[str, ...] = (LAYER,)
) -> subprocess.CompletedProcess:
    """Run the workflow that lies in `folder`, with the options of the Makefile; `layers` over config.yaml."""
    path = os.pathsep.join((str(Path(sys.executable).parent), os.environ["PATH"]))
    options = ("--rerun-incomplete", "--keep-going", "--scheduler", "greedy", "--logger", "study")
    return subprocess.run(
        [sys.executable, "-m", "snakemake", *arguments, *options, "--configfile", *layers],
        cwd=folder,
        env=os.environ | {"PATH": path},
        capture_output=True,
        text=True,
    )


def merge(base: dict, layer: dict) -> dict:
    """`layer` over `base`, mappings key by key, as Snakemake does."""
    merged = dict(base)
    for key, value in layer.items():
        below = merged.get(key)
        merged[key] = merge(below, value) if isinstance(value, dict) and isinstance(below, dict) else value
    return merged


class Smoke:
    """The finished smoke study in `folder`: where it lies and what it printed; paths are absolute.

    Made by whoever comes first: the tests' other processes wait for it. RuntimeError when it fails.
    """

    def __init__(self, folder: Path):
        self.folder = folder
        folder.mkdir(exist_ok=True)
        told = folder / "told.txt"
        with (folder / "making").open("w") as making:
            fcntl.flock(making, fcntl.LOCK_EX)
            if not told.exists():
                for name in ("Snakefile", "config.yaml"):
                    shutil.copy2(REPOSITORY / name, folder / name)
                for name in ("rules", "workflow", "envs"):
                    shutil.copytree(REPOSITORY / name, folder / name, dirs_exist_ok=True)
                done = snakemake("all_tables", "--cores", str(os.cpu_count()), folder=folder)
                if done.returncode:
                    raise RuntimeError(done.stderr[-6000:])
                told.write_text(done.stderr)
        self.told = told.read_text()
        layers = [yaml.safe_load((REPOSITORY / name).read_text()) for name in ("config.yaml", LAYER)]
        self.study = Study(load_config(merge(*layers) | {"results": str(folder / "results")}))

    @property
    def root(self) -> Path:
        """Where the study's artefacts lie."""
        return self.study.root
