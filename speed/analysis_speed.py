"""Time and memory of the analysis at the paper's size: 10 backbones, 3 benchmarks, 5 seeds, 1000 chains.

The program makes random records: 1000 chains, 4 tasks with 24 initial states each, and 10 tasks with 50. On
them it runs the analysis of the tables main and correlation: estimates, tests of all pairs, rankings, success
by task, and correlations. It draws no figure. It prints JSON.

    python speed/analysis_speed.py
"""

from __future__ import annotations

import argparse
import json
import resource
import time

import numpy as np
import pandas as pd

from vlm4vla.analysis.correlation import correlate
from vlm4vla.analysis.estimates import estimate
from vlm4vla.analysis.rankings import ranks_on_benchmark
from vlm4vla.analysis.records import cell_records
from vlm4vla.analysis.sensitivity import by_family, leave_one_out
from vlm4vla.conventions.benchmarks import metrics
from vlm4vla.report.rows.pairs import better_pairs, pair_tests, rank_over_all, task_grid

# Number of tasks, and of initial states per task; on CALVIN, number of chains.
EPISODES = {"calvin": (1000, 1000), "bridge": (4, 24), "libero-10": (10, 50)}


def random_records(models: int, seeds: int) -> pd.DataFrame:
    """Random episode records of every cell, with the columns that the analysis reads."""
    frames = []
    for benchmark, (tasks, states) in EPISODES.items():
        count = states if benchmark == "calvin" else tasks * states
        difficulty = np.random.default_rng(1).normal(size=(count, 5))
        for model in range(models):
            for seed in range(seeds):
                random = np.random.default_rng([model, seed])
                solves = difficulty + random.normal(size=(count, 5)) < 0.2 * model - 0.5
                chain = np.cumprod(solves, axis=1).sum(axis=1)
                solved = chain if benchmark == "calvin" else solves[:, 0].astype(int)
                task = np.arange(count) * tasks // count
                frames.append(
                    pd.DataFrame(
                        {
                            "benchmark": benchmark,
                            "model": f"model-{model}",
                            "auxiliary": "none",
                            "variant": "full",
                            "seed": seed,
                            "episode": np.arange(count),
                            "task": [f"task {number}" for number in task],
                            "initial_state": np.arange(count),
                            "success": solved == (5 if benchmark == "calvin" else 1),
                            "solved": solved,
                        }
                    )
                )
    return pd.concat(frames, ignore_index=True)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--models", type=int, default=10)
    parser.add_argument("--seeds", type=int, default=5)
    arguments = parser.parse_args()
    frame = random_records(arguments.models, arguments.seeds)
    policies = [(f"model-{model}", "full") for model in range(arguments.models)]
    seconds, of_cpu, begin, cpu = {}, {}, time.perf_counter(), time.process_time()

    def lap(name: str) -> None:
        """Record the seconds since the previous lap, on the clock and of the CPU."""
        seconds[name] = round(time.perf_counter() - begin - sum(seconds.values()), 2)
        of_cpu[name] = round(time.process_time() - cpu - sum(of_cpu.values()), 2)

    scores = {
        (model, benchmark): [
            estimate(cell_records(frame, model, variant, benchmark), metric) for metric in metrics(benchmark)
        ]
        for model, variant in policies
        for benchmark in EPISODES
    }
    lap("estimates")
    tests = {benchmark: pair_tests(frame, policies, benchmark) for benchmark in EPISODES}
    lap("pairs")
    rank_over_all(frame, policies, list(EPISODES), tests)
    for benchmark in EPISODES:
        ranks_on_benchmark(frame, policies, benchmark, metrics(benchmark)[0], better_pairs(tests[benchmark]))
    lap("rankings")
    rows = sum(len(task_grid(frame, policies, benchmark)) for benchmark in EPISODES)
    lap("success by task")
    # The scores of seven question sets, and of all sets together.
    questions = np.random.default_rng(3).uniform(size=(8, arguments.models))
    for benchmark in EPISODES:
        values = np.array([scores[model, benchmark][0].value for model, _ in policies])
        for scores_of_set in questions:
            correlate(scores_of_set, values)
        leave_one_out(questions[0], values, [model for model, _ in policies])
        by_family(questions[0], values, [model // 2 for model in range(arguments.models)])
    lap("correlation")
    print(
        json.dumps(
            {
                "episodes": len(frame),
                "pairs": sum(map(len, tests.values())),
                "tasks_by_policy": rows,
                "seconds": seconds,
                "cpu_seconds_of_each": of_cpu,
                "total_seconds": round(time.perf_counter() - begin, 2),
                "cpu_seconds": round(time.process_time() - cpu, 2),
                "peak_gb": round(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024**2, 2),
            },
            indent=2,
        )
    )


if __name__ == "__main__":
    main()
