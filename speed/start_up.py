"""CPU seconds that a job needs to start and to end, for one or two versions of the code.

    python speed/start_up.py results/smoke CHECKOUT [CHECKOUT] [--repeats 3] [--stages vla rollout ...]

`results/smoke`: a finished smoke study, which gives each stage its inputs and settings. The program runs the
first job of each stage with as little work as its settings allow: one update, one step of one episode, one
question of one set. So the CPU time of the whole job is what every job pays before and after its work:
Python, imports, the hashes of inputs, loading the backbone, the simulator, and writing the result.

The versions take turns, and each figure is the smallest of all repeats. `cold`: the job starts by itself.
`warm`: it starts in a child of a run's worker, if the version has one. Its time is that of the child, of its
client, and of what the worker spends on it. `worker` is the worker's own start, once in a run. `ratio` is the
first version's cold start divided by the best start of the last one.
"""

from __future__ import annotations

import argparse
import copy
import json
import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any, NamedTuple

from builds import children_seconds, environment_of, python_of

MAIN = "import sys; from vlm4vla.cli import main; sys.exit(main())"  # as the installed command does
WORKER = "src/vlm4vla/workflow/warm_start/worker.py"
INPUTS = {
    "backbone": ("questions",),
    "auxiliary": ("backbone", "data"),
    "capability": ("backbone", "questions"),
    "vla": ("backbone", "demonstrations"),
    "rollout": ("vla",),
}
RECORDS = {
    "backbone": "backbones/*/provenance.json",
    "auxiliary": "auxiliary/*/*/provenance.json",
    "capability": "capability/*/*.json",
    "vla": "vla/**/provenance.json",
    "rollout": "rollouts/**/provenance.json",
}
GENERATION = "omni-generation"  # its decoder draws images for the score, whatever the settings are
_CLOCK = os.sysconf("SC_CLK_TCK")


class JobOfStage(NamedTuple):
    """A job: the stage, its settings, and the folders of its inputs by option."""

    stage: str
    settings: dict[str, Any]
    inputs: dict[str, Path]

    def arguments(self, output: Path) -> list[str]:
        words = [self.stage, "--settings", json.dumps(self.settings)]
        for name, folder in self.inputs.items():
            words += [f"--{name}", str(folder)]
        return [*words, "--output", str(output)]


def least_work(stage: str, settings: dict[str, Any]) -> dict[str, Any]:
    """`settings` with the least work that the stage accepts."""
    found = copy.deepcopy(settings)
    update = {"steps": 1, "batch": 1, "checkpoint_every": 1, "log_every": 1}
    if stage == "backbone":
        found["alignment"] = None
        found["recipe"]["training"] |= update
    elif stage in ("auxiliary", "vla"):
        found["training"] |= update
    elif stage == "capability":
        found["capability"] |= {"questions_per_set": 1, "sets": found["capability"]["sets"][:1]}
    else:
        found["evaluation"] |= {"episodes": 1, "max_steps": 1, "videos": 0}
    if stage == "auxiliary":
        found["questions"] = 1
    return found


def first_job(study: Path, stage: str) -> JobOfStage:
    """The first job of a stage in a finished study."""
    for path in sorted(study.glob(RECORDS[stage])):
        record = json.loads(path.read_text())
        record = record.get("provenance", record)
        if record.get("stage") != stage or not set(INPUTS[stage]) <= record["inputs"].keys():
            continue  # a reference policy has no VLA
        if record["settings"].get("task") == GENERATION:
            continue
        inputs = {name: _in_study(study, record["inputs"][name]["path"]) for name in INPUTS[stage]}
        return JobOfStage(stage, least_work(stage, record["settings"]), inputs)
    sys.exit(f"{study}: no finished job of the stage {stage}: run `make all_tables SCALE=smoke`")


def _in_study(study: Path, recorded: str) -> Path:
    """The folder of a recorded input, also if the study has been moved."""
    parts = Path(recorded).parts
    for first in range(len(parts)):
        if (study / Path(*parts[first:])).is_file():
            return (study / Path(*parts[first:])).parent
    sys.exit(f"{study}: {recorded} is missing: copy the whole study")


