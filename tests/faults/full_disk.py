"""Run each stage on a disk that becomes full, or that has no inode left, at several points of its work.

    .venv/bin/python tests/faults/full_disk.py --folder /tmp/disk

The program makes a reduced smoke study in FOLDER/reference, or takes a finished one (--study, a folder with
Snakefile and results/, such as `reference` of kill_study.py). For each command of the workflow it takes one
job. The job's output goes to a small tmpfs (`size=` or `nr_inodes=`): into an empty folder, and over a
finished output. The job must end with a status other than 0 and one line that names a path and the cause,
without a traceback. What stood must still stand, byte for byte, and nothing half done may have its final
name. When the disk gets more room, the same command must succeed, with the bytes that it writes on a large
disk.

The program needs the right to mount (root); without it, it says so and does nothing. It prints a table of
stages and faults, and exits with status 1 if anything was wrong. It goes on where it was interrupted: give
the same FOLDER again. On one free core it takes about 25 minutes.
"""

from __future__ import annotations

import argparse
import contextlib
import json
import os
import re
import shutil
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from dataclasses import asdict, dataclass, field
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parents[1] / "support"))
import fault_study
from fault_study import Project

# The share of what a job needs at most that the disk has. Over a finished output only the last one is tried.
POINTS = (0.02, 0.6)
LARGE = {"size": "800m", "nr_inodes": "100000"}
PAGE = 4096  # bytes of a block of a tmpfs
# Of a write that failed, or of a check before the work.
CAUSE = re.compile("No space left on device|has .* free: free some space")
UNFINISHED = ("checkpoints", "shards", "videos", "rows", "pictures")  # a stage goes on from these
UNFINISHED_FILES = ("train.jsonl", "begun.json", "progress.json")


class NoMount(Exception):
    """This process may not mount."""


@dataclass
class Disk:
    """A tmpfs at `folder`."""

    folder: Path

    def limit(self, **options: str) -> None:
        """Change the size or the number of inodes."""
        words = ",".join(f"{key}={value}" for key, value in (LARGE | options).items())
        self._mount("-o", f"remount,{words}", str(self.folder))

    def used(self) -> dict[str, int]:
        """Bytes and inodes in use."""
        state = os.statvfs(self.folder)
        return {
            "size": (state.f_blocks - state.f_bfree) * state.f_frsize,
            "nr_inodes": state.f_files - state.f_ffree,
        }

    @staticmethod
    def _mount(*words: str) -> None:
        done = subprocess.run(["mount", *words], capture_output=True, text=True)
        if done.returncode:
            raise NoMount(done.stderr.strip())


@contextlib.contextmanager
def mounted(folder: Path) -> Iterator[Disk]:
    """A large, empty tmpfs. Raises NoMount."""
    folder.mkdir(parents=True, exist_ok=True)
    if os.path.ismount(folder):  # of a program that was killed
        subprocess.run(["umount", "--lazy", str(folder)], check=False)
    words = ",".join(f"{key}={value}" for key, value in LARGE.items())
    Disk._mount("-t", "tmpfs", "-o", words, "vlm4vla-faults", str(folder))
    try:
        yield Disk(folder)
    finally:
        subprocess.run(["umount", "--lazy", str(folder)], check=False)


@dataclass
class Job:
    """One job of the study, with its output moved to a disk of its own."""

    stage: str
    words: list[str]
    project: Project

    @property
    def at(self) -> int:
        return self.words.index("--output") + 1

    def with_settings(self, **changed: object) -> Job:
        """The same job with other values in the evaluation of its settings."""
        words, at = list(self.words), self.words.index("--settings") + 1
        settings = json.loads(words[at])
        settings["evaluation"] |= changed
        words[at] = json.dumps(settings)
        return Job(self.stage, words, self.project)

    def output(self, disk: Disk) -> Path:
        return disk.folder / "out" / Path(self.words[self.at]).name

    def run(self, disk: Disk) -> subprocess.CompletedProcess:
        words = [sys.executable, "-m", "vlm4vla", *self.words[1:]]
        words[self.at + 2] = str(self.output(disk))
        return subprocess.run(
            words,
            cwd=self.project.folder,
            env=fault_study.environment(self.project.folder),
            capture_output=True,
            text=True,
        )


@dataclass
class Outcome:
    """What one fault at one point led to; `faults` is empty if all was well."""

    stage: str
    kind: str
    before: str
    point: float
    hit: bool = True  # the job met the limit
    faults: list[str] = field(default_factory=list)


def visible(folder: Path) -> dict[str, str]:
    """Each file of a folder with its hash, without hidden files and folders."""
    found = {}
    for path in sorted(folder.rglob("*")):
        parts = path.relative_to(folder).parts
        if path.is_file() and not any(part.startswith(".") for part in parts):
            found["/".join(parts)] = fault_study.digest(path)
    return found


def whole(folder: Path) -> dict[str, bytes]:
    """Each visible file with what two runs have in common."""
    return {name: fault_study.comparable(folder / name) for name in visible(folder)}


