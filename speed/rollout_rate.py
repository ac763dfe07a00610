"""Rollout episodes per second on each embedded benchmark: random actions, the expert, and a VLA.

The VLA is new and untrained unless --vla is the folder of a trained one. An untrained policy fails, so its
episodes run to the step limit. This is the slowest case; compare steps per second. The program prints JSON.

With --processes N, N processes then roll out the VLA at the same time, each `--episodes` of its own initial
states on one thread. `together` counts their episodes a minute, from the moment at which all are warm.

With --libero, only the real LIBERO is measured: N simulators and one policy server, as a study runs them
(docs/simulators.md). The time includes the start of the server and of the simulators, so measure enough
episodes. The VLA is untrained or that of --vla, which must be for libero-10.

    python speed/rollout_rate.py [--config config.yaml] [--backbone NAME] [--vla FOLDER] [--episodes 5]
    python speed/rollout_rate.py --processes 16 [--benchmarks calvin bridge libero-10]
    python speed/rollout_rate.py --libero .venv-libero --processes 16 --episodes 16
"""

from __future__ import annotations

import argparse
import json
import multiprocessing
import os
import resource
import tempfile
import time
from multiprocessing.synchronize import Barrier
from pathlib import Path
from typing import Any

os.environ.setdefault("OMP_NUM_THREADS", "1")

import numpy as np
import pyarrow.parquet as pq
import yaml

from vlm4vla.actions.normalisation import Statistics
from vlm4vla.backbones import build
from vlm4vla.benchmarks.base import get_benchmark
from vlm4vla.config.config import Config, load_config
from vlm4vla.config.stages import RolloutSettings
from vlm4vla.core.artefacts import write_json
from vlm4vla.policies.policy import Policy
from vlm4vla.stages import rollout as stage

DEMONSTRATIONS = 1000  # number of episodes whose instructions are the vocabulary of the untrained VLA
LIBERO = {"adapter": "libero", "gripper": {"open": -1, "close": 1}, "success": "any-step", "idle_steps": 10}
LIBERO_STEPS, LIBERO_EXECUTED = 520, 4  # as in workflow/scales/paper.yaml


def untrained(config: Config, backbone: str, benchmark: str, folder: Path) -> Path:
    """Write a VLA before its first training step to `folder`; return `folder`."""
    source = get_benchmark(benchmark)
    evaluation = config.benchmarks[benchmark].evaluation
    episodes = [source.demonstration(index, 0) for index in range(DEMONSTRATIONS)]
    episodes += source.evaluation(evaluation.episodes, evaluation.seed)
    words = sorted({word for each in episodes for task in each.tasks for word in task.instruction.split()})
    loaded = build(config.backbones[backbone], backbone, words, config.image_size, 0)
    limits = np.full(7, 0.1)
    stats = {"action": {"min": -limits, "max": limits, "q01": -limits, "q99": limits}}
    settings = config.benchmarks[benchmark]
    statistics = Statistics.from_stats(stats, settings.normalisation, benchmark)
    Policy.create(loaded, config.head, settings.chunk, benchmark, statistics, 0).save(folder)
    write_json(folder / "provenance.json", {"stage": "vla"})
    return folder


def settings_of(config: Config, policy: str, benchmark: str, changes: dict[str, Any]) -> RolloutSettings:
    """The settings of a rollout with `changes` of its protocol."""
    protocol = config.benchmarks[benchmark].evaluation.model_dump(mode="json") | {"videos": 0} | changes
    return RolloutSettings(
        policy=policy,
        backbone=policy,
        variant="full",
        benchmark=benchmark,
        seed=0,
        evaluation=protocol,
        image_size=config.image_size,
        study=config.study,
        scale=config.scale,
    )


def measure(settings: RolloutSettings, vla: Path | None, folder: Path) -> dict[str, Any]:
    """Measure the wall time of the rollout stage, and the CPU time of this process and of its children."""
    wall, cpu = time.perf_counter(), _cpu_seconds()
    stage.run(settings, vla=vla, output=folder)
    wall, cpu = time.perf_counter() - wall, _cpu_seconds() - cpu
    rows = pq.read_table(folder / "episodes.parquet", columns=["steps", "solved"])
    steps = int(np.sum(rows["steps"].to_numpy()))
    return {
        "episodes": rows.num_rows,
        "steps": steps,
        "mean_solved": round(float(np.mean(rows["solved"].to_numpy())), 3),
        "episodes_per_second": round(rows.num_rows / wall, 2),
        "episodes_a_minute": round(60 * rows.num_rows / wall, 1),
        "episodes_per_cpu_second": round(rows.num_rows / cpu, 2),
        "steps_per_cpu_second": round(steps / cpu, 1),
    }


def _cpu_seconds() -> float:
    each = [resource.getrusage(who) for who in (resource.RUSAGE_SELF, resource.RUSAGE_CHILDREN)]
    return sum(usage.ru_utime + usage.ru_stime for usage in each)


