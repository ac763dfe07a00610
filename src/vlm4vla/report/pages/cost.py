"""What a study cost: processor time, wall time and memory of its jobs."""

from __future__ import annotations

import csv
import json
from dataclasses import dataclass
from pathlib import Path


@dataclass
class Cost:
    """`cpu` and `wall` in seconds, summed over `jobs`; `memory`: the largest job's resident MB."""

    jobs: int = 0
    cpu: float = 0.0
    wall: float = 0.0
    memory: float = 0.0

    def add(self, cpu: float, wall: float, memory: float = 0.0) -> None:
        self.jobs += 1
        self.cpu += cpu
        self.wall += wall
        self.memory = max(self.memory, memory)


def read_costs(root: Path) -> dict[str, Cost]:
    """Cost by stage (backbones, vla, rollouts, ...) of what lies in the results folder `root`.

    From Snakemake's benchmarks/**.tsv, the last run of each job; for a folder that has none (made by hand, or
    brought along), from the times in its provenance.json.
    """
    costs: dict[str, Cost] = {}
    timed = set()
    for path in sorted((root / "benchmarks").rglob("*.tsv")):
        key = path.relative_to(root / "benchmarks").as_posix().removesuffix(".tsv")
        stage, cost = key.split("/")[0], Cost()
        if _add_last(cost, path):
            costs.setdefault(stage, Cost()).add(cost.cpu, cost.wall, cost.memory)
            timed.add(key)
    for path in sorted(root.rglob("provenance.json")):
        key = path.parent.relative_to(root).as_posix()
        if key in timed:
            continue
        try:
            record = json.loads(path.read_text())
            times = float(record["cpu_seconds"]), float(record["wall_seconds"])
        except (OSError, ValueError, KeyError, TypeError):
            continue  # no stage's record: nothing is known of its cost
        costs.setdefault(key.split("/")[0], Cost()).add(*times)
    return costs


def read_cost(root: Path, name: str) -> Cost:
    """Cost of one job: the last run in `root`/benchmarks/`name`.tsv, nothing where that is missing."""
    cost = Cost()
    path = root / "benchmarks" / f"{name}.tsv"
    if path.is_file():
        _add_last(cost, path)
    return cost


def _add_last(cost: Cost, path: Path) -> bool:
    """Add the last row of one of Snakemake's tables; whether it has any."""
    with path.open(newline="") as handle:
        rows = list(csv.DictReader(handle, delimiter="\t"))
    if rows:
        cost.add(*(_number(rows[-1].get(name)) for name in ("cpu_time", "s", "max_rss")))
    return bool(rows)


def total(costs: dict[str, Cost]) -> Cost:
    """All stages together."""
    whole = Cost()
    for cost in costs.values():
        whole.jobs += cost.jobs
        whole.cpu += cost.cpu
        whole.wall += cost.wall
        whole.memory = max(whole.memory, cost.memory)
    return whole


def _number(text: str | None) -> float:
    """Snakemake writes `NA` or `-` for what it had no time to measure."""
    try:
        return float(text or 0)
    except ValueError:
        return 0.0