def is_part(name: str) -> bool:
    """Whether a stage goes on from this file, so that it may be unfinished."""
    path = Path(name)
    return path.name in UNFINISHED_FILES or any(part in UNFINISHED for part in path.parts)


class Trial:
    """The faults of one job.

    `reference`: the bytes that it writes on a large disk. `stood`: a copy of a finished output. `needs`: the
    most bytes and inodes that the job has used, into an empty folder and over the finished output.
    """

    def __init__(self, job: Job, disk: Disk, folder: Path):
        (disk.folder / "filler").write_bytes(bytes(PAGE))  # a tmpfs of `size=0` has no bound
        self.job, self.disk, self.empty = job, disk, disk.used()
        self.out = disk.folder / "out"
        self.stood = folder / "stood"
        self.needs: dict[str, dict[str, int]] = {}
        before = job.with_settings(seed=1) if job.stage == "rollout" else job  # else it keeps its shards
        shutil.rmtree(self.stood, ignore_errors=True)
        for made in (before, job):
            self.clear()
            done, self.needs["nothing"] = self.measured(made)
            if done.returncode:
                raise SystemExit(f"{job.stage} fails on a large disk:\n{done.stderr[-3000:]}")
            if made is before:
                shutil.copytree(self.out, self.stood)
            if before is job:
                break
        self.reference = whole(self.out)
        self.put_finished()
        _, self.needs["finished"] = self.measured(job)

    def clear(self) -> None:
        """Empty the disk. A process of the last job that still ends keeps the room of its open files."""
        shutil.rmtree(self.out, ignore_errors=True)
        last = time.monotonic() + 30
        while self.disk.used() != self.empty and time.monotonic() < last:
            time.sleep(0.05)

    def put_finished(self) -> None:
        self.clear()
        shutil.copytree(self.stood, self.out)

    def measured(self, job: Job) -> tuple[subprocess.CompletedProcess, dict[str, int]]:
        """Run a job on the large disk. Returns the most that it used, too."""
        before, most, ended = self.disk.used(), {}, threading.Event()

        def watch() -> None:
            while not ended.wait(0.01):
                for key, value in self.disk.used().items():
                    most[key] = max(most.get(key, 0), value - before[key])

        watcher = threading.Thread(target=watch)
        watcher.start()
        done = job.run(self.disk)
        ended.set()
        watcher.join()
        return done, most

    def run(self, kind: str, before: str, point: float) -> Outcome:
        """Run the job with `point` of the room that it needs, and then with enough."""
        outcome = Outcome(self.job.stage, kind, before, point)
        self.clear() if before == "nothing" else self.put_finished()
        stood = visible(self.out) if self.out.exists() else {}
        unit = 1 if kind == "nr_inodes" else PAGE
        more = int(self.needs[before].get(kind, 0) * point) // unit * unit
        self.disk.limit(**{kind: str(self.disk.used()[kind] + more)})
        done = self.job.run(self.disk)
        after = visible(self.out) if self.out.exists() else {}
        outcome.hit = done.returncode != 0
        if outcome.hit:
            outcome.faults += self.message_faults(done)
            outcome.faults += self.file_faults(stood, after)
        self.disk.limit()
        again = self.job.run(self.disk)
        if again.returncode:
            outcome.faults.append(f"with room it fails: {again.stderr.strip()[-300:]}")
            return outcome
        made = whole(self.out)
        for name in sorted(made.keys() | self.reference.keys()):
            if made.get(name) != self.reference.get(name):
                outcome.faults.append(f"{name}: other bytes than on a large disk")
        outcome.faults += [f"left over: {name}" for name in fault_study.hidden(self.out)]
        return outcome

    def message_faults(self, done: subprocess.CompletedProcess) -> Iterator[str]:
        lines = [line for line in done.stderr.splitlines() if line.startswith("error: ")]
        last = (done.stderr.strip().splitlines() or ["no message"])[-1]
        if done.returncode < 0:
            yield f"ended by signal {-done.returncode}"
        elif "Traceback" in done.stderr + done.stdout:
            yield f"a traceback: {last}"
        elif len(lines) != 1 or str(self.disk.folder) not in lines[0] or not CAUSE.search(lines[0]):
            yield f"no line with path and cause: {last}"

    def file_faults(self, stood: dict[str, str], after: dict[str, str]) -> Iterator[str]:
        for name, digest in stood.items():
            if after.get(name) != digest:
                yield f"{name}: stood, and is {'changed' if name in after else 'gone'}"
        for name in sorted(after.keys() - stood.keys()):
            if Path(name).name in ("provenance.json", "episodes.parquet"):
                yield f"{name}: there, though the job failed"
            elif not is_part(name) and fault_study.comparable(self.out / name) != self.reference.get(name):
                yield f"{name}: half of it has its final name"


