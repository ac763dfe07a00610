"""What a study costs: CPU seconds, start of jobs, disk, longest chain of jobs. It can compare two builds.

    python speed/study_cost.py results/embedded [OTHER/results/embedded] [--code CHECKOUT ...]
    python speed/study_cost.py --run FOLDER CHECKOUT [CHECKOUT] [--scale smoke] [--cores 2]

The first form reads finished results folders. The second form copies each checkout to FOLDER, runs the study
there with the checkout's own code and environment, and reads the results. If it is interrupted, run the same
command again. Use a new FOLDER for other code.

With --run, the kernel measures Snakemake alone and all its processes together. The jobs have the CPU time
that they record. A version that does not record it gets a command that measures each job. Without --run,
Snakemake's own time is not known (null), and the jobs of an older version have the larger of the two times
that it left. `further_cpu_seconds` are of processes that are not jobs, such as the one that jobs start from,
and of the last moments of jobs.

The start of a job is the part of its CPU time before its work begins: the start of Python, and imports. A job
of an older version records only the imports. The program then adds the time of `vlm4vla --help`, and for jobs
without a record this time is all it knows.

The wall time is that of the jobs on 8 cores and on any number of cores, by list scheduling of the study's own
graph of jobs: each job takes one core for its CPU seconds, and a job with a longer chain of dependent jobs
starts first. The CPU time of a dry run, which is Snakemake's start, comes before. `ratio` is the second build
divided by the first.
"""

from __future__ import annotations

import argparse
import json
import os
import subprocess
import sys
from collections import defaultdict
from collections.abc import Mapping, Sequence
from pathlib import Path
from types import SimpleNamespace
from typing import Any

from builds import children_seconds, copy, environment_of, python_of, read_graph

from vlm4vla.core.cpu_time import read_log
from vlm4vla.report.pages.cost import job_costs, log_of, records
from vlm4vla.workflow.estimate.cluster import Cluster
from vlm4vla.workflow.estimate.schedule import schedule
from vlm4vla.workflow.estimate.work import Work

RECORD = "study_cost.jsonl"  # in the folder of a run: what the kernel measured
RECORDS_ITSELF = "src/vlm4vla/core/cpu_time.py"  # in a version whose jobs record their CPU time
CORES = 8
HERE = Path(__file__).parents[1]
MAIN = "import sys; from vlm4vla.cli import main; sys.exit(main())"  # as the installed command does

# Stands for the command `vlm4vla` of the rules: runs it, and records what the kernel says about it. Its own
# time (`measuring`) is not the build's.
MEASURED_JOB = """#!{python} -SEs
import json, os, resource, signal, sys, time

begin = time.time()
child = os.posix_spawn({python!r}, [{python!r}, "-c", {main!r}, *sys.argv[1:]], os.environ)
for each in (signal.SIGTERM, signal.SIGINT):
    signal.signal(each, lambda number, _: os.kill(child, number))
_, status, usage = os.wait4(child, 0)
own = resource.getrusage(resource.RUSAGE_SELF)
record = {{
    "kind": "job",
    "log": os.readlink("/proc/self/fd/1"),
    "cpu": usage.ru_utime + usage.ru_stime,
    "wall": time.time() - begin,
    "measuring": own.ru_utime + own.ru_stime,
    "status": os.waitstatus_to_exitcode(status),
}}
with open({record!r}, "a") as file:
    file.write(json.dumps(record) + chr(10))
sys.exit(record["status"] if record["status"] >= 0 else 128 - record["status"])
"""
# Registered first, so that it runs last: Snakemake waits for some processes only at its own exit.
MEASURED_SNAKEMAKE = """
import atexit, json, resource, sys, time

record, begin, status = sys.argv.pop(1), time.time(), 1
sys.argv[0] = "snakemake"  # the plugin of the logger looks at it
def add(**values):
    with open(record, "a") as file:
        file.write(json.dumps(values) + chr(10))
def end():
    own, jobs = (resource.getrusage(who) for who in (resource.RUSAGE_SELF, resource.RUSAGE_CHILDREN))
    add(
        kind="snakemake", status=status, wall=time.time() - begin,
        cpu=own.ru_utime + own.ru_stime, processes=jobs.ru_utime + jobs.ru_stime,
    )
atexit.register(end)
add(kind="begin")
from snakemake.cli import main
try:
    main(sys.argv[1:])
except SystemExit as stop:
    status = stop.code or 0
    raise
"""


