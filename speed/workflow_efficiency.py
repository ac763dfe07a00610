"""How well a run of the workflow used its cores: the CPU time of the jobs over wall time x cores.

Only work counts. Starting Python, importing torch, Snakemake itself, idle cores and the tables are losses.
Each job records its CPU time and the part of it that its start took. The program subtracts that part. It
prints JSON.

    python speed/workflow_efficiency.py results/embedded --cores 2
    python speed/workflow_efficiency.py results/embedded --cores 2 --run snakemake --cores 2 all_tables

The second form runs the command and measures its wall time. It does not count jobs that were finished before.
The first form takes the wall time from the records: from the start of the first job to the last table. A job
that was killed and resumed records only the CPU time of its last process.
"""

from __future__ import annotations

import argparse
import json
import os
import subprocess
import sys
import time
from collections import defaultdict
from datetime import datetime
from pathlib import Path
from typing import Any

from vlm4vla.core.cpu_time import read_log
from vlm4vla.report.pages.cost import log_of, read_cost, records


def jobs(results: Path) -> list[dict[str, Any]]:
    """The provenance of every finished job of a study, with its path and its whole CPU time."""
    found = []
    for job, path in sorted(records(results).items()):
        record = json.loads(path.read_text())
        record = record.get("provenance", record)
        if "cpu_seconds" in record:
            start = {"start_up_seconds": own.start_up} if (own := read_log(log_of(results, job))) else {}
            cpu = read_cost(results, job, path).cpu
            found.append(record | {"path": path, "cpu_seconds": cpu} | start)
    return found


def start_of(job: dict[str, Any]) -> float:
    """The start of a job in seconds since the epoch."""
    return datetime.fromisoformat(job["started"]).timestamp()


def summary(found: list[dict[str, Any]], wall: float, cores: int) -> dict[str, Any]:
    """The efficiency, and the CPU time of each stage."""
    stages: dict[str, dict[str, float]] = defaultdict(
        lambda: {"jobs": 0, "cpu_seconds": 0.0, "start_up_seconds": 0.0}
    )
    for job in found:
        part = stages[job["stage"]]
        part["jobs"] += 1
        part["start_up_seconds"] += job["start_up_seconds"]
        part["cpu_seconds"] += job["cpu_seconds"] - job["start_up_seconds"]
    work = sum(part["cpu_seconds"] for part in stages.values())
    return {
        "efficiency": round(work / (wall * cores), 4),
        "cpu_seconds": round(work, 1),
        "wall_seconds": round(wall, 1),
        "cores": cores,
        "jobs": len(found),
        "stages": {
            name: {key: round(value, 1) for key, value in part.items()}
            for name, part in sorted(stages.items())
        },
    }


def recorded_wall(results: Path, found: list[dict[str, Any]]) -> float:
    """Seconds from the start of the first job to the end of the last job or the last table."""
    ends = [start_of(job) + job["wall_seconds"] for job in found]
    ends += [path.stat().st_mtime for path in results.glob("analysis/*.json")]
    return max(ends) - min(start_of(job) for job in found)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("results", type=Path, help="folder of the study, for example results/embedded")
    parser.add_argument("--cores", type=int, default=os.cpu_count(), help="number of cores of the run")
    parser.add_argument("--wall", type=float, help="wall time of the run in seconds, if you know it")
    parser.add_argument("--run", nargs=argparse.REMAINDER, help="a command to run and time; must come last")
    arguments = parser.parse_args()
    earliest, wall = 0.0, arguments.wall
    if arguments.run:
        # The records have whole seconds.
        earliest, begin = float(int(time.time())), time.monotonic()
        status = subprocess.run(arguments.run, stdout=sys.stderr).returncode
        wall = time.monotonic() - begin
        if status:
            sys.exit(f"{arguments.run[0]} ended with status {status}")
    found = [job for job in jobs(arguments.results) if start_of(job) >= earliest]
    if not found:
        sys.exit(f"{arguments.results}: no finished job: write the folder of a finished study")
    wall = wall or recorded_wall(arguments.results, found)
    if old := [job["path"] for job in found if "start_up_seconds" not in job]:
        sys.exit(f"{old[0]}: no start_up_seconds, because an older version made it: run the job again")
    print(json.dumps(summary(found, wall, arguments.cores), indent=2))


if __name__ == "__main__":
    main()
