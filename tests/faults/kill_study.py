"""Kill a study with SIGKILL at random moments, again and again, and compare it with one that was left alone.

    .venv/bin/python tests/faults/kill_study.py --folder /tmp/kills --kills 40 --seed 0 --cores 2

The program makes a reference study in FOLDER/reference, or takes a finished one (--study, a folder with
config.yaml and results/). Then it runs the same study in FOLDER/clone. At random moments it kills everything,
Snakemake alone, one job alone, or the process group, and starts Snakemake again. When the study is finished
and kills are left, it makes parts of it again, so that finished results are at stake, and goes on killing.

After each kill, every output that was finished before must still be there, with the same bytes: so no
finished job has run again. No file that a provenance record lists may be hidden, missing or changed. At the
end all files are compared. The program prints the counts and exits with status 1 if anything was lost. It
goes on where it was interrupted: give the same FOLDER again.

With --reduced the study has one backbone and one benchmark (17 jobs instead of 95). On two free cores, expect
half an hour for the smoke study with 40 kills, and 10 minutes for the reduced one with 14.
"""

from __future__ import annotations

import argparse
import json
import os
import random
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path

import psutil

sys.path.insert(0, str(Path(__file__).parents[1] / "support"))
import fault_study
from fault_study import Project

KINDS = ("everything", "snakemake", "job", "process group")
# Rules that are made again when the study is finished: each takes seconds, and others depend on some.
AGAIN = ("demonstrations", "capability", "rollout", "vla", "table_main", "films", "published")
PATIENCE_S = 3600.0  # the longest time that a run may take


@dataclass
class State:
    """What a program that is interrupted goes on from."""

    seed: int
    need_s: float = 0.0  # seconds that the study takes without a kill
    kills: list[dict] = field(default_factory=list)
    runs: int = 0
    finished_once: bool = False  # all outputs were there: from now on, parts are made again
    standing: dict[str, str] = field(default_factory=dict)
    faults: list[str] = field(default_factory=list)


class Run:
    """One run of Snakemake, in a process group of its own. `text`: what it has printed so far."""

    def __init__(self, project: Project, log: Path, cores: int, *forced: str):
        log.parent.mkdir(parents=True, exist_ok=True)
        self.log, self.forced = log, forced
        self.began = time.monotonic()
        words = ["--cores", str(cores), *(("--forcerun", *forced) if forced else ())]
        with log.open("w") as file:
            self.process = subprocess.Popen(
                project.command(*words),
                cwd=project.folder,
                env=fault_study.environment(project.folder),
                stdin=subprocess.DEVNULL,
                stdout=file,
                stderr=subprocess.STDOUT,
                start_new_session=True,
            )
        self.hurt = False  # one of its jobs was killed

    @property
    def text(self) -> str:
        return self.log.read_text(errors="replace")

    @property
    def ended(self) -> bool:
        return self.process.poll() is not None

    def jobs(self) -> list[psutil.Process]:
        """Its processes, without Snakemake itself."""
        try:
            return psutil.Process(self.process.pid).children(recursive=True)
        except psutil.NoSuchProcess:
            return []

    def kill(self, kind: str, choose: random.Random) -> str:
        """Kill what `kind` says, and return what was killed in words."""
        jobs = self.jobs()
        words = ", ".join(sorted({_stage(job) for job in jobs} - {""})) or "no job"
        if kind == "job":
            stages = [job for job in jobs if _stage(job)]
            if not stages:
                return ""
            victim = choose.choice(stages)
            words = _stage(victim)
            _end(victim)
            self.hurt = True
            return words
        if kind == "process group":
            os.killpg(self.process.pid, signal.SIGKILL)
        else:
            self.process.kill()
        if kind != "snakemake":
            for job in jobs:
                _end(job)
        self.process.wait()
        return words


def _stage(process: psutil.Process) -> str:
    """The stage that a process runs; empty if it is a shell or has ended."""
    try:
        words = process.cmdline()
    except psutil.Error:
        return ""
    for number, word in enumerate(words[:4]):
        is_client = Path(word).parts[-2:] == ("warm_start", "client.py")  # of a job that starts warm
        if Path(word).name == "vlm4vla" or is_client:
            return next(iter(words[number + (2 if is_client else 1) :]), "")
    return ""


def _end(process: psutil.Process) -> None:
    try:
        process.kill()
    except psutil.NoSuchProcess:
        return