def jobs_of(project: Project) -> list[Job]:
    """One job for each command of the workflow, and for commands that write large files."""
    wanted = (
        *project.targets,
        "results/smoke/auxiliary_data/fast/provenance.json",
        "results/smoke/cells/kosmos-2/none/full/bridge.md",
        "results/smoke/config.yaml",
    )
    found: dict[str, list[str]] = {}
    for words in Project(project.folder, project.layers, wanted).jobs():
        if words[1] not in found or "--vla" in words:
            found[words[1]] = words
    study = "results/smoke"
    analyses = sorted(str(path) for path in (project.folder / study / "analysis").glob("*.json"))
    analyses = [str(Path(path).relative_to(project.folder)) for path in analyses]
    found["summary"] = ["vlm4vla", "summary", "--analysis", *analyses, "--output", study]
    dataset = {
        "benchmark": "bridge",
        "demonstrations": {"dataset": f"{study}/demonstrations/bridge"},
        "image_size": 64,
        "max_steps": None,
    }
    found["demonstrations, dataset"] = [
        *("vlm4vla", "demonstrations", "--settings", json.dumps(dataset)),
        *("--output", f"{study}/demonstrations/indexed"),
    ]
    published = "workflow/published/others/openvla_libero.csv"
    found["judge"] = ["vlm4vla", "judge", published, "--output", "judged"]
    found["compare"] = ["vlm4vla", "compare", study, study, "--output", "compared.md"]
    layers = ["config.yaml", *project.layers]
    found["pack"] = ["vlm4vla", "pack", study, "--config", *layers, "--weights", "--output", "study.zip"]
    return [Job(stage, words, project) for stage, words in found.items()]


def report(outcomes: list[Outcome]) -> int:
    """Print the counts, stage by fault, and every fault. Returns the exit status."""
    kinds = [(kind, before) for kind in ("size", "nr_inodes") for before in ("nothing", "finished")]
    names = {"size": "full", "nr_inodes": "no inodes", "nothing": "empty", "finished": "over finished"}
    titles = [f"{names[kind]}, {names[before]}" for kind, before in kinds]
    print(f"\n{'stage':<26}" + "".join(f"{title:>26}" for title in titles))
    for stage in dict.fromkeys(each.stage for each in outcomes):
        cells = []
        for kind, before in kinds:
            own = [o for o in outcomes if (o.stage, o.kind, o.before) == (stage, kind, before)]
            good = sum(not o.faults for o in own)
            missed = sum(not o.hit for o in own)
            cells.append(f"{good} of {len(own)} right" + (f" ({missed} had room)" if missed else ""))
        print(f"{stage:<26}" + "".join(f"{cell:>26}" for cell in cells))
    bad = [each for each in outcomes if each.faults]
    hit = sum(each.hit for each in outcomes)
    print(f"\n{len(outcomes)} trials, {hit} met the limit, {len(bad)} with faults")
    for each in bad:
        for line in each.faults:
            print(f"  {each.stage}, {each.kind} at {each.point:.0%}, {each.before} before: {line}")
    return 1 if bad or not hit else 0


def main() -> int:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--folder", type=Path, required=True, help="for the reference and the disk")
    parser.add_argument("--study", type=Path, help="a finished study: a folder with Snakefile and results/")
    parser.add_argument("--stages", nargs="+", help="only these stages")
    parser.add_argument("--points", type=float, nargs="+", default=POINTS)
    arguments = parser.parse_args()
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(143))  # so that the disk is unmounted
    folder = arguments.folder.resolve()
    folder.mkdir(parents=True, exist_ok=True)
    try:
        with mounted(folder / "disk"):
            pass
    except NoMount as error:
        print(f"skipped: this user may not mount a tmpfs ({error})")
        return 0
    if arguments.study:
        project = fault_study.lay_out(folder / "study", reduced=True)
        link = project.results
        link.unlink(missing_ok=True)
        link.symlink_to((arguments.study / "results").resolve())
    else:
        project = fault_study.lay_out(folder / "reference", reduced=True)
        done = fault_study.run(project, os.cpu_count() or 1)
        if done.returncode:
            raise SystemExit(f"the reference study failed:\n{done.stderr[-3000:]}")
    record = folder / "outcomes.json"
    outcomes = [Outcome(**each) for each in json.loads(record.read_text())] if record.exists() else []
    for job in jobs_of(project):
        if (arguments.stages and job.stage not in arguments.stages) or any(
            each.stage == job.stage for each in outcomes
        ):
            continue
        began, own = time.monotonic(), []
        with mounted(folder / "disk") as disk:
            trial = Trial(job, disk, folder)
            for kind in ("size", "nr_inodes"):
                tried = [("nothing", point) for point in arguments.points]
                for before, point in (*tried, ("finished", arguments.points[-1])):
                    own.append(trial.run(kind, before, point))
        outcomes += own
        record.write_text(json.dumps([asdict(each) for each in outcomes], indent=1))
        bad = sum(bool(each.faults) for each in own)
        print(
            f"{job.stage}: {len(own)} trials, {bad} with faults, {time.monotonic() - began:.0f} s", flush=True
        )
    return report(outcomes)


if __name__ == "__main__":
    sys.exit(main())
