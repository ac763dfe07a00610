"""The processes of an evaluation with vla-eval: their configuration, commands and environments."""

from __future__ import annotations

import json
import socket
import sys
import time
import urllib.error
import urllib.request
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from vlm4vla.config.benchmarks import EvaluationProtocol
from vlm4vla.config.simulators import ExternalPolicy, Simulator
from vlm4vla.config.stages import RolloutSettings
from vlm4vla.core.processes import Child
from vlm4vla.evaluation.simulators.episodes import SimulatorEpisode, benchmark_entries

INSIDE = Path(__file__).parent / "inside"
INSIDE_CONTAINER = "/opt/vlm4vla"
EPISODES = "vlm4vla_episodes:ChosenEpisodes"
# vla-eval ends itself if no episode ends within this time. A chain on a slow CPU can take longer than its
# default of 1200 s.
WATCHDOG_S = 7200
RUN = "import sys; from vla_eval.cli.main import main; sys.argv[0] = 'vla-eval'; main()"


def sent_actions(simulator: Simulator) -> dict[str, str]:
    """The format of each action component that our server sends. The adapter must declare the same."""
    if simulator.convention.declares:
        return dict(simulator.convention.declares)
    closes = "positive" if simulator.gripper.close > 0 else "negative"
    return {"gripper": f"binary_close_{closes}"}


def harness_config(
    evaluation: EvaluationProtocol,
    episodes: Sequence[SimulatorEpisode],
    url: str,
    *,
    external: ExternalPolicy | None,
) -> dict[str, Any]:
    """vla-eval's configuration of one simulator process, which runs `episodes` with the server at `url`.

    `external`: the external policy that the server serves, or None for one of our policies. With an external
    policy, an image is rendered at every step, and the action space is not checked.
    """
    simulator = evaluation.simulator
    assert simulator is not None
    runs = simulator.runs
    convention, look_every = simulator.convention, 1 if external else evaluation.execution_horizon
    adapter = convention.own if convention.own and runs.container is None else convention.adapter
    benchmarks = []
    for index, entry in enumerate(benchmark_entries(evaluation, look_every=look_every)):
        own = [each for each in episodes if each.entry == index]
        if not own:
            continue
        chosen = [{"task": each.task, "state": each.state, "number": each.number} for each in own]
        params = {"adapter": adapter, "episodes": chosen, "params": entry.params, "seed": evaluation.seed}
        params |= {} if external else {"sends": sent_actions(simulator)}
        benchmarks.append(
            {
                "benchmark": EPISODES,
                "name": f"entry{index}",
                "episodes_per_task": 1,
                "max_steps": entry.max_steps,
                "params": params,
                "recording": {"record_step": False, "record_video": False},
            }
        )
    config: dict[str, Any] = {
        "server": {"url": url, "timeout": float(runs.answer_s)},
        "render": simulator.render,
        "benchmarks": benchmarks,
    }
    if runs.container is not None:
        config["docker"] = {
            "image": runs.container,
            "volumes": [f"{INSIDE}:{INSIDE_CONTAINER}:ro"],
            "env": [f"PYTHONPATH={INSIDE_CONTAINER}"],
        }
    return config


def simulator_command(simulator: Simulator, config: Path, output: Path, eval_id: str) -> list[str]:
    """The command that runs the episodes of `config` and writes the recordings into `output`."""
    python = sys.executable
    if simulator.runs.environment is not None:
        python = str(Path(simulator.runs.environment).expanduser().absolute() / "bin" / "python")
    more = [] if simulator.runs.container is not None else ["--no-docker"]
    where = ["--config", str(config), "--output-dir", str(output), "--eval-id", eval_id]
    return [python, "-c", RUN, "run", *where, "--yes", *more]


def simulator_environment(folder: Path) -> dict[str, str]:
    """Additional environment variables of a simulator process, whose folder is `folder`."""
    return {
        "PYTHONPATH": str(INSIDE),
        "PYTHONUNBUFFERED": "1",
        "VLA_EVAL_WATCHDOG_TIMEOUT_S": str(WATCHDOG_S),
        "VLA_EVAL_DISABLE_NETFS_WARNING": "1",  # each file has one writer
        "LIBERO_CONFIG_PATH": str(folder),  # by default, LIBERO writes its paths to the home folder
    }


def server_command(
    settings: RolloutSettings, port: int, vla: Path | None, demonstrations: Path | None
) -> list[str]:
    """The command that serves one of our policies."""
    assert settings.evaluation.simulator is not None
    command = [sys.executable, "-m", "vlm4vla.evaluation.simulators.server"]
    command += ["--settings", settings.model_dump_json()]
    command += ["--host", settings.evaluation.simulator.runs.host, "--port", str(port)]
    for name, folder in (("vla", vla), ("demonstrations", demonstrations)):
        command += [f"--{name}", str(folder)] if folder is not None else []
    return command


def external_command(external: ExternalPolicy, host: str, port: int) -> list[str]:
    """The command that serves an external policy."""
    return [word.replace("{host}", host).replace("{port}", str(port)) for word in external.command]


def free_port(host: str) -> int:
    """A port of `host` that no process listens on at the moment."""
    with socket.socket() as probe:
        probe.bind((host, 0))
        return probe.getsockname()[1]


def wait_for_answer(server: Child, host: str, port: int, seconds: float) -> str | None:
    """Wait until the vla-eval server is ready. Return None then, or the reason why it will never be ready."""
    deadline = time.monotonic() + seconds
    while time.monotonic() < deadline:
        if server.status is not None:
            return f"ended with status {server.status} before it answered ({server.last_line()})"
        if _is_ready(host, port):
            return None
        time.sleep(0.5)
    return f"does not answer at {host}:{port} after {seconds:g} s"


def _is_ready(host: str, port: int) -> bool:
    try:
        with urllib.request.urlopen(f"http://{host}:{port}/health", timeout=5) as reply:
            return reply.status == 200
    except (urllib.error.URLError, OSError):
        return False


def as_json(config: dict[str, Any]) -> str:
    """A configuration as JSON, which is also YAML."""
    return json.dumps(config, indent=1)