class Trial:
    """The study that is killed, and what is found out about it.

    `again`: the rules that are made again when the study is finished and kills are left.
    """

    def __init__(
        self,
        clone: Project,
        reference: Project,
        folder: Path,
        state: State,
        *,
        kills: int,
        cores: int,
        again: Sequence[str] = AGAIN,
    ):
        self.clone, self.reference, self.folder, self.state = clone, reference, folder, state
        self.kills, self.cores, self.again = kills, cores, again

    def save(self) -> None:
        path = self.folder / "state.json"
        temporary = path.with_suffix(".new")
        temporary.write_text(json.dumps(asdict(self.state), indent=1))
        temporary.replace(path)

    def go(self) -> None:
        run = None
        try:
            while len(self.state.kills) < self.kills or run is not None:
                run = self.step(run)
        finally:
            if run is not None and not run.ended:  # this program was interrupted
                run.kill("everything", random.Random(0))
        self.last_run()

    def step(self, run: Run | None) -> Run | None:
        """Wait for the moment of the next kill, or for the end of the run. Returns the run if it goes on."""
        left = self.kills - len(self.state.kills)
        choose = random.Random(f"{self.state.seed}/{len(self.state.kills)}/{self.state.runs}")
        run = run or self.start(choose)
        self.wait(run, self.moment(run, choose) if left > 0 else PATIENCE_S)
        if run.ended:
            self.ended(run)
            return None
        if left > 0:
            return self.kill(run, choose)
        self.fault(f"run {self.state.runs} takes more than {PATIENCE_S:.0f} s")
        run.kill("everything", choose)
        return None

    def start(self, choose: random.Random) -> Run:
        forced = choose.sample(self.again, 2) if self.state.finished_once else []
        if forced:
            self.state.standing = {}  # these jobs and those that depend on them run again, as they should
        self.state.runs += 1
        self.save()
        return Run(self.clone, self.folder / "runs" / f"{self.state.runs:03d}.txt", self.cores, *forced)

    def moment(self, run: Run, choose: random.Random) -> float:
        """Seconds until the next kill, from now or, mostly, from the start of the run's first job."""
        mean = self.state.need_s / self.kills
        if choose.random() < 0.1:
            return choose.uniform(0, 10)  # also while Snakemake plans
        limit = time.monotonic() + PATIENCE_S
        while not run.ended and "] start " not in run.text and time.monotonic() < limit:
            time.sleep(0.1)
        return choose.uniform(0, 2 * max(mean, 4.0))

    def wait(self, run: Run, seconds: float) -> None:
        until = time.monotonic() + seconds
        while time.monotonic() < until and not run.ended:
            time.sleep(min(0.2, max(0.0, until - time.monotonic())))

    def kill(self, run: Run, choose: random.Random) -> Run | None:
        """Kill, record it, and check what stands. Returns the run if it goes on."""
        kind = choose.choice(KINDS)
        after = time.monotonic() - run.began
        killed = run.kill(kind, choose)
        if not killed:
            return run
        standing = self.check()
        entry = {"kind": kind, "running": killed, "run": self.state.runs, "after_s": round(after, 1)}
        self.state.kills.append(entry | {"finished": len(standing), "again": list(run.forced)})
        print(
            f"kill {len(self.state.kills):2d} of {self.kills}: {kind} after {after:.1f} s ({killed}); "
            f"{len(standing)} outputs stand",
            flush=True,
        )
        self.save()
        return run if kind == "job" else None

    def check(self) -> dict[str, str]:
        """Compare what stands with what stood before. Returns it."""
        standing = fault_study.standing(self.clone.results)
        if not self.state.finished_once:
            for name, before in self.state.standing.items():
                if name not in standing:
                    self.fault(f"{name}: was finished, and is gone")
                elif standing[name] != before:
                    self.fault(f"{name}: was finished, and its job ran again")
            self.state.standing = standing
            for line in fault_study.damaged(self.clone.results):
                self.fault(line)
        else:
            # All of a finished study stands, be it the old or the new.
            for name in fault_study.standing(self.reference.results):
                if name not in standing and not self.in_replacement(name):
                    self.fault(f"{name}: stood, and is gone")
        return standing

    def in_replacement(self, name: str) -> bool:
        """Whether a finished successor of the folder of `name` is being put in place."""
        folder = (self.clone.results / name).parent
        return any((folder / each).exists() for each in (".whole", ".next"))

    def fault(self, line: str) -> None:
        self.state.faults.append(f"after kill {len(self.state.kills)}: {line}")
        print(f"FAULT {self.state.faults[-1]}", flush=True)

    def ended(self, run: Run) -> None:
        """A run has ended by itself: with all outputs, or because one of its jobs was killed."""
        status = run.process.returncode
        self.check()
        if status == 0:
            self.state.finished_once = True
        elif not run.hurt:
            lines = [line for line in run.text.splitlines() if line.strip()]
            self.fault(f"run {self.state.runs} failed by itself ({run.log}): {(lines or ['?'])[-1]}")
            raise SystemExit(self.report())
        self.save()

    def last_run(self) -> None:
        """Finish the study, and compare all bytes."""
        while True:
            self.state.runs += 1
            run = Run(self.clone, self.folder / "runs" / f"{self.state.runs:03d}.txt", self.cores)
            self.wait(run, PATIENCE_S)
            if not run.ended or run.process.returncode:
                self.fault(f"the last run did not finish the study ({run.log})")
                break
            if "Nothing to be done" in run.text:
                break
        for line in fault_study.damaged(self.clone.results):
            self.fault(f"at the end: {line}")
        for line in fault_study.hidden(self.clone.results):
            self.fault(f"at the end: left over: {line}")
        for line in fault_study.differences(self.reference.results, self.clone.results):
            self.fault(f"at the end: {line}")
        self.save()

    def report(self) -> int:
        state = self.state
        counts = {kind: sum(kill["kind"] == kind for kill in state.kills) for kind in KINDS}
        compared = len(fault_study.files(self.reference.results))
        print(f"\n{len(state.kills)} kills ({', '.join(f'{n} of {kind}' for kind, n in counts.items())})")
        print(
            f"{state.runs} runs; {sum(bool(kill['again']) for kill in state.kills)} kills of jobs made again"
        )
        again = [line for line in state.faults if "ran again" in line]
        print(f"finished jobs that ran again: {len(again)}")
        gone = [line for line in state.faults if "is gone" in line]
        print(f"finished outputs that were lost: {len(gone)}")
        print(f"{compared} files compared with the reference; these may differ:")
        for line in fault_study.MAY_DIFFER:
            print(f"  {line}")
        print(f"faults: {len(state.faults)}")
        for line in state.faults:
            print(f"  {line}")
        return 1 if state.faults else 0


