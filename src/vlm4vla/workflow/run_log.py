"""The log of a run: one line when a job starts or ends, with the progress and the remaining time."""

from __future__ import annotations

import time
from collections import Counter
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path

from vlm4vla.core.disk import is_full
from vlm4vla.core.progress import duration

# The jobs of the run in this process by Snakemake's job id: the rule, and the expected seconds, or None if
# they are unknown. `vlm4vla.workflow.estimate.expected_times` fills this dictionary, because Snakemake's
# logger has no access to the study.
EXPECTED: dict[int, tuple[str, float | None]] = {}
# The seconds of a job with unknown expected time, by its rule. They hold for the embedded scale.
DEFAULT_SECONDS = {
    "questions": 60,
    "backbone": 200,
    "capability": 20,
    "demonstrations": 60,
    "vla": 100,
    "rollout": 40,
}
OTHER_RULES_SECONDS = 10
INTERRUPTED = (
    "interrupted: running jobs are stopped. Run the same command again to go on: what is finished stays, and "
    "trainings go on from their last checkpoint."
)
LAST_LINES = 12  # lines of a failed job's log that are printed


class RunLog:
    """Turns the events of a run into lines.

    `clock`: returns the time in seconds. `expected`: the expected seconds of the jobs, as in `EXPECTED`.
    """

    def __init__(
        self,
        clock: Callable[[], float] = time.monotonic,
        expected: Mapping[int, tuple[str, float | None]] = EXPECTED,
    ):
        self._clock = clock
        self._expected = expected
        self._begin = clock()
        self._waiting: Counter[str] = Counter()  # jobs that have not started, by rule
        self._started: set[int] = set()
        self._running: dict[int, tuple[str, str, float]] = {}  # job: rule, message, start
        # Of the finished jobs, by rule: the seconds that they took, and the seconds that were expected.
        self._measured_seconds: Counter[str] = Counter()
        self._expected_seconds: Counter[str] = Counter()
        self._most_parallel = 1  # the largest number of jobs at a time so far
        self._total = self._done = 0

    def planned(self, counts: Mapping[str, int]) -> str:
        """The line before the first job. `counts`: the jobs of each rule, with their sum under `total`."""
        self._waiting = Counter({rule: count for rule, count in counts.items() if rule != "total"})
        self._total = sum(self._waiting.values())
        jobs = ", ".join(f"{count} {rule}" for rule, count in self._waiting.items())
        return f"{self._total} jobs: {jobs}"

    def started(self, job: int, rule: str, message: str) -> str:
        """The line for a job that starts. `message`: the rule's message."""
        self._running[job] = (rule, message, self._clock())
        self._waiting[rule] -= 1
        self._started.add(job)
        self._most_parallel = max(self._most_parallel, len(self._running))
        return f"{self._progress()} start {message}"

    def finished(self, job: int) -> str:
        """The line for a job that is done, with the time that it took and the remaining time of the run."""
        rule, message, start = self._running.pop(job, ("", f"job {job}", self._clock()))
        seconds = self._clock() - start
        self._measured_seconds[rule] += seconds
        self._expected_seconds[rule] += self._seconds_of(job, rule)
        self._done += 1
        remaining = self.remaining_seconds()
        suffix = f", about {duration(remaining)} left" if remaining else ""
        return f"{self._progress()} done  {message} ({duration(seconds)}{suffix})"

    def failed(self, job: int, log: str | None) -> str:
        """The line for a failed job, followed by the end of the job's log file `log`."""
        _, message, _ = self._running.pop(job, ("", f"job {job}", 0.0))
        text = f"{self._progress()} FAILED {message}"
        if log:
            content = Path(log).read_text(errors="replace") if Path(log).is_file() else ""
            lines = content.rstrip().splitlines()[-LAST_LINES:]
            if lines and lines[-1].startswith("error: "):  # the line of a UserError is enough
                lines = lines[-1:]
            elif is_full(Path(log).parent):  # the job could not write its last line
                lines.append(f"error: {log}: No space left on device: free some space, then run again")
            text += "".join(f"\n    {line}" for line in lines) + f"\n    (full log: {log})"
        return text

    def remaining_seconds(self) -> float:
        """The expected seconds of all waiting and running jobs, scaled by the pace of the finished jobs.

        The jobs are assumed to run in parallel, as many at a time as the most so far.
        """
        now = self._clock()
        work = sum(self._pace(rule) * seconds for rule, seconds in self._waiting_jobs())
        for job, (rule, _, start) in self._running.items():
            work += max(self._pace(rule) * self._seconds_of(job, rule) - (now - start), 0)
        return work / self._most_parallel

    def _waiting_jobs(self) -> Iterator[tuple[str, float]]:
        """The rule and the expected seconds of the jobs that have not started."""
        if self._expected:
            for job, (rule, _) in self._expected.items():
                if job not in self._started:
                    yield rule, self._seconds_of(job, rule)
            return
        for rule, count in self._waiting.items():
            yield rule, max(count, 0) * DEFAULT_SECONDS.get(rule, OTHER_RULES_SECONDS)

    def _seconds_of(self, job: int, rule: str) -> float:
        """The expected seconds of a job."""
        expected = self._expected.get(job, (rule, None))[1]
        return DEFAULT_SECONDS.get(rule, OTHER_RULES_SECONDS) if expected is None else expected

    def _pace(self, rule: str) -> float:
        """Measured per expected second of the finished jobs of `rule`; without any, of all finished jobs."""
        if self._expected_seconds[rule]:
            return self._measured_seconds[rule] / self._expected_seconds[rule]
        expected = self._expected_seconds.total()
        return self._measured_seconds.total() / expected if expected else 1.0

    def _progress(self) -> str:
        """`[ 3 of 92, 2 min]`."""
        width = len(str(self._total))
        return f"[{self._done:{width}d} of {self._total}, {duration(self._clock() - self._begin)}]"
