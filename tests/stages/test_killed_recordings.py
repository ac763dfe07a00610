"""Jobs that are killed while they write: the next one leaves no hidden file, and its record lists none."""

import json
import os
import signal
import subprocess
import sys

import pytest

from vlm4vla.config.stages import DemonstrationsSettings, QuestionsSettings

RECORDING = DemonstrationsSettings(
    benchmark="bridge", demonstrations={"episodes": 4, "noise": 0.2}, image_size=64, max_steps=40
)
PICTURES = QuestionsSettings(
    questions={"train_pictures": 6, "held_out_pictures": 3, "seed": 0, "look": "internet"}, image_size=64
)
# Kills itself while the named file is half written.
KILLED = """
import contextlib, os, signal, sys
from vlm4vla.core import artefacts
whole = artefacts.atomic_path
@contextlib.contextmanager
def killed(path):
    with whole(path) as temporary:
        if path.name == sys.argv[1]:
            temporary.write_bytes(b"half")
            os.kill(os.getpid(), signal.SIGKILL)
        yield temporary
artefacts.atomic_path = killed
from vlm4vla import cli
sys.exit(cli.main(sys.argv[2:]))
"""


@pytest.mark.parametrize(
    ("stage", "settings", "file"),
    [
        ("demonstrations", RECORDING, "file-000.parquet"),
        ("demonstrations", RECORDING, "info.json"),
        ("demonstrations", RECORDING, "provenance.json"),
        ("questions", PICTURES, "vocabulary.json"),
        ("questions", PICTURES, "provenance.json"),
    ],
)
def test_a_killed_job_leaves_nothing_behind(tmp_path, stage, settings, file):
    output = tmp_path / "out"
    words = [stage, "--settings", settings.model_dump_json(), "--output", str(output)]
    done = subprocess.run([sys.executable, "-c", KILLED, file, *words], capture_output=True, check=False)
    assert done.returncode == -signal.SIGKILL, done.stderr
    assert any(path.name.startswith(f".{file}.") for path in output.rglob(".*"))
    assert not (output / "provenance.json").exists()
    subprocess.run([sys.executable, "-m", "vlm4vla", *words], check=True, capture_output=True)
    hidden = [path for path in output.rglob(".*") if path.name != ".lock"]
    assert hidden == []
    record = json.loads((output / "provenance.json").read_text())
    assert record["files"] and not any("/." in f"/{name}" for name in _names(record["files"]))


def _names(files, folder=""):
    """Every name in the nested record of files."""
    for name, value in files.items():
        yield folder + name
        if isinstance(value, dict):
            yield from _names(value, f"{folder}{name}{os.sep}")
