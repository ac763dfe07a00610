"""How well a run of the workflow used its cores: the jobs' CPU time over wall time x cores.

Only work counts: starting Python and importing torch is loss, and so are Snakemake itself, idle cores and the
tables. Each job's CPU time stands in its provenance, which begins after the command has started, and beside
it the part that went into imports, which is taken off. Prints JSON.

    python speed/workflow_efficiency.py results/embedded --cores 2
    python speed/workflow_efficiency.py results/embedded --cores 2 --run snakemake --cores 2 all_tables

The second form runs the command and takes its wall time; jobs that it finds finished are not counted. The
first form takes the wall time from the records, from the first job's start to the last table. A job that was
killed and resumed records the CPU time of its last process only.
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


def jobs(results: Path) -> list[dict[str, Any]]:
    """Provenance of every finished job of a study, with the path that holds it."""
    found = []
    for path in sorted(results.glob("**/provenance.json")):
        found.append(json.loads(path.read_text()) | {"path": path})
    for path in sorted(results.glob("capability/*/*.json")):
        found.append(json.loads(path.read_text())["provenance"] | {"path": path})
    return [job for job in found if "cpu_seconds" in job]


def begin_of(job: dict[str, Any]) -> float:
    """Seconds since the epoch at which a job's record begins."""
    return datetime.fromisoformat(job["started"]).timestamp()


def summary(found: list[dict[str, Any]], wall: float, cores: int) -> dict[str, Any]:
    """Efficiency and where the CPU time went, stage by stage."""
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
    """Seconds from the first job's start to the last job's end or the last table."""
    ends = [begin_of(job) + job["wall_seconds"] for job in found]
    ends += [path.stat().st_mtime for path in results.glob("analysis/*.json")]
    return max(ends) - min(begin_of(job) for job in found)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("results", type=Path, help="the study's folder, for example results/embedded")
    parser.add_argument("--cores", type=int, default=os.cpu_count(), help="cores that the run was given")
    parser.add_argument("--wall", type=float, help="wall seconds of the run, when you know them")
    parser.add_argument("--run", nargs=argparse.REMAINDER, help="a command to run and time; must come last")
    arguments = parser.parse_args()
    earliest, wall = 0.0, arguments.wall
    if arguments.run:
        # records have whole seconds
        earliest, begin = float(int(time.time())), time.monotonic()
        status = subprocess.run(arguments.run, stdout=sys.stderr).returncode
        wall = time.monotonic() - begin
        if status:
            sys.exit(f"{arguments.run[0]} ended with status {status}")
    found = [job for job in jobs(arguments.results) if begin_of(job) >= earliest]
    if not found:
        sys.exit(f"{arguments.results}: no finished job: give the folder of a study that has run")
    wall = wall or recorded_wall(arguments.results, found)
    if old := [job["path"] for job in found if "start_up_seconds" not in job]:
        sys.exit(f"{old[0]}: no start_up_seconds: an older version made it: make it again")
    print(json.dumps(summary(found, wall, arguments.cores), indent=2))


if __name__ == "__main__":
    main()