def reference_study(arguments: argparse.Namespace, state: State) -> Project:
    """The study that nobody kills, finished."""
    if arguments.study is not None:
        layers, targets = (fault_study.LAYER,), fault_study.ALL
        if arguments.reduced:
            layers, targets = (*layers, "reduced.yaml"), fault_study.REDUCED_TARGETS
        project = Project(arguments.study.resolve(), layers, targets)
    else:
        project = fault_study.lay_out(arguments.folder / "reference", arguments.reduced)
        if not (arguments.folder / "reference.done").exists():
            began = time.monotonic()
            done = fault_study.run(project, arguments.cores)
            if done.returncode:
                raise SystemExit(f"the reference study failed:\n{done.stderr[-3000:]}")
            (arguments.folder / "reference.done").write_text(str(time.monotonic() - began))
    state.need_s = fault_study.seconds_of(project.results) / arguments.cores
    print(f"reference: {project.results}; its jobs take {state.need_s:.0f} s on {arguments.cores} cores")
    return project


def parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument(
        "--folder", type=Path, required=True, help="for the clone, the reference and the state"
    )
    parser.add_argument("--study", type=Path, help="a finished study: a folder with results/")
    parser.add_argument("--kills", type=int, default=40)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--cores", type=int, default=os.cpu_count())
    parser.add_argument("--reduced", action="store_true", help="one backbone, one benchmark")
    return parser


def end_left_over(folder: Path) -> None:
    """End the processes of a run in the clone whose program was killed itself."""
    for process in psutil.process_iter():
        try:
            if process.cwd() == str(folder):
                process.kill()
        except psutil.Error:
            continue


def main() -> int:
    arguments = parser().parse_args()
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(143))  # so that the run is ended, too
    arguments.folder = arguments.folder.resolve()
    arguments.folder.mkdir(parents=True, exist_ok=True)
    path = arguments.folder / "state.json"
    state = State(arguments.seed)
    if path.exists():
        state = State(**json.loads(path.read_text()))
        print(f"goes on after {len(state.kills)} kills")
    else:
        shutil.rmtree(arguments.folder / "clone", ignore_errors=True)
    reference = reference_study(arguments, state)
    end_left_over(arguments.folder / "clone")
    clone = fault_study.lay_out(arguments.folder / "clone", arguments.reduced)
    if (reference.folder / "src").exists() and not state.runs:  # the same version of the package
        shutil.rmtree(clone.folder / "src")
        shutil.copytree(reference.folder / "src", clone.folder / "src")
    trial = Trial(clone, reference, arguments.folder, state, kills=arguments.kills, cores=arguments.cores)
    trial.go()
    return trial.report()


if __name__ == "__main__":
    sys.exit(main())
