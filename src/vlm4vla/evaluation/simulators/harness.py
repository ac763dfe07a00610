"""The processes of an evaluation with vla-eval: their configuration, commands and environments."""

from __future__ import annotations

import hmac
import http.client
import json
import sys
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from vlm4vla.config.benchmarks import EvaluationProtocol
from vlm4vla.config.simulators import ExternalPolicy, Simulator
from vlm4vla.config.stages import RolloutSettings
from vlm4vla.core.processes import Child
from vlm4vla.evaluation.simulators import ports
from vlm4vla.evaluation.simulators.episodes import SimulatorEpisode, benchmark_entries
from vlm4vla.evaluation.simulators.job_keys import PROOF, JobKey

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
    proof: str | None = None,
    script: bool = False,
) -> dict[str, Any]:
    """vla-eval's configuration of one simulator process, which runs `episodes` with the server at `url`.

    `external`: the external policy that the server serves, or None for one of our policies. With an external
    policy, an image is rendered at every step, and the action space is not checked. `proof`: what the server
    must send with each answer (job_keys.py); without it, any server is accepted. `script`: the simulator
    plays its own expert and ignores the actions of the server.
    """
    simulator = evaluation.simulator
    assert simulator is not None
    runs = simulator.runs
    convention, look_every = simulator.convention, 1 if external else evaluation.execution_horizon
    adapter = convention.own if convention.own and runs.container is None else convention.adapter
    benchmarks = []
    for index, entry in enumerate(benchmark_entries(evaluation, look_every=look_every)):
        params = entry.params | ({"expert": True} if script else {})
        own = [each for each in episodes if each.entry == index]
        if not own:
            continue
        chosen = [{"task": each.task, "state": each.state, "number": each.number} for each in own]
        params = {"adapter": adapter, "episodes": chosen, "params": params, "seed": evaluation.seed}
        params |= {} if external else {"sends": sent_actions(simulator)}
        params |= {"expects": proof} if proof else {}
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
    settings: RolloutSettings, address: Path, vla: Path | None, demonstrations: Path | None
) -> list[str]:
    """The command that serves one of our policies on a free port, which it writes to the file `address`."""
    assert settings.evaluation.simulator is not None
    command = [sys.executable, "-m", "vlm4vla.evaluation.simulators.server"]
    command += ["--settings", settings.model_dump_json()]
    command += ["--host", settings.evaluation.simulator.runs.host, "--address-file", str(address)]
    for name, folder in (("vla", vla), ("demonstrations", demonstrations)):
        command += [f"--{name}", str(folder)] if folder is not None else []
    return command


def external_command(external: ExternalPolicy, host: str, port: int) -> list[str]:
    """The command that serves an external policy."""
    return [word.replace("{host}", host).replace("{port}", str(port)) for word in external.command]


def wait_for_port(server: Child, address: Path, seconds: float) -> tuple[int, str | None]:
    """The port that our server has bound and None, or 0 and the reason why there will be none.

    `address`: the file to which the server writes its port, before it loads the policy.
    """
    deadline = time.monotonic() + seconds
    while time.monotonic() < deadline:
        found = ports.announced(address)
        if found is not None:
            return found[1], None
        if server.status is not None:
            return 0, f"ended with status {server.status} before it answered ({server.last_line()})"
        time.sleep(0.1)
    return 0, f"does not listen after {seconds:g} s"


def wait_for_answer(
    server: Child, host: str, port: int, seconds: float, key: JobKey | None = None
) -> str | None:
    """Wait until the server at `host` and `port` is ready. Return None then, or why it will never be ready.

    `key`: the key of the job, which our server has. An external policy has its own server without a key; for
    such a server, the process that listens is checked.
    """
    deadline = time.monotonic() + seconds
    where = ports.address(host, port)
    while time.monotonic() < deadline:
        if server.status is not None:
            return f"ended with status {server.status} before it answered ({server.last_line()})"
        # Our server already listens while it loads, so one request waits for as long as that takes.
        wait = max(deadline - time.monotonic(), 0.1) if key else 5
        answer = _health(host, port, key, wait)
        if answer is False:
            return f"is not this job's: another program answers at {where}"
        if answer:
            other = None if key else ports.other_listener(port, server.pid)
            if other is not None:
                return f"is not this job's: {other} answers at {where}"
            return None
        time.sleep(0.5)
    return f"does not answer at {where} after {seconds:g} s"


def _health(host: str, port: int, key: JobKey | None, seconds: float) -> bool | None:
    """Whether the server at the port is this job's and ready. None if there is no answer yet.

    The connection is direct: the proxies of the environment do not apply.
    """
    ticket = key.ticket() if key else None
    connection = http.client.HTTPConnection(host, port, timeout=seconds)
    try:
        connection.request("GET", (ticket.path if ticket else "") + "/health")
        reply = connection.getresponse()
        text = reply.read(1000)
    except OSError:
        return None
    except http.client.HTTPException:  # something answers, but not in HTTP
        return False if ticket else None
    finally:
        connection.close()
    if ticket is None:
        return True if reply.status == 200 else None
    try:
        proof = json.loads(text)[PROOF]
    except (ValueError, KeyError, TypeError):
        return False
    return isinstance(proof, str) and hmac.compare_digest(proof.encode(), ticket.proof.encode())


def as_json(config: dict[str, Any]) -> str:
    """A configuration as JSON, which is also YAML."""
    return json.dumps(config, indent=1)
