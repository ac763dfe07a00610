"""The cost of a study: the CPU time, wall time and memory of its jobs."""

from __future__ import annotations

import csv
import math
from dataclasses import dataclass
from pathlib import Path

from vlm4vla.core.artefacts import parse_json
from vlm4vla.study.layout import BENCHMARKS, PROVENANCE


@dataclass
class Cost:
    """`cpu` and `wall`: seconds, summed over `jobs`. `memory`: the resident MB of the largest job."""

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
    """The cost of each stage (backbones, vla, rollouts, ...) in the results folder `root`.

    Snakemake's benchmarks/**.tsv give the cost of the last run of each job. An artefact without such a file,
    because it was made by hand or copied, has its cost from the times in its provenance.json.
    """
    costs: dict[str, Cost] = {}
    timed = set()
    for path in sorted((root / BENCHMARKS).rglob("*.tsv")):
        key = path.relative_to(root / BENCHMARKS).as_posix().removesuffix(".tsv")
        stage, cost = key.split("/")[0], Cost()
        if _add_last(cost, path):
            costs.setdefault(stage, Cost()).add(cost.cpu, cost.wall, cost.memory)
            timed.add(key)
    for path in sorted(root.rglob(PROVENANCE)):
        key = path.parent.relative_to(root).as_posix()
        if key in timed:
            continue
        try:
            record = parse_json(path.read_text())
            times = float(record["cpu_seconds"]), float(record["wall_seconds"])
        except (OSError, ValueError, KeyError, TypeError):
            continue  # the record has no times, so the cost is unknown
        costs.setdefault(key.split("/")[0], Cost()).add(*times)
    return costs


def read_cost(path: Path) -> Cost:
    """The cost of the last run in a job's benchmark file `path`; zero if the file is missing."""
    cost = Cost()
    if path.is_file():
        _add_last(cost, path)
    return cost


def _add_last(cost: Cost, path: Path) -> bool:
    """Add the last row of a benchmark file to `cost`. Return whether the file has a row."""
    try:
        with path.open(newline="") as handle:
            rows = list(csv.DictReader(handle, delimiter="\t"))
    except (OSError, UnicodeDecodeError, csv.Error):
        rows = []  # no file of Snakemake's
    if rows:
        cost.add(*(_number(rows[-1].get(name)) for name in ("cpu_time", "s", "max_rss")))
    return bool(rows)


def total_cost(costs: dict[str, Cost]) -> Cost:
    """The cost of all stages together."""
    whole = Cost()
    for cost in costs.values():
        whole.jobs += cost.jobs
        whole.cpu += cost.cpu
        whole.wall += cost.wall
        whole.memory = max(whole.memory, cost.memory)
    return whole


def _number(text: str | None) -> float:
    """A number in a benchmark file; 0 for `NA` or `-`, which Snakemake writes if a job was too short."""
    try:
        found = float(text or 0)
    except ValueError:
        return 0.0
    return found if math.isfinite(found) else 0.0