# ---- running a build


def run(
    build: Path, folder: Path, scale: str, cores: int, targets: Sequence[str], more: Sequence[Path]
) -> Path:
    """Run the study of the checkout `build` in `folder`, measured, and return its results folder."""
    record, python = folder / RECORD, python_of(build)
    command = folder / "bin" / "vlm4vla"
    if not record.exists():
        copy(build, folder)
        if not (build / RECORDS_ITSELF).exists():
            command.parent.mkdir(exist_ok=True)
            command.write_text(MEASURED_JOB.format(python=python, main=MAIN, record=str(record.absolute())))
            command.chmod(0o755)
    layers = [] if scale == "embedded" else [f"workflow/scales/{scale}.yaml"]
    layers += [str(path.absolute()) for path in more]
    about = {"kind": "about", "layers": layers, "targets": list(targets), "python": python}
    if not record.exists():
        record.write_text(json.dumps(about) + "\n")
    lines = read_record(record)
    if lines[0] != about:
        sys.exit(f"{folder}: another run is there: write a new folder for --run")
    if (lines[-1]["kind"], lines[-1].get("status")) != ("snakemake", 0):
        path = os.pathsep.join((str(Path(python).parent), os.environ["PATH"]))
        if command.exists():
            path = os.pathsep.join((str(command.parent.absolute()), path))
        options = ["--cores", str(cores), "--rerun-incomplete", "--scheduler", "greedy", "--logger", "study"]
        options += ["--configfile", *layers] if layers else []
        status = subprocess.run(
            [python, "-c", MEASURED_SNAKEMAKE, str(record.absolute()), *targets, *options],
            cwd=folder,
            env=environment_of(folder, PATH=path),
            stdout=sys.stderr,
        ).returncode
        if status:
            sys.exit(
                f"{folder}: Snakemake ended with status {status}: see above, and run the same command again"
            )
    made = sorted(path.parent for path in folder.glob("results/*/benchmarks"))
    return next((path for path in made if path.name == scale), made[0])


def read_record(path: Path) -> list[dict[str, Any]]:
    return [json.loads(line) for line in path.read_text().splitlines()] if path.exists() else []


def jobs_of(lines: Sequence[dict[str, Any]]) -> list[dict[str, Any]]:
    """The lines of jobs that wrote to a log of the study."""
    return [line for line in lines if line["kind"] == "job" and "/logs/" in line["log"]]


# ---- reading a build


def read_build(results: Path, code: Path | None) -> dict[str, Any]:
    """The cost of the study in `results`, whose version has its code in `code`."""
    results = results.resolve()
    folder = results.parents[1]
    lines = read_record(folder / RECORD)
    code = code or next(each for each in (folder, HERE) if (each / "src" / "vlm4vla").is_dir())
    python = lines[0]["python"] if lines else python_of(code)
    times = job_seconds(results, lines)
    if not times:
        sys.exit(f"{results}: no finished job: write the folder of a finished study")
    starts = start_seconds(results, times, code, python)
    disk = megabytes(results)
    stages: dict[str, dict[str, float]] = defaultdict(
        lambda: {"jobs": 0, "cpu_seconds": 0.0, "start_up_cpu_seconds": 0.0, "megabytes": 0.0}
    )
    for job, seconds in times.items():
        part = stages[job.partition("/")[0]]
        part["jobs"] += 1
        part["cpu_seconds"] += seconds
        part["start_up_cpu_seconds"] += min(starts[job], seconds)
    for stage, size in disk.items():
        stages[stage]["megabytes"] += size
    total = {key: sum(part[key] for part in stages.values()) for key in next(iter(stages.values()))}
    snakemake = snakemakes_cost(lines, total["cpu_seconds"])
    if snakemake:
        snakemake["megabytes"] = sum(megabytes(folder / ".snakemake").values())
    record = {
        "results": str(results),
        "stages": {
            name: rounded(part if part["jobs"] else {"megabytes": part["megabytes"]})
            for name, part in sorted(stages.items())
        },
        "jobs": rounded(total),
        "snakemake": rounded(snakemake) if snakemake else None,
        "cpu_seconds": round(
            total["cpu_seconds"]
            + snakemake.get("cpu_seconds", 0.0)
            + snakemake.get("further_cpu_seconds", 0.0),
            1,
        ),
    }
    layers = lines[0]["layers"] if lines else [str(results / "config.yaml")]
    targets = lines[0]["targets"] if lines else ["all_tables"]
    graph, start = read_graph(code, python, layers, targets)
    return record | {"wall_seconds": wall(graph, times, start)}


