"""speed/workflow_efficiency.py counts the CPU time that each job recorded, without its start."""

import json
import subprocess
import sys
from pathlib import Path

import pytest

PROGRAM = Path(__file__).parents[2] / "speed" / "workflow_efficiency.py"
RUN = "none/full/bridge/seed0"


def finish(root, path, **record):
    path = root / path
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(json.dumps(record))


def test_jobs_count_without_their_starts(tmp_path):
    times = {"wall_seconds": 40.0, "cpu_seconds": 30.0, "start_up_seconds": 4.0}
    vla = {"stage": "vla", "started": "2026-01-01T00:00:00Z"} | times
    rollout = {"stage": "rollout", "started": "2026-01-01T00:01:00Z"} | times
    finish(tmp_path, f"vla/m/{RUN}/provenance.json", **vla)  # by an older version
    finish(tmp_path, f"rollouts/m/{RUN}/provenance.json", **rollout)
    log = tmp_path / "logs" / "rollouts" / "m" / f"{RUN}.log"
    log.parent.mkdir(parents=True)
    log.write_text("rollout: done in 41 s\nrollout: CPU time 36.00 s, start-up 5.00 s\n")
    score = {"sets": {}, "provenance": vla | {"stage": "capability", "started": "2026-01-01T00:00:10Z"}}
    finish(tmp_path, "capability/m/none.json", **score)
    command = [sys.executable, str(PROGRAM), str(tmp_path), "--cores", "2"]
    done = subprocess.run(command, capture_output=True, text=True, timeout=300)
    assert done.returncode == 0, done.stderr
    found = json.loads(done.stdout)
    spent = {name: (part["cpu_seconds"], part["start_up_seconds"]) for name, part in found["stages"].items()}
    assert spent == {"vla": (26, 4), "rollout": (31, 5), "capability": (26, 4)}
    assert (found["jobs"], found["cpu_seconds"], found["wall_seconds"]) == (3, 83, 100)
    assert found["efficiency"] == pytest.approx(83 / 200)
