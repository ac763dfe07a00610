"""What a study costs: CPU seconds, start of jobs, disk, longest chain of jobs. It can compare two builds.

    python speed/study_cost.py results/embedded [OTHER/results/embedded] [--code CHECKOUT ...]
    python speed/study_cost.py --run FOLDER CHECKOUT [CHECKOUT] [--scale smoke] [--cores 2]

The first form reads finished results folders. The second form copies each checkout to FOLDER, runs the study
there with the checkout's own code and environment, and reads the results. If it is interrupted, run the same
command again. Use a new FOLDER for other code.

With --run, the kernel measures all processes in the same way, whatever the code of the checkout records: each
job, with its start and end, and Snakemake alone. Without it, the times of jobs are those that the study
recorded, and Snakemake's own time is not known (null). The start of a job is the part of its CPU time before
its work begins: the start of Python, and imports. A job of an older version records only a part of it. The
program then adds the time of `vlm4vla --help`, and for jobs without a record this time is all it knows.

The wall time is that of the measured jobs on 8 cores and on any number of cores, by list scheduling of the
study's own graph of jobs: each job takes one core for its CPU seconds, and a job with a longer chain of
dependent jobs starts first. Snakemake's own start is added if it was measured. `ratio` is the second build
divided by the first.
"""

from __future__ import annotations

import argparse
import json
import os
import resource
import shutil
import subprocess
import sys
import tempfile
from collections import defaultdict
from collections.abc import Mapping, Sequence
from graphlib import TopologicalSorter
from pathlib import Path
from types import SimpleNamespace
from typing import Any

from vlm4vla.core.cpu_time import read_log
from vlm4vla.report.pages.cost import job_costs, log_of, records
from vlm4vla.workflow.estimate.cluster import Cluster
from vlm4vla.workflow.estimate.schedule import schedule
from vlm4vla.workflow.estimate.work import Work

RECORD = "study_cost.jsonl"  # in the folder of a run: what the kernel measured
COPIED = ("Snakefile", "config.yaml", "rules", "workflow", "envs", "src")
CORES = 8
HERE = Path(__file__).parents[1]
MAIN = "import sys; from vlm4vla.cli import main; sys.exit(main())"  # as the installed command does

# Stands for the command `vlm4vla` of the rules: runs it, and records what the kernel says about it.
MEASURED_JOB = """#!{python} -SEs
import json, os, resource, signal, sys, time

def parents_seconds():
    with open(f"/proc/{{os.getppid()}}/stat") as file:
        words = file.read().rpartition(")")[2].split()
    return (int(words[11]) + int(words[12])) / os.sysconf("SC_CLK_TCK")

snakemakes, begin = parents_seconds(), time.time()
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
    "snakemake_before": snakemakes,
    "status": os.waitstatus_to_exitcode(status),
}}
with open({record!r}, "a") as file:
    file.write(json.dumps(record) + chr(10))
sys.exit(record["status"] if record["status"] >= 0 else 128 - record["status"])
"""
MEASURED_SNAKEMAKE = """
import json, resource, sys, time
from snakemake.cli import main

record, arguments = sys.argv[1], sys.argv[2:]
def add(**values):
    with open(record, "a") as file:
        file.write(json.dumps(values) + chr(10))
add(kind="begin")
begin, status = time.time(), 1
try:
    main(arguments)
except SystemExit as end:
    status = end.code or 0
    raise
finally:
    own, jobs = (resource.getrusage(who) for who in (resource.RUSAGE_SELF, resource.RUSAGE_CHILDREN))
    add(
        kind="snakemake", status=status, wall=time.time() - begin,
        cpu=own.ru_utime + own.ru_stime, processes=jobs.ru_utime + jobs.ru_stime,
    )
"""
# A logger plugin of Snakemake that writes the jobs of a dry run.
PLUGIN = """
import json, os
from snakemake_interface_logger_plugins.base import LogHandlerBase
from snakemake_interface_logger_plugins.common import LogEvent

class LogHandler(LogHandlerBase):
    writes_to_stream = True
    writes_to_file = False
    has_filter = True
    has_formatter = True
    needs_rulegraph = False

    def emit(self, record):
        if getattr(record, "event", None) == LogEvent.JOB_INFO:
            with open("jobs.jsonl", "a") as file:
                paths = {name: list(getattr(record, name) or ()) for name in ("log", "input", "output")}
                file.write(json.dumps(paths) + chr(10))
"""


def python_of(code: Path) -> str:
    """The Python of a checkout's own environment, or else the one that runs this program."""
    own = code / ".venv" / "bin" / "python"
    return str(own.absolute()) if own.exists() else sys.executable


def environment_of(code: Path, **extra: str) -> dict[str, str]:
    """The environment of a process that runs the code of the checkout or copy `code`."""
    return os.environ | {"PYTHONPATH": str((code / "src").absolute()), "OMP_NUM_THREADS": "1"} | extra


# ---- running a build