def job_seconds(results: Path, lines: Sequence[dict[str, Any]]) -> dict[str, float]:
    """The CPU seconds of each job: those that the kernel measured, or else those that the study recorded.

    If a job ran more than once in a measured run, all its processes count.
    """
    times = {job: cost.cpu for job, cost in job_costs(results).items()}
    measured: dict[str, float] = defaultdict(float)
    for line in jobs_of(lines):
        measured[line["log"].partition("/logs/")[2].removesuffix(".log")] += line["cpu"]
    return times | measured


def start_seconds(results: Path, jobs: Mapping[str, float], code: Path, python: str) -> dict[str, float]:
    """The CPU seconds that the start of each job took."""
    found, base, recorded = {}, None, records(results)
    for job in jobs:
        own = read_log(log_of(results, job))
        if own is not None:
            found[job] = own.start_up
            continue
        base = python_seconds(code, python) if base is None else base
        record = json.loads(recorded[job].read_text()) if job in recorded else {}
        found[job] = base + record.get("provenance", record).get("start_up_seconds", 0.0)
    return found


def python_seconds(code: Path, python: str) -> float:
    """The CPU seconds of `vlm4vla --help`: Python's start and the imports of the command line."""
    command = [python, "-c", MAIN, "--help"]
    times = []
    for _ in range(3):  # the first may read from disk, or compile
        with children_seconds() as spent:
            subprocess.run(command, env=environment_of(code), check=True, stdout=subprocess.DEVNULL)
        times.append(spent[0])
    return min(times)


def snakemakes_cost(lines: Sequence[dict[str, Any]], jobs: float) -> dict[str, Any]:
    """Snakemake's own CPU seconds over all parts of a run; empty if they were not measured.

    `jobs`: the CPU seconds of all jobs. `interrupted`: the parts of the run that were killed. Their times are
    not known, and so the times of further processes are not known, either.
    """
    runs = [line for line in lines if line["kind"] == "snakemake"]
    if not runs:
        return {}
    further = sum(line["processes"] for line in runs) - jobs
    further -= sum(line["measuring"] for line in lines if line["kind"] == "job")
    killed = sum(line["kind"] == "begin" for line in lines) - len(runs)
    return {
        "cpu_seconds": sum(line["cpu"] for line in runs),
        "further_cpu_seconds": max(further, 0.0) if not killed else 0.0,
        "wall_seconds_of_run": sum(line["wall"] for line in runs),
        "interrupted": killed,
    }


def megabytes(folder: Path) -> dict[str, float]:
    """The size of the files below each folder in `folder`, in MB. Links to one file count once."""
    sizes: dict[str, float] = defaultdict(float)
    seen = set()
    for path in folder.rglob("*"):
        if path.is_file() and not path.is_symlink():
            about = path.stat()
            if (about.st_dev, about.st_ino) not in seen:
                seen.add((about.st_dev, about.st_ino))
                inside = path.relative_to(folder).parts
                sizes[inside[0] if len(inside) > 1 else "report"] += about.st_size / 1e6
    return sizes


# ---- the graph of jobs


