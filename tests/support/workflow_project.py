"""A copy of the workflow in which a small script replaces all stages, so that a study takes seconds."""

from __future__ import annotations

import os
import re
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import yaml
from fast_yaml import load_yaml
from safetensors.numpy import save_file

from vlm4vla.data.lerobot.writer import LeRobotWriter

REPOSITORY = Path(__file__).parents[2]

# Replaces the command `vlm4vla`: it writes the files that a rule declares. With PAUSE=STAGE it waits in the
# middle of that stage.
SUBSTITUTE = """#!{python}
import os, shutil, sys, time
from pathlib import Path
stage, arguments = sys.argv[1], sys.argv[2:]
output = Path(arguments[arguments.index("--output") + 1])
with open("calls.txt", "a") as calls:
    calls.write(stage + chr(10))
folder = output.parent if stage == "capability" else output
folder.mkdir(parents=True, exist_ok=True)
(folder / "half").write_text("half")
if os.environ.get("PAUSE") == stage:
    Path("paused.pid").write_text(str(os.getpid()))
    time.sleep(600)
if Path("samples", stage).exists():
    shutil.copytree(Path("samples", stage), folder, dirs_exist_ok=True)
if stage == "table":
    sys.path.insert(0, {source!r})
    import json
    from vlm4vla.study.outputs import outputs
    given = json.loads(arguments[1])
    made = [output / name for name in outputs(given["table"], given["cells"]["auxiliaries"])]
elif stage == "capability":
    made = [output]
elif stage in ("films", "summary", "study-config"):
    sys.path.insert(0, {source!r})
    import json
    from vlm4vla.study import outputs
    if stage == "films":
        names = outputs.film_outputs(json.loads(arguments[1])["benchmarks"])
    else:
        names = outputs.SUMMARY if stage == "summary" else outputs.CONFIG
    made = [output / name for name in names]
else:
    made = [output / ("episodes.parquet" if stage == "rollout" else "provenance.json")]
for path in made:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(stage)
"""


class Project:
    """A copy of the repository's workflow files in `folder`."""

    def __init__(self, folder: Path):
        self.folder = folder

    def environment(self, **extra: str) -> dict[str, str]:
        path = os.pathsep.join(
            (str(self.folder / "bin"), str(Path(sys.executable).parent), os.environ["PATH"])
        )
        return os.environ | {"PATH": path} | extra

    def command(self, *arguments: str) -> list[str]:
        scale = ("--configfile", "workflow/scales/smoke.yaml")
        return [sys.executable, "-m", "snakemake", *arguments, *scale]

    def run(self, command: list[str]) -> subprocess.CompletedProcess:
        return subprocess.run(
            command, cwd=self.folder, env=self.environment(), capture_output=True, text=True, timeout=300
        )

    def snakemake(self, *arguments: str) -> subprocess.CompletedProcess:
        return self.run(self.command(*arguments))

    def make(self, *arguments: str) -> subprocess.CompletedProcess:
        """Run the workflow with the options of the Makefile."""
        done = self.snakemake("--cores", "4", "--rerun-incomplete", "--keep-going", *arguments)
        assert done.returncode == 0, done.stderr
        return done

    def dry_run(self, *arguments: str) -> set[str]:
        """The messages of the jobs that Snakemake would run."""
        done = self.snakemake("--dry-run", *arguments)
        assert done.returncode == 0, done.stderr + done.stdout
        return set(re.findall(r"^Job \d+: (.*)$", done.stdout, re.MULTILINE))

    def start(self, stage: str) -> subprocess.Popen:
        """Start the workflow, and return when `stage` waits in the middle of its work."""
        marker = self.folder / "paused.pid"
        run = subprocess.Popen(
            self.command("--cores", "1"),
            cwd=self.folder,
            env=self.environment(PAUSE=stage),
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
        )
        limit = time.monotonic() + 120
        while not marker.exists() or not marker.read_text():
            assert run.poll() is None and time.monotonic() < limit, f"{stage} did not start"
            time.sleep(0.1)
        return run

    def kill(self, run: subprocess.Popen) -> None:
        """Kill Snakemake and then its running job with SIGKILL."""
        run.send_signal(signal.SIGKILL)
        run.wait()
        marker = self.folder / "paused.pid"
        os.kill(int(marker.read_text()), signal.SIGKILL)
        marker.unlink()

    def start_and_kill(self, stage: str) -> None:
        self.kill(self.start(stage))

    def change(self, name: str, change) -> None:
        """Apply `change` to the parsed YAML file `name`, in place."""
        path = self.folder / name
        value = load_yaml(path.read_text())
        change(value)
        path.write_text(yaml.safe_dump(value, sort_keys=False))

    def copy(self, folder: Path) -> Project:
        shutil.copytree(self.folder, folder, symlinks=True)
        return Project(folder)


def lay_out(folder: Path) -> Project:
    """Copy the workflow into `folder`, and write the script that replaces `vlm4vla` to its bin/."""
    folder.mkdir(parents=True)
    for name in ("Snakefile", "config.yaml"):
        shutil.copy2(REPOSITORY / name, folder / name)
    for name in ("rules", "workflow", "envs"):
        shutil.copytree(REPOSITORY / name, folder / name)
    write_samples(folder / "samples")
    command = folder / "bin" / "vlm4vla"
    command.parent.mkdir()
    command.write_text(SUBSTITUTE.format(python=sys.executable, source=str(REPOSITORY / "src")))
    command.chmod(0o755)
    return Project(folder)


def write_samples(folder: Path) -> None:
    """Write the smallest backbone and demonstrations that the checks of existing results accept."""
    backbone = folder / "backbone"
    backbone.mkdir(parents=True)
    (backbone / "config.json").write_text("{}")
    save_file({"weight": np.zeros(1, dtype=np.float32)}, backbone / "model.safetensors")
    with LeRobotWriter(folder / "demonstrations", fps=5, robot_type="arm", image_size=8) as writer:
        frames = np.zeros((2, 8, 8, 3), dtype=np.uint8)
        numbers = np.zeros((2, 8), dtype=np.float32)
        writer.add_episode(frames, numbers, numbers[:, :7], "push the red block")