def run(
    build: Path, folder: Path, scale: str, cores: int, targets: Sequence[str], more: Sequence[Path]
) -> Path:
    """Run the study of the checkout `build` in `folder`, measured, and return its results folder."""
    record, python = folder / RECORD, python_of(build)
    if not record.exists():
        copy(build, folder)
        command = folder / "bin" / "vlm4vla"
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
    if lines[-1].get("status") != 0:
        path = os.pathsep.join((str(folder.absolute() / "bin"), str(Path(python).parent), os.environ["PATH"]))
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
    [results] = {Path(line["log"].partition("/logs/")[0]) for line in jobs_of(read_record(record))}
    return results


def copy(build: Path, folder: Path, names: Sequence[str] = COPIED) -> None:
    """Copy what a study needs from the checkout `build`."""
    for name in names:
        source, target = build / name, folder / name
        if not source.exists():
            sys.exit(f"{build}: no {name}: write the folder of a checkout")
        target.parent.mkdir(parents=True, exist_ok=True)
        if source.is_dir():
            ignored = shutil.ignore_patterns("__pycache__")
            shutil.copytree(source, target, dirs_exist_ok=True, ignore=ignored)
        else:
            shutil.copy2(source, target)


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
    snakemake = snakemakes_cost(lines)
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
        "cpu_seconds": round(total["cpu_seconds"] + (snakemake["cpu_seconds"] if snakemake else 0), 1),
        "measured": "by the kernel" if lines else "by the study, without Snakemake",
    }
    layers = lines[0]["layers"] if lines else [str(results / "config.yaml")]
    graph = read_graph(code, python, layers, lines[0]["targets"] if lines else ["all_tables"])
    return record | {"wall_seconds": wall(graph, times, snakemake)}


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
    spent = []
    for _ in range(3):  # the first may read from disk, or compile
        before = resource.getrusage(resource.RUSAGE_CHILDREN)
        command = [python, "-c", MAIN, "--help"]
        subprocess.run(command, env=environment_of(code), check=True, stdout=subprocess.DEVNULL)
        after = resource.getrusage(resource.RUSAGE_CHILDREN)
        spent.append(after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime)
    return min(spent)


def snakemakes_cost(lines: Sequence[dict[str, Any]]) -> dict[str, Any]:
    """Snakemake's own CPU seconds over all parts of a run; empty if they were not measured.

    `cpu_seconds`: of its process, and of further processes that are not jobs. `start_cpu_seconds`: until it
    starts the first job. `interrupted`: the parts of the run that were killed, whose times are not known.
    """
    runs = [line for line in lines if line["kind"] == "snakemake"]
    if not runs:
        return {}
    jobs = [line for line in lines if line["kind"] == "job"]
    further = sum(line["processes"] for line in runs) - sum(line["cpu"] + line["measuring"] for line in jobs)
    killed = sum(line["kind"] == "begin" for line in lines) - len(runs)
    return {
        "cpu_seconds": sum(line["cpu"] for line in runs) + (max(further, 0.0) if not killed else 0.0),
        "start_cpu_seconds": min((line["snakemake_before"] for line in jobs), default=0.0),
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


def read_graph(
    code: Path, python: str, layers: Sequence[str], targets: Sequence[str]
) -> dict[str, tuple[str, ...]]:
    """The jobs that each job needs, from a dry run by the study's own version, which has no results.

    A job comes after those that it needs. Jobs have the names of their logs.
    """
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        copy(code, folder, [each for each in COPIED if each != "src"])
        plugin = folder / "plugins" / "snakemake_logger_plugin_jobs" / "__init__.py"
        plugin.parent.mkdir(parents=True)
        plugin.write_text(PLUGIN)
        environment = environment_of(code)
        environment["PYTHONPATH"] += os.pathsep + str(plugin.parents[1])
        command = [python, "-m", "snakemake", *targets, "--cores", "1", "--dry-run", "--logger", "jobs"]
        command += ["--configfile", *layers] if layers else []
        done = subprocess.run(command, cwd=folder, env=environment, capture_output=True, text=True)
        if done.returncode:
            sys.exit(
                f"{code}: its version cannot plan this study: write --code\n{done.stderr.strip()[-2000:]}"
            )
        jobs = [json.loads(line) for line in (folder / "jobs.jsonl").read_text().splitlines()]
    named = {job["log"][0].partition("/logs/")[2].removesuffix(".log"): job for job in jobs if job["log"]}
    makers = {path: job for job, files in named.items() for path in files["output"]}
    needs = {job: {makers[path] for path in files["input"] if path in makers} for job, files in named.items()}
    return {job: tuple(sorted(needs[job])) for job in TopologicalSorter(needs).static_order()}


def wall(
    graph: Mapping[str, Sequence[str]], times: Mapping[str, float], snakemake: Mapping[str, float]
) -> dict[str, Any]:
    """The shortest wall time of the jobs of `graph`, with the longest chain."""
    jobs = {job: SimpleNamespace(inputs=inputs) for job, inputs in graph.items()}
    works = {job: Work(times.get(job, 0.0), "measured") for job in jobs}
    start = snakemake.get("start_cpu_seconds", 0.0)
    found = schedule(jobs, works, Cluster(CORES))  # type: ignore[arg-type]
    chain = longest_chain(graph, times)
    return {
        f"{CORES}_cores": round(start + found.wall, 1),
        "any_number_of_cores": round(start + found.critical, 1),
        "snakemakes_start": round(start, 1) if snakemake else None,
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