def together(
    config: Config, benchmark: str, vla: Path, episodes: int, processes: int, folder: Path
) -> dict[str, Any]:
    """Episodes a minute of `processes` that roll out at the same time, each from its own initial states."""
    context = multiprocessing.get_context("spawn")
    barrier, times = context.Barrier(processes), context.Queue()
    arguments = (config, benchmark, vla, episodes, folder, barrier, times)
    started = [context.Process(target=_one_of, args=(each, *arguments)) for each in range(processes)]
    try:
        for process in started:
            process.start()
        for process in started:
            process.join()
        if any(process.exitcode for process in started):
            raise SystemExit("a process failed: its error is above")
        spans = [times.get(timeout=60) for _ in started]
    finally:
        for process in started:
            process.kill()
    seconds = max(ended for _, ended, _, _ in spans) - min(began for began, _, _, _ in spans)
    rows, steps = (sum(span[column] for span in spans) for column in (2, 3))
    return {
        "processes": processes,
        "episodes": rows,
        "steps": steps,
        "seconds": round(seconds, 2),
        "episodes_a_minute": round(60 * rows / seconds, 1),
        "steps_per_second": round(steps / seconds, 1),
    }


def _one_of(
    number: int,
    config: Config,
    benchmark: str,
    vla: Path,
    episodes: int,
    folder: Path,
    barrier: Barrier,
    times: Any,
) -> None:
    """The process `number`: a warm-up, then its episodes, with the times of the machine's clock."""
    try:
        own = folder / str(number)
        evaluation = {"episodes": episodes, "seed": config.benchmarks[benchmark].evaluation.seed + number}
        measure(settings_of(config, "vla", benchmark, evaluation | {"episodes": 1}), vla, own / "warm-up")
        barrier.wait(timeout=1800)
        began = time.time()
        found = measure(settings_of(config, "vla", benchmark, evaluation), vla, own / "measured")
        times.put((began, time.time(), found["episodes"], found["steps"]))
    except BaseException:
        barrier.abort()  # the others must not wait
        raise


def on_simulator(
    config: Config,
    benchmark: str,
    vla: Path,
    simulator: dict[str, Any],
    changes: dict[str, Any],
    folder: Path,
) -> dict[str, Any]:
    """Measure the rollouts of one policy server and the simulators that `simulator` describes."""
    settings = settings_of(config, "vla", benchmark, {"simulator": simulator, **changes})
    return {"processes": settings.evaluation.simulator.runs.processes, **measure(settings, vla, folder)}


def embedded(config: Config, benchmark: str, arguments: argparse.Namespace, root: Path) -> dict[str, Any]:
    """Measure one embedded benchmark."""
    vla = arguments.vla or untrained(config, arguments.backbone, benchmark, root / "vla-folder")
    measure(settings_of(config, "random", benchmark, {"episodes": 1}), None, root / "warm-up")
    found: dict[str, Any] = {}
    for policy in ("random", "expert", "vla"):
        settings = settings_of(config, policy, benchmark, {"episodes": arguments.episodes})
        found[policy] = measure(settings, vla if policy == "vla" else None, root / policy)
    if arguments.processes > 1:
        found["together"] = together(
            config, benchmark, vla, arguments.episodes, arguments.processes, root / "together"
        )
        alone = found["vla"]["episodes_a_minute"]
        found["together"]["times_one_process"] = round(found["together"]["episodes_a_minute"] / alone, 2)
    return found


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--config", type=Path, default=Path("config.yaml"))
    parser.add_argument("--backbone", help="backbone of the untrained VLA (default: the first of the config)")
    parser.add_argument("--vla", type=Path, help="folder of a trained VLA; only its benchmark is then run")
    parser.add_argument("--benchmarks", nargs="+", help="embedded benchmarks to run (default: all)")
    parser.add_argument(
        "--episodes", type=int, default=5, help="chains on calvin, initial states per task elsewhere"
    )
    parser.add_argument("--processes", type=int, default=1, help="processes that roll out at the same time")
    parser.add_argument("--libero", type=Path, help="environment of the real LIBERO (make env-libero)")
    parser.add_argument("--render", choices=("cpu", "gpu"), default="cpu", help="where LIBERO draws (cpu)")
    arguments = parser.parse_args()
    config = load_config(yaml.safe_load(arguments.config.read_text()), str(arguments.config))
    arguments.backbone = arguments.backbone or next(iter(config.backbones))
    benchmarks = arguments.benchmarks or list(config.benchmarks)
    if unknown := set(benchmarks) - set(config.benchmarks):
        parser.error(f"--benchmarks: {min(unknown)} is not a benchmark of {arguments.config}")
    if min(arguments.episodes, arguments.processes) < 1:
        parser.error("--episodes and --processes are at least 1")
    if arguments.vla:
        benchmarks = [json.loads((arguments.vla / "policy.json").read_text())["benchmark"]]
    rates: dict[str, dict] = {}
    with tempfile.TemporaryDirectory() as name:
        root = Path(name)
        if arguments.libero:
            vla = arguments.vla or untrained(config, arguments.backbone, "libero-10", root / "vla-folder")
            runs = {"environment": str(arguments.libero), "processes": arguments.processes}
            kind = config.benchmarks["libero-10"].normalisation
            changes = {"max_steps": LIBERO_STEPS, "execution_horizon": LIBERO_EXECUTED}
            rates["LIBERO-10, real simulator"] = on_simulator(
                config,
                "libero-10",
                vla,
                LIBERO | {"unnormalisation": kind, "runs": runs, "render": arguments.render},
                changes | {"episodes": arguments.episodes},
                root / "libero",
            )
        else:
            for benchmark in benchmarks:
                rates[benchmark] = embedded(config, benchmark, arguments, root / benchmark)
    policy = str(arguments.vla) if arguments.vla else f"untrained {arguments.backbone}"
    record = {"vla": policy, "cores": len(os.sched_getaffinity(0)), "threads": 1, "benchmarks": rates}
    print(json.dumps(record, indent=2))


if __name__ == "__main__":
    main()
