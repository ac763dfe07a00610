"""The smoke study in a temporary folder, made with the command that a user types."""

from __future__ import annotations

import fcntl
import os
import shutil
import subprocess
import sys
from pathlib import Path

from fast_yaml import load_yaml

from vlm4vla.config.config import load_config
from vlm4vla.study.study import Study

REPOSITORY = Path(__file__).parents[2]
LAYER = "workflow/scales/smoke.yaml"


def snakemake(
    *arguments: str, folder: Path, layers: tuple[str, ...] = (LAYER,)
) -> subprocess.CompletedProcess:
    """Run the workflow in `folder` with the options of the Makefile. `layers` override config.yaml."""
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
    """`base` with the values that `layer` overrides. Mappings are merged key by key, as in Snakemake."""
    merged = dict(base)
    for key, value in layer.items():
        old = merged.get(key)
        merged[key] = merge(old, value) if isinstance(value, dict) and isinstance(old, dict) else value
    return merged


class Smoke:
    """The finished smoke study in `folder`, with absolute paths. `output`: the text that the run printed.

    The first test process makes the study, and the other processes wait. Raises RuntimeError if the run
    fails.
    """

    def __init__(self, folder: Path):
        self.folder = folder
        folder.mkdir(exist_ok=True)
        output = folder / "output.txt"
        with (folder / "lock").open("w") as lock:
            fcntl.flock(lock, fcntl.LOCK_EX)
            if not output.exists():
                for name in ("Snakefile", "config.yaml"):
                    shutil.copy2(REPOSITORY / name, folder / name)
                for name in ("rules", "workflow", "envs"):
                    shutil.copytree(REPOSITORY / name, folder / name, dirs_exist_ok=True)
                done = snakemake("all_tables", "--cores", str(os.cpu_count()), folder=folder)
                if done.returncode:
                    raise RuntimeError(done.stderr[-6000:])
                output.write_text(done.stderr)
        self.output = output.read_text()
        layers = [load_yaml((REPOSITORY / name).read_text()) for name in ("config.yaml", LAYER)]
        self.study = Study(load_config(merge(*layers) | {"results": str(folder / "results")}))

    @property
    def root(self) -> Path:
        """The results folder."""
        return self.study.root