def wall(graph: Mapping[str, Sequence[str]], times: Mapping[str, float], start: float) -> dict[str, Any]:
    """The shortest wall time of the jobs of `graph` after `start` seconds, with the longest chain."""
    jobs = {job: SimpleNamespace(inputs=inputs) for job, inputs in graph.items()}
    works = {job: Work(times.get(job, 0.0), "measured") for job in jobs}
    found = schedule(jobs, works, Cluster(CORES))  # type: ignore[arg-type]
    chain = longest_chain(graph, times)
    return {
        f"{CORES}_cores": round(start + found.wall, 1),
        "any_number_of_cores": round(start + found.critical, 1),
        "snakemakes_start": round(start, 1),
        "longest_chain": {job: round(times.get(job, 0.0), 1) for job in chain},
        "jobs_without_time": sorted(job for job in graph if job not in times),
    }


def longest_chain(graph: Mapping[str, Sequence[str]], times: Mapping[str, float]) -> list[str]:
    """The jobs on the longest chain of jobs in which each needs the one before, in order."""
    ends: dict[str, float] = {}  # the earliest end of each job
    before: dict[str, str | None] = {}
    for job, inputs in graph.items():
        before[job] = max((each for each in inputs if each in ends), key=ends.__getitem__, default=None)
        ends[job] = times.get(job, 0.0) + (ends[last] if (last := before[job]) is not None else 0.0)
    chain: list[str] = []
    job = max(ends, key=ends.__getitem__, default=None)
    while job is not None:
        chain.append(job)
        job = before[job]
    return chain[::-1]


# ---- output


def rounded(numbers: Mapping[str, float]) -> dict[str, float]:
    return {key: value if isinstance(value, int) else round(value, 2) for key, value in numbers.items()}


def ratio(first: Mapping[str, Any], second: Mapping[str, Any]) -> dict[str, Any]:
    """The numbers of the second build divided by those of the first; null where one is not known."""

    def divided(*path: str) -> float | None:
        values = []
        for each in (first, second):
            value: Any = each
            for key in path:
                value = value.get(key) if value else None
            values.append(value)
        return round(values[1] / values[0], 3) if values[0] and values[1] is not None else None

    known = bool(first["snakemake"]) == bool(second["snakemake"])
    stages = sorted(first["stages"].keys() & second["stages"].keys())
    return {
        "cpu_seconds": divided("cpu_seconds") if known else None,
        "cpu_seconds_of_jobs": divided("jobs", "cpu_seconds"),
        "start_up_cpu_seconds": divided("jobs", "start_up_cpu_seconds"),
        "snakemakes_cpu_seconds": divided("snakemake", "cpu_seconds"),
        "megabytes": divided("jobs", "megabytes"),
        "wall_seconds": {
            key: divided("wall_seconds", key) for key in (f"{CORES}_cores", "any_number_of_cores")
        },
        "cpu_seconds_of_stages": {stage: divided("stages", stage, "cpu_seconds") for stage in stages},
    }


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument(
        "paths", type=Path, nargs="+", help="one or two results folders; with --run, checkouts"
    )
    parser.add_argument("--code", type=Path, nargs="+", help="the checkouts that made the results folders")
    parser.add_argument(
        "--run", type=Path, metavar="FOLDER", help="run each checkout in a copy in this folder"
    )
    parser.add_argument("--scale", default="embedded", help="with --run: embedded, smoke, ...")
    parser.add_argument("--cores", type=int, default=os.cpu_count(), help="with --run: cores of Snakemake")
    parser.add_argument("--target", nargs="+", default=["all_tables"], help="with --run: what to make")
    parser.add_argument("--config", type=Path, nargs="+", default=[], help="with --run: further layers")
    arguments = parser.parse_args()
    paths, codes = arguments.paths, arguments.code or [None] * len(arguments.paths)
    if len(paths) > 2 or len(codes) != len(paths):
        parser.error("write one or two folders, and as many for --code")
    if arguments.run is not None:
        folders = [arguments.run / f"{number}-{path.resolve().name}" for number, path in enumerate(paths, 1)]
        given = (arguments.scale, arguments.cores, arguments.target, arguments.config)
        paths = [run(build, folder, *given) for build, folder in zip(paths, folders, strict=True)]
        codes = folders
    builds = [read_build(results, code) for results, code in zip(paths, codes, strict=True)]
    compared = {"ratio": ratio(*builds)} if len(builds) == 2 else {}
    print(json.dumps({"builds": builds} | compared, indent=2))


if __name__ == "__main__":
    main()
