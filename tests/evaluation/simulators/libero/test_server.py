"""The policy server as a process: its port comes first, its policy second."""

import json
import os
import subprocess
import sys
import time

import pytest
from served_examples import settings

from vlm4vla.core.processes import Child
from vlm4vla.evaluation.simulators import harness, ports
from vlm4vla.evaluation.simulators.job_keys import VARIABLE, JobKey

SERVER = [sys.executable, "-m", "vlm4vla.evaluation.simulators.server"]


def start(*words, key="0" * 64, asked=None):
    """Run the server until it ends."""
    command = [*SERVER, "--settings", (asked or settings()).model_dump_json(), *words]
    environment = {**os.environ, VARIABLE: key}
    return subprocess.run(command, env=environment, capture_output=True, text=True, timeout=300)


def test_a_taken_port_is_one_line_before_the_policy_is_looked_at():
    """There is no policy in the folder, but the port is tried first."""
    with ports.listen("127.0.0.1", 0) as other:
        port = other.getsockname()[1]
        ended = start("--port", str(port), "--vla", "/no/such/policy", asked=settings("vla"))
    assert ended.returncode == 1 and ended.stdout == ""
    assert ended.stderr.startswith(f"error: 127.0.0.1:{port}: the policy server cannot listen there: Address")
    assert ended.stderr.count("\n") == 1


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["--host", "192.0.2.1"], "error: 192.0.2.1:0: the policy server cannot listen there: "),
        (["--port", "70000"], "error: 127.0.0.1:70000: not a port: "),
        ([], "error: --demonstrations: the expert policy needs the folder of a dataset"),
        (["--settings", "{}"], "error: --settings: "),
    ],
)
def test_what_keeps_the_server_from_starting_is_one_line(words, message):
    ended = start(*words)
    assert ended.returncode == 1 and ended.stderr.startswith(message) and ended.stderr.count("\n") == 1


def test_a_server_without_the_key_of_a_job_does_not_start():
    ended = start(key="")
    assert ended.returncode == 1 and ended.stderr.startswith(f"error: {VARIABLE}: the policy server needs")
    assert ended.stderr.count("\n") == 1


def test_the_port_is_announced_while_the_policy_loads(tmp_path, monkeypatch):
    """The policy is a pipe that nobody writes to, so the server never gets past loading it."""
    (tmp_path / "policy").mkdir()
    os.mkfifo(tmp_path / "policy/policy.json")
    (tmp_path / "policy/policy.safetensors").touch()
    key = JobKey.create()
    command = harness.server_command(settings("vla"), tmp_path / "a.json", tmp_path / "policy", None)
    with Child(command, environment=key.environment(), log=tmp_path / "log") as server:
        port, problem = harness.wait_for_port(server, tmp_path / "a.json", 120)
        assert problem is None and json.loads((tmp_path / "a.json").read_text())["port"] == port
        begun = time.monotonic()
        problem = harness.wait_for_answer(server, "127.0.0.1", port, 2, key)
        assert problem == f"does not answer at 127.0.0.1:{port} after 2 s" and time.monotonic() - begun < 30
        assert key.environment()[VARIABLE] not in " ".join(command)  # other users see command lines
