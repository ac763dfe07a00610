"""A stage that runs twice, or that resumes after a SIGKILL, writes the same bytes."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from vlm4vla.core.artefacts import canonical_json
from vlm4vla.study.runs import Run

pytestmark = [pytest.mark.end_to_end, pytest.mark.timeout(1500)]
MORE = pytest.mark.exhaustive
RUN = Run("paligemma-1", "none", "full", "bridge", 0)

# Runs the command in a process that kills itself just before call number {at} of the function {target}.
KILLED = """
import os, signal, sys
import {module} as module
from vlm4vla import cli
{setup}
calls = 0
real = {target}
def dying(*arguments, **named):
    global calls
    calls += 1
    if calls == {at}:
        os.kill(os.getpid(), signal.SIGKILL)
    return real(*arguments, **named)
{target} = dying
sys.exit(cli.main(sys.argv[1:]))
"""


def command(*arguments: object, code: str | None = None) -> subprocess.CompletedProcess:
    start = ["-c", code] if code else ["-m", "vlm4vla.cli"]
    return subprocess.run(
        [sys.executable, *start, *map(str, arguments)],
        capture_output=True,
        text=True,
        env=os.environ | {"OMP_NUM_THREADS": "1"},
    )


def settings_of(folder: Path) -> str:
    return canonical_json(json.loads((folder / "provenance.json").read_text())["settings"])


def contents(folder: Path, *patterns: str) -> dict[str, bytes]:
    files = sorted(path for pattern in patterns for path in folder.rglob(pattern) if path.is_file())
    return {str(path.relative_to(folder)): path.read_bytes() for path in files}


def test_same_seed_gives_the_same_weights_and_episodes(smoke, tmp_path):
    study = smoke.study
    first = Path(study.vla_path(RUN)).parent
    again = command(
        *("vla", "--settings", settings_of(first)),
        *("--backbone", Path(study.backbone_path(RUN.model)).parent),
        *("--demonstrations", Path(study.demonstrations_path(RUN.benchmark)).parent),
        *("--output", tmp_path / "vla"),
    )
    assert again.returncode == 0, again.stderr
    weights = contents(first, "*.safetensors")
    assert weights and contents(tmp_path / "vla", "*.safetensors") == weights

    first = Path(study.episodes_path(RUN)).parent
    again = command(
        *("rollout", "--settings", settings_of(first), "--vla", tmp_path / "vla", "--output", tmp_path / "r")
    )
    assert again.returncode == 0, again.stderr
    assert contents(tmp_path / "r", "episodes.parquet") == contents(first, "episodes.parquet")


@MORE
def test_rollout_killed_between_shards(smoke, tmp_path):
    first = Path(smoke.study.episodes_path(RUN)).parent
    arguments = (
        *("rollout", "--settings", settings_of(first)),
        *("--vla", Path(smoke.study.vla_path(RUN)).parent, "--output"),
    )
    small = "module.SHARD = 4"
    parts = {"module": "vlm4vla.stages.rollout", "setup": small, "target": "module.run_batch"}
    whole = command(*arguments, tmp_path / "whole", code=KILLED.format(**parts, at=0))
    assert whole.returncode == 0, whole.stderr
    killed = command(*arguments, tmp_path / "killed", code=KILLED.format(**parts, at=2))
    assert killed.returncode == -signal.SIGKILL
    assert len(list((tmp_path / "killed" / "shards").glob("*.parquet"))) == 1
    assert not (tmp_path / "killed" / "episodes.parquet").exists()
    # The process would be killed again at a second call. The finished shard does not run again.
    resumed = command(*arguments, tmp_path / "killed", code=KILLED.format(**parts, at=2))
    assert resumed.returncode == 0, resumed.stderr
    names = ("episodes.parquet", "*.gif")
    assert contents(tmp_path / "killed", *names) == contents(tmp_path / "whole", *names)


@pytest.mark.parametrize("at", [pytest.param(1, marks=MORE), 3, pytest.param(6, marks=MORE)])
def test_table_killed_while_writing(smoke, tmp_path, at):
    study = smoke.study
    arguments = (
        *("table", "--settings", study.table_settings("main"), "--episodes", *study.table_episodes("main")),
        *("--curves", *study.table_curves("main"), "--published", "workflow/published"),
        *("--output", tmp_path),
    )
    parts = {"module": "pathlib", "setup": "", "target": "module.Path.replace", "at": at}
    killed = command(*arguments, code=KILLED.format(**parts))
    assert killed.returncode == -signal.SIGKILL, killed.stderr
    made = contents(tmp_path, "*")
    expected = {
        str(path.relative_to(study.root)): path.read_bytes() for path in map(Path, study.table_files("main"))
    }
    whole = {name: text for name, text in made.items() if not Path(name).name.startswith(".")}
    assert len(whole) == at - 1
    assert all(expected[name] == text for name, text in whole.items()), "an incomplete file has a final name"
    resumed = command(*arguments)
    assert resumed.returncode == 0, resumed.stderr
    made = contents(tmp_path, "*")
    assert {name: made.get(name) for name in expected} == expected
