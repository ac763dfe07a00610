"""The stage that runs lmms-eval, with a small program instead of lmms-eval."""

from __future__ import annotations

import json
import os
import signal
import stat
import subprocess
import sys
import time
from pathlib import Path

import pytest

from vlm4vla.config.capability import LmmsTask
from vlm4vla.config.stages import LmmsEvalSettings
from vlm4vla.core.artefacts import file_hash, write_json
from vlm4vla.core.errors import UserError
from vlm4vla.evaluation.capability.lmms_eval import arguments
from vlm4vla.report.rows.capability_scores import OVERALL, read_capability
from vlm4vla.stages.capability_lmms_eval import run

# Saves its arguments, and writes a result file where lmms-eval would. `mode` selects an error.
STAND_IN = """#!/usr/bin/env {python}
import json, os, pathlib, sys, time
given = dict(zip(sys.argv[3::2], sys.argv[4::2]))
pathlib.Path("arguments.json").write_text(json.dumps(sys.argv[1:]))
mode = pathlib.Path({mode!r}).read_text()
if mode == "waits":
    pathlib.Path("pid").write_text(str(os.getpid()))
    time.sleep(120)
if mode == "fails":
    sys.exit(3)
if mode == "writes nothing":
    sys.exit(0)
model = dict(p.split("=") for p in given["--model_args"].split(","))["pretrained"]
folder = pathlib.Path(given["--output_path"]) / "__".join(model.split("/")[-2:])
folder.mkdir(parents=True)
results = {{}}
for task, score in (("pope", 0.9), ("gqa", 0.6)):
    results[task] = {{"m,none": score, "m_stderr_clt,none": 0.03}}
counts = {{task: {{"original": 500, "effective": int(given.get("--limit", 500))}} for task in results}}
whole = {{"results": results, "n-samples": counts, "model_name": model}}
(folder / "20261101_120000_results.json").write_text(json.dumps(whole))
"""


@pytest.fixture
def backbone(tmp_path):
    write_json(tmp_path / "backbones" / "tiny" / "provenance.json", {"stage": "backbone"})
    return tmp_path / "backbones" / "tiny"


@pytest.fixture
def play(tmp_path):
    """Write an environment whose Python runs `STAND_IN`."""

    def play(mode="scores"):
        (tmp_path / "mode").write_text(mode)
        python = tmp_path / "environment" / "bin" / "python"
        python.parent.mkdir(parents=True, exist_ok=True)
        python.write_text(STAND_IN.format(python=sys.executable, mode=str(tmp_path / "mode")))
        python.chmod(python.stat().st_mode | stat.S_IEXEC)
        return str(tmp_path / "environment")

    return play


def settings(environment, **changes):
    given = {
        "name": "tiny",
        "auxiliary": "none",
        "tasks": {"pope": LmmsTask(metric="m"), "gqa": LmmsTask(metric="m")},
        "names": ["backbones/tiny"],
        "model": "qwen2_5_vl",
        "environment": environment,
    }
    return LmmsEvalSettings(**given | changes)


def test_scores_of_a_run(tmp_path, backbone, play):
    output = tmp_path / "capability" / "tiny" / "none.json"
    chosen = settings(play(), limit=40, batch=4, arguments={"device": "cpu"})
    run(chosen, backbone=backbone, output=output)
    found = read_capability([output])["tiny", "none"]
    assert (found["pope"].value, found["pope"].questions, found["pope"].standard_error) == (0.9, 40, 0.03)
    overall = found[OVERALL]
    assert overall.value == pytest.approx(0.75) and overall.questions == 80
    assert overall.standard_error == pytest.approx((0.03**2 + 0.03**2) ** 0.5 / 2)
    assert overall.ci_low == pytest.approx(0.75 - 1.96 * overall.standard_error)
    record = json.loads(output.read_text())["provenance"]
    assert record["inputs"]["backbone"]["sha256"] == file_hash(backbone / "provenance.json")
    words = json.loads((output.with_suffix(".lmms_eval") / "arguments.json").read_text())
    assert words[:2] == ["-m", "lmms_eval"]
    options = dict(zip(words[2::2], words[3::2], strict=True))
    assert options["--model"] == "qwen2_5_vl" and options["--tasks"] == "pope,gqa"
    assert options["--model_args"] == f"pretrained={backbone},device=cpu"
    assert (options["--limit"], options["--batch_size"]) == ("40", "4")
    assert Path(options["--use_cache"]).name == "cache"


def test_a_result_file_of_an_earlier_run_is_not_used(tmp_path, backbone, play):
    output = tmp_path / "none.json"
    run(settings(play()), backbone=backbone, output=output)
    output.unlink()
    with pytest.raises(UserError, match="wrote no result file"):
        run(settings(play("writes nothing")), backbone=backbone, output=output)
    assert not output.exists()


def test_a_run_that_fails(tmp_path, backbone, play):
    with pytest.raises(UserError, match="lmms-eval ended with status 3 for tiny") as error:
        run(settings(play("fails")), backbone=backbone, output=tmp_path / "none.json")
    assert "\n" not in str(error.value)


def test_an_environment_that_does_not_exist(tmp_path, backbone):
    with pytest.raises(UserError, match="run `make env-lmms-eval`"):
        run(settings(str(tmp_path / "nowhere")), backbone=backbone, output=tmp_path / "none.json")


def test_a_result_file_instead_of_a_run(tmp_path, backbone, play):
    run(settings(play()), backbone=backbone, output=tmp_path / "first.json")
    (ready,) = (tmp_path / "first.lmms_eval").rglob("*_results.json")
    chosen = settings("", model=None, results=str(ready))
    run(chosen, backbone=backbone, output=tmp_path / "second.json")
    first, second = (json.loads((tmp_path / name).read_text()) for name in ("first.json", "second.json"))
    assert first["sets"] == second["sets"]
    assert second["provenance"]["inputs"]["results"]["sha256"] == file_hash(ready)
    with pytest.raises(UserError, match="not of 'backbones/other'"):
        run(
            chosen.model_copy(update={"names": ["backbones/other"]}),
            backbone=backbone,
            output=tmp_path / "third.json",
        )


def test_a_path_with_a_comma_is_refused(tmp_path):
    with pytest.raises(UserError, match="no path with a comma"):
        arguments(settings(""), tmp_path / "a,b", tmp_path)


@pytest.mark.parametrize("kill", [signal.SIGTERM, signal.SIGKILL])
def test_lmms_eval_ends_with_the_stage(tmp_path, backbone, play, kill):
    chosen = settings(play("waits")).model_dump_json()
    output = tmp_path / "none.json"
    words = [
        "capability-lmms-eval",
        "--settings",
        chosen,
        "--backbone",
        str(backbone),
        "--output",
        str(output),
    ]
    stage = subprocess.Popen([sys.executable, "-m", "vlm4vla.cli", *words], env=os.environ)
    written = output.with_suffix(".lmms_eval") / "pid"
    for _ in range(600):
        if written.exists() and written.read_text():
            break
        time.sleep(0.1)
    child = int(written.read_text())
    os.kill(stage.pid, kill)
    stage.wait(60)
    for _ in range(100):
        if not _alive(child):
            break
        time.sleep(0.1)
    assert not _alive(child)


def _alive(pid: int) -> bool:
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] != "Z"
    except FileNotFoundError:
        return False
