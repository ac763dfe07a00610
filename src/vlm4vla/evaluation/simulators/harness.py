"""What vla-eval is asked to run: its configuration, its commands and their environment."""

from __future__ import annotations

import json
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from vlm4vla.config.benchmarks import Protocol
from vlm4vla.config.simulators import OtherPolicy, Simulator
from vlm4vla.config.stages import RolloutSettings
from vlm4vla.evaluation.simulators.episodes import Chosen, entries

INSIDE = Path(__file__).parent / "inside"
INSIDE_CONTAINER = "/opt/vlm4vla"
EPISODES = "vlm4vla_episodes:Episodes"
WATCHDOG_S = 7200  # vla-eval ends itself when no episode ends in so long; 1200 would be a chain on a slow CPU
RUN = "import sys; from vla_eval.cli.main import main; sys.argv[0] = 'vla-eval'; main()"


def sent_actions(simulator: Simulator) -> dict[str, str]:
    """The actions that our server sends, in the words that the adapter must declare for its own."""
    if simulator.convention.declares:
        return dict(simulator.convention.declares)
    closes = "positive" if simulator.gripper.close > 0 else "negative"
    return {"gripper": f"binary_close_{closes}"}


def harness_config(
    evaluation: Protocol, episodes: Sequence[Chosen], url: str, *, other: OtherPolicy | None
) -> dict[str, Any]:
    """vla-eval's configuration for one process: it plays `episodes` and asks the server at `url`.

    `other`: whose server that is, if it is not ours; then pictures are drawn at every step, and what it
    sends is its own matter.
    """
    simulator = evaluation.simulator
    assert simulator is not None
    runs = simulator.runs
    known, look_every = simulator.convention, 1 if other else evaluation.execution_horizon
    adapter = known.own if known.own and runs.container is None else known.adapter
    benchmarks = []
    for index, entry in enumerate(entries(evaluation, look_every=look_every)):
        own = [each for each in episodes if each.entry == index]
        if not own:
            continue
        wanted = [{"task": each.task, "state": each.state, "number": each.number} for each in own]
        params = {"adapter": adapter, "episodes": wanted, "params": entry.params}
        params |= {} if other else {"sends": sent_actions(simulator)}
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
    """The command that plays the episodes of `config` and keeps its records in `output`."""
    python = sys.executable
    if simulator.runs.environment is not None:
        python = str(Path(simulator.runs.environment).expanduser().absolute() / "bin" / "python")
    more = [] if simulator.runs.container is not None else ["--no-docker"]
    where = ["--config", str(config), "--output-dir", str(output), "--eval-id", eval_id]
    return [python, "-c", RUN, "run", *where, "--yes", *more]


def simulator_environment(folder: Path) -> dict[str, str]:
    """Further environment of a simulator process; `folder` is its own."""
    return {
        "PYTHONPATH": str(INSIDE),
        "PYTHONUNBUFFERED": "1",
        "VLA_EVAL_WATCHDOG_TIMEOUT_S": str(WATCHDOG_S),
        "VLA_EVAL_DISABLE_NETFS_WARNING": "1",  # one writer a file
        "LIBERO_CONFIG_PATH": str(folder),  # LIBERO writes where its files are to the home folder otherwise
    }


def server_command(
    settings: RolloutSettings, port: int, vla: Path | None, demonstrations: Path | None
) -> list[str]:
    """The command that serves our policy."""
    assert settings.evaluation.simulator is not None
    command = [sys.executable, "-m", "vlm4vla.evaluation.simulators.server"]
    command += ["--settings", settings.model_dump_json()]
    command += ["--host", settings.evaluation.simulator.runs.host, "--port", str(port)]
    for name, folder in (("vla", vla), ("demonstrations", demonstrations)):
        command += [f"--{name}", str(folder)] if folder is not None else []
    return command


def other_command(other: OtherPolicy, host: str, port: int) -> list[str]:
    """The command that serves a policy of others."""
    return [word.replace("{host}", host).replace("{port}", str(port)) for word in other.command]


def as_json(config: dict[str, Any]) -> str:
    """A configuration as JSON, which is YAML too."""
    return json.dumps(config, indent=1)
