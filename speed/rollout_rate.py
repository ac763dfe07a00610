"""Rollout episodes per second on each embedded benchmark: random actions, the expert, and a VLA.

The VLA is new and untrained unless --vla is the folder of a trained one. An untrained policy fails, so its
episodes run to the step limit. This is the slowest case; compare steps per second. The program prints JSON.

    python speed/rollout_rate.py [--config config.yaml] [--backbone NAME] [--vla FOLDER] [--episodes 5]
"""

from __future__ import annotations

import argparse
import json
import os
import tempfile
import time
from pathlib import Path

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


def measure(
    config: Config, policy: str, benchmark: str, vla: Path | None, episodes: int, folder: Path
) -> dict:
    """Measure the wall time of the rollout stage, and the CPU time of this process."""
    evaluation = config.benchmarks[benchmark].evaluation.model_copy(
        update={"episodes": episodes, "videos": 0}
    )
    settings = RolloutSettings(
        policy=policy,
        backbone=policy,
        variant="full",
        benchmark=benchmark,
        seed=0,
        evaluation=evaluation,
        image_size=config.image_size,
        study=config.study,
        scale=config.scale,
    )
    wall, cpu = time.perf_counter(), time.process_time()
    stage.run(settings, vla=vla, output=folder)
    wall, cpu = time.perf_counter() - wall, time.process_time() - cpu
    rows = pq.read_table(folder / "episodes.parquet", columns=["steps", "solved"])
    steps = int(np.sum(rows["steps"].to_numpy()))
    return {
        "episodes": rows.num_rows,
        "steps": steps,
        "mean_solved": round(float(np.mean(rows["solved"].to_numpy())), 3),
        "episodes_per_second": round(rows.num_rows / wall, 2),
        "episodes_per_cpu_second": round(rows.num_rows / cpu, 2),
        "steps_per_cpu_second": round(steps / cpu, 1),
    }


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--config", type=Path, default=Path("config.yaml"))
    parser.add_argument("--backbone", help="backbone of the untrained VLA (default: the first of the config)")
    parser.add_argument("--vla", type=Path, help="folder of a trained VLA; only its benchmark is then run")
    parser.add_argument(
        "--episodes", type=int, default=5, help="chains on calvin, initial states per task elsewhere"
    )
    arguments = parser.parse_args()
    config = load_config(yaml.safe_load(arguments.config.read_text()), str(arguments.config))
    backbone = arguments.backbone or next(iter(config.backbones))
    benchmarks = list(config.benchmarks)
    if arguments.vla:
        benchmarks = [json.loads((arguments.vla / "policy.json").read_text())["benchmark"]]
    rates: dict[str, dict] = {}
    with tempfile.TemporaryDirectory() as name:
        root = Path(name)
        for benchmark in benchmarks:
            vla = arguments.vla or untrained(config, backbone, benchmark, root / benchmark / "vla-folder")
            measure(config, "random", benchmark, None, 1, root / benchmark / "warm-up")
            rates[benchmark] = {
                policy: measure(
                    config,
                    policy,
                    benchmark,
                    vla if policy == "vla" else None,
                    arguments.episodes,
                    root / benchmark / policy,
                )
                for policy in ("random", "expert", "vla")
            }
    policy = str(arguments.vla) if arguments.vla else f"untrained {backbone}"
    print(json.dumps({"vla": policy, "threads": 1, "benchmarks": rates}, indent=2))


if __name__ == "__main__":
    main()
