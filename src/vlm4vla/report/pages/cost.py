"""The cost of a study: the CPU time, wall time and memory of its jobs."""

from __future__ import annotations

import csv
import math
from dataclasses import dataclass
from pathlib import Path

from vlm4vla.core import cpu_time, peak_memory
from vlm4vla.core.artefacts import parse_json
from vlm4vla.study.layout import ARTEFACTS, BENCHMARKS, EPISODES, LOGS, PROVENANCE, ResultsLayout


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
    """The cost of each stage (backbones, vla, rollouts, ...) in the results folder `root`."""
    costs: dict[str, Cost] = {}
    for job, cost in job_costs(root).items():
        costs.setdefault(job.split("/")[0], Cost()).add(cost.cpu, cost.wall, cost.memory)
    return costs


def job_costs(root: Path) -> dict[str, Cost]:
    """The cost of each job in the results folder `root`, by the job's path below logs/ and benchmarks/.

    The jobs are those with a file in benchmarks/, and those whose artefact was copied or made by hand and has
    the times in its provenance.
    """
    jobs = {
        path.relative_to(root / BENCHMARKS).as_posix().removesuffix(".tsv")
        for path in (root / BENCHMARKS).rglob("*.tsv")
    }
    recorded = records(root)
    costs = {job: read_cost(root, job, recorded.get(job)) for job in sorted(jobs | recorded.keys())}
    return {job: cost for job, cost in costs.items() if cost.jobs}


def records(root: Path) -> dict[str, Path]:
    """The files with the provenance of the jobs in `root`, by the jobs' paths below logs/."""
    layout = ResultsLayout(root)
    found = {}
    for path in [*root.rglob(PROVENANCE), *root.glob(ARTEFACTS["capability"].glob)]:
        names = (layout.job_of(str(each)) for each in (path, path.with_name(EPISODES)))
        job = next(filter(None, names), path.parent.relative_to(root).as_posix())
        found[job] = path
    return found


def log_of(root: Path, job: str) -> Path:
    """The log of a job."""
    return root / LOGS / f"{job}.log"


def read_cost(root: Path, job: str, record: Path | None = None) -> Cost:
    """The cost of the last run of `job`; no jobs if its cost is unknown.

    `job`: its path below logs/ and benchmarks/, without a suffix. `record`: the file with its provenance.

    The job's log has the CPU time of its whole process. Studies of older versions have no such line, and a
    job that finds its work finished by a killed run has a low one. The time in the provenance ends when the
    provenance is written. Snakemake's time ends at its last look, up to 30 seconds before the job's end. All
    of them are less than the job needed, if anything, so the largest is the best.
    """
    rows = _rows(root / BENCHMARKS / f"{job}.tsv")
    last = rows[-1] if rows else {}
    cpu, wall, memory = (_number(last.get(name)) for name in ("cpu_time", "s", "max_rss"))
    own = cpu_time.read_log(log_of(root, job))
    memory = max(memory, peak_memory.read_log(log_of(root, job)))
    recorded = _recorded_times(record)
    cost = Cost()
    if rows or own or recorded:
        own_cpu = own.total if own else 0.0
        recorded_cpu, recorded_wall = recorded or (0.0, 0.0)
        cost.add(max(cpu, own_cpu, recorded_cpu), wall if rows else recorded_wall, memory)
    return cost


def _rows(path: Path) -> list[dict[str, str]]:
    """The rows of a benchmark file; none if it is missing or not Snakemake's."""
    try:
        with path.open(newline="") as handle:
            return list(csv.DictReader(handle, delimiter="\t"))
    except (OSError, UnicodeDecodeError, csv.Error):
        return []


def _recorded_times(path: Path | None) -> tuple[float, float] | None:
    """CPU and wall seconds in the file `path` with a provenance; None if it has no times."""
    try:
        record = parse_json(path.read_text()) if path is not None else {}
        record = record.get("provenance", record)
        return _number(record["cpu_seconds"]), _number(record.get("wall_seconds"))
    except (OSError, ValueError, KeyError, TypeError, AttributeError):
        return None


def total_cost(costs: dict[str, Cost]) -> Cost:
    """The cost of all stages together."""
    whole = Cost()
    for cost in costs.values():
        whole.jobs += cost.jobs
        whole.cpu += cost.cpu
        whole.wall += cost.wall
        whole.memory = max(whole.memory, cost.memory)
    return whole


def _number(value: str | float | None) -> float:
    """A number in a benchmark file or a record; 0 for `NA` and `-`, which Snakemake writes for short jobs."""
    try:
        found = float(value or 0)
    except ValueError:
        return 0.0
    return found if math.isfinite(found) else 0.0
