"""A version of the code, in a checkout or in a copy: its Python, its environment, and its graph of jobs."""

from __future__ import annotations

import contextlib
import json
import os
import resource
import shlex
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Iterator, Sequence
from graphlib import TopologicalSorter
from pathlib import Path

COPIED = ("Snakefile", "config.yaml", "rules", "workflow", "envs", "src")
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


@contextlib.contextmanager
def children_seconds() -> Iterator[list[float]]:
    """A list that gets the CPU seconds of the processes that this context has started and waited for."""
    before, spent = resource.getrusage(resource.RUSAGE_CHILDREN), []
    yield spent
    after = resource.getrusage(resource.RUSAGE_CHILDREN)
    spent.append(after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime)


def read_commands(code: Path, python: str, layers: Sequence[str]) -> list[list[str]]:
    """The words of each job's command after `vlm4vla`, from a dry run by the study's own version."""
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        copy(code, folder, [each for each in COPIED if each != "src"])
        command = [python, "-m", "snakemake", "all_tables", "--cores", "1", "--dry-run", "--printshellcmds"]
        command += ["--configfile", *layers] if layers else []
        done = subprocess.run(command, cwd=folder, env=environment_of(code), capture_output=True, text=True)
    if done.returncode:
        sys.exit(f"{code}: its version cannot plan this study: {done.stderr.strip()[-2000:]}")
    lines = (done.stdout + done.stderr).splitlines()
    found = [shlex.split(line.split("vlm4vla ", 1)[1]) for line in lines if "exec vlm4vla " in line]
    return [words[: words.index(">")] for words in found]


def read_graph(
    code: Path, python: str, layers: Sequence[str], targets: Sequence[str]
) -> tuple[dict[str, tuple[str, ...]], float]:
    """The jobs that each job needs, from a dry run by the study's own version, and the run's CPU seconds.

    A job comes after those that it needs. Jobs have the names of their logs. The dry run has no results.
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
        with children_seconds() as spent:
            done = subprocess.run(command, cwd=folder, env=environment, capture_output=True, text=True)
        if done.returncode:
            sys.exit(
                f"{code}: its version cannot plan this study: write --code\n{done.stderr.strip()[-2000:]}"
            )
        jobs = [json.loads(line) for line in (folder / "jobs.jsonl").read_text().splitlines()]
    named = {job["log"][0].partition("/logs/")[2].removesuffix(".log"): job for job in jobs if job["log"]}
    makers = {path: job for job, files in named.items() for path in files["output"]}
    needs = {job: {makers[path] for path in files["input"] if path in makers} for job, files in named.items()}
    ordered = TopologicalSorter(needs).static_order()
    return {job: tuple(sorted(needs[job])) for job in ordered}, spent[0]
