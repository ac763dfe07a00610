"""speed/start_up.py finds the jobs of a study, gives them the least work, and reads the kernel's clock."""

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

from vlm4vla.config.stages import CapabilitySettings

SPEED = Path(__file__).parents[2] / "speed"
CAPABILITY = {"capability": {"questions_per_set": 90, "sets": ["where", "colour"]}}


@pytest.fixture
def program(monkeypatch):
    monkeypatch.syspath_prepend(str(SPEED))
    import start_up

    return start_up


@pytest.fixture
def study(tmp_path):
    """A study that has been moved, with the record of one score and its inputs."""
    folder = tmp_path / "moved"
    names = {"backbone": "backbones/b/provenance.json", "questions": "questions/provenance.json"}
    for name in names.values():
        (folder / name).parent.mkdir(parents=True)
        (folder / name).write_text("{}")
    inputs = {key: {"path": f"results/smoke/{name}", "sha256": ""} for key, name in names.items()}
    score = folder / "capability" / "b" / "none.json"
    score.parent.mkdir(parents=True)
    record = {"stage": "capability", "settings": CAPABILITY, "inputs": inputs}
    score.write_text(json.dumps({"sets": {}, "provenance": record}))
    return folder


def test_a_job_has_the_least_work_and_its_own_inputs(program, study, tmp_path):
    job = program.first_job(study, "capability")
    assert job.inputs == {"backbone": study / "backbones" / "b", "questions": study / "questions"}
    _, _, settings, *words = job.arguments(tmp_path / "a.json")
    found = CapabilitySettings.model_validate_json(settings).capability
    assert (found.questions_per_set, list(found.sets)) == (1, ["where"])
    assert words[-2:] == ["--output", str(tmp_path / "a.json")]


def test_a_study_without_the_stage_is_one_line(study):
    done = subprocess.run(
        [sys.executable, str(SPEED / "start_up.py"), str(study), str(SPEED.parent), "--stages", "vla"],
        capture_output=True,
        text=True,
    )
    assert done.returncode == 1
    assert done.stderr == (f"{study}: no finished job of the stage vla: run `make all_tables SCALE=smoke`\n")


def test_the_clock_of_another_process_counts_its_ended_children(program):
    code = """
import subprocess, sys, time
def burn(seconds):
    begin = time.process_time()
    while time.process_time() - begin < seconds: pass
burn(0.6)
subprocess.run([sys.executable, "-c", "import time\\nwhile time.process_time() < 0.9: pass"])
print(flush=True)
sys.stdin.read()
"""
    process = subprocess.Popen([sys.executable, "-c", code], stdin=subprocess.PIPE, stdout=subprocess.PIPE)
    process.stdout.readline()
    own, childrens = program._ticks(process.pid)
    process.stdin.close()
    _, _, usage = os.wait4(process.pid, 0)
    process.returncode = 0
    assert childrens == pytest.approx(0.9, abs=0.1)
    assert own + 0.02 >= 0.6 and own + childrens == pytest.approx(usage.ru_utime + usage.ru_stime, abs=0.1)