def cold(code: Path, job: JobOfStage, output: Path) -> float:
    """CPU seconds of the job in a process of its own."""
    with children_seconds() as spent:
        _check(
            subprocess.run(
                [python_of(code), "-c", MAIN, *job.arguments(output)],
                env=environment_of(code),
                capture_output=True,
                text=True,
            )
        )
    return spent[0]


def _check(done: subprocess.CompletedProcess[str]) -> None:
    if done.returncode:
        sys.exit(f"the job failed:\n{done.stdout}\n{done.stderr}")


@contextmanager
def worker(code: Path) -> Iterator[tuple[Callable[[JobOfStage, Path], float], float]]:
    """The function that runs a job in a child of a worker, and the CPU seconds of the worker's own start."""
    with tempfile.TemporaryDirectory() as name:
        service = Path(name) / "service"
        service.mkdir()
        process = subprocess.Popen(
            [python_of(code), "-m", "vlm4vla.workflow.warm_start.worker", str(service)],
            env=environment_of(code),
            stdin=subprocess.PIPE,
        )
        assert process.stdin is not None
        while not (service / "socket").exists():
            if process.poll() is not None:
                sys.exit(f"{code}: the worker has ended")
            time.sleep(0.05)
        client = code / WORKER.replace("worker.py", "client.py")

        def warm(job: JobOfStage, output: Path) -> float:
            before, jobs_before = _ticks(process.pid)
            words = [python_of(code), "-I", "-S", str(client), str(service), *job.arguments(output)]
            with children_seconds() as spent:
                _check(subprocess.run(words, env=environment_of(code), capture_output=True, text=True))
            after, jobs_after = _ticks(process.pid)
            if jobs_after == jobs_before:
                sys.exit(f"{code}: the worker has refused the job")
            return spent[0] + after - before + jobs_after - jobs_before

        yield warm, sum(_ticks(process.pid))
        process.stdin.close()
        process.wait()


def _ticks(pid: int) -> tuple[float, float]:
    """CPU seconds of a running process, and of its children that have ended."""
    values = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    own, childrens = values[11:13], values[13:15]
    return sum(map(int, own)) / _CLOCK, sum(map(int, childrens)) / _CLOCK


def measure(study: Path, builds: Sequence[Path], stages: Sequence[str], repeats: int) -> dict[str, Any]:
    """The smallest CPU seconds of each stage's start in each version."""
    jobs = {stage: first_job(study, stage) for stage in stages}
    found: dict[str, Any] = {str(code): {"worker": None, "stages": {}} for code in builds}

    def note(code: Path, stage: str, way: str, seconds: float) -> None:
        best = found[str(code)]["stages"].setdefault(stage, {})
        best[way] = round(min(seconds, best.get(way, seconds)), 2)

    with tempfile.TemporaryDirectory() as name:
        numbers = iter(range(10**6))
        for _ in range(repeats):
            for stage, job in jobs.items():
                for code in builds:
                    suffix = ".json" if stage == "capability" else ""
                    note(code, stage, "cold", cold(code, job, Path(name) / f"{next(numbers)}{suffix}"))
        for code in builds:
            if not (code / WORKER).exists():
                continue
            with worker(code) as (warm, own):
                found[str(code)]["worker"] = round(own, 2)
                for _ in range(repeats):
                    for stage, job in jobs.items():
                        suffix = ".json" if stage == "capability" else ""
                        note(code, stage, "warm", warm(job, Path(name) / f"{next(numbers)}{suffix}"))
    if len(builds) > 1:
        first, last = (found[str(code)]["stages"] for code in (builds[0], builds[-1]))
        found["ratio"] = {
            stage: round(first[stage]["cold"] / min(last[stage].values()), 2) for stage in stages
        }
    return found


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("study", type=Path, help="folder of a finished smoke study")
    parser.add_argument("builds", type=Path, nargs="+", metavar="CHECKOUT", help="folders of the versions")
    parser.add_argument("--repeats", type=int, default=3, help="runs of each job (default: %(default)s)")
    parser.add_argument("--stages", nargs="+", choices=RECORDS, default=list(RECORDS), metavar="STAGE")
    arguments = parser.parse_args()
    builds = [build.absolute() for build in arguments.builds]
    os.environ.pop("PYTHONDONTWRITEBYTECODE", None)  # the first repeat writes the byte code
    print(json.dumps(measure(arguments.study, builds, arguments.stages, arguments.repeats), indent=2))


if __name__ == "__main__":
    main()
