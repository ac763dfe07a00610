"""What a person reads while the workflow runs: a line a job, how far it is, and how long it still takes."""

from __future__ import annotations

import time
from collections import Counter
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path

from vlm4vla.core.durations import duration

# Jobs of this process's run by Snakemake's number: rule, and seconds that were expected of it, None where
# nothing is known. `vlm4vla.workflow.estimate.expected_times` writes it, since a logger meets no study.
EXPECTED: dict[int, tuple[str, float | None]] = {}
# Seconds of a job of which nothing is known, at the embedded scale.
GUESS = {"questions": 60, "backbone": 200, "capability": 20, "demonstrations": 60, "vla": 100, "rollout": 40}
OTHERS = 10
LAST_LINES = 12  # of a failed job's log


class RunLog:
    """Turns the events of a run into lines; `clock` gives seconds, `expected` is as `EXPECTED`."""

    def __init__(
        self,
        clock: Callable[[], float] = time.monotonic,
        expected: Mapping[int, tuple[str, float | None]] = EXPECTED,
    ):
        self._clock = clock
        self._expected = expected
        self._begin = clock()
        self._waiting: Counter[str] = Counter()
        self._begun: set[int] = set()
        self._running: dict[int, tuple[str, str, float]] = {}  # job: rule, message, start
        self._took: Counter[str] = Counter()  # by rule: seconds that ended jobs took, and were expected to
        self._guessed: Counter[str] = Counter()
        self._busiest = 1
        self._total = self._done = 0

    def planned(self, counts: Mapping[str, int]) -> str:
        """`counts`: jobs of each rule, with Snakemake's own sum under `total`."""
        self._waiting = Counter({rule: count for rule, count in counts.items() if rule != "total"})
        self._total = sum(self._waiting.values())
        jobs = ", ".join(f"{count} {rule}" for rule, count in self._waiting.items())
        return f"{self._total} jobs: {jobs}"

    def started(self, job: int, rule: str, message: str) -> str:
        self._running[job] = (rule, message, self._clock())
        self._waiting[rule] -= 1
        self._begun.add(job)
        self._busiest = max(self._busiest, len(self._running))
        return f"{self._head()} start {message}"

    def finished(self, job: int) -> str:
        rule, message, start = self._running.pop(job, ("", f"job {job}", self._clock()))
        took = self._clock() - start
        self._took[rule] += took
        self._guessed[rule] += self._guess(job, rule)
        self._done += 1
        left = self.left()
        more = f", about {duration(left)} left" if left else ""
        return f"{self._head()} done  {message} ({duration(took)}{more})"

    def failed(self, job: int, log: str | None) -> str:
        """The failed job's message, and the end of its log."""
        _, message, _ = self._running.pop(job, ("", f"job {job}", 0.0))
        text = f"{self._head()} FAILED {message}"
        if log and Path(log).is_file():
            lines = Path(log).read_text(errors="replace").rstrip().splitlines()[-LAST_LINES:]
            if lines and lines[-1].startswith("error: "):  # a user's mistake: one line says it all
                lines = lines[-1:]
            text += "".join(f"\n    {line}" for line in lines) + f"\n    (whole log: {log})"
        return text

    def left(self) -> float:
        """Seconds until the end: what waits and runs, at the pace of what has ended."""
        now = self._clock()
        work = sum(self._pace(rule) * guess for rule, guess in self._ahead())
        for job, (rule, _, start) in self._running.items():
            work += max(self._pace(rule) * self._guess(job, rule) - (now - start), 0)
        return work / self._busiest

    def _ahead(self) -> Iterator[tuple[str, float]]:
        """Rule and expected seconds of every job that waits."""
        if self._expected:
            for job, (rule, _) in self._expected.items():
                if job not in self._begun:
                    yield rule, self._guess(job, rule)
            return
        for rule, count in self._waiting.items():
            yield rule, max(count, 0) * GUESS.get(rule, OTHERS)

    def _guess(self, job: int, rule: str) -> float:
        known = self._expected.get(job, (rule, None))[1]
        return GUESS.get(rule, OTHERS) if known is None else known

    def _pace(self, rule: str) -> float:
        """Seconds by the clock in an expected second: of this rule's jobs, before one has ended of all."""
        if self._guessed[rule]:
            return self._took[rule] / self._guessed[rule]
        guessed = self._guessed.total()
        return self._took.total() / guessed if guessed else 1.0

    def _head(self) -> str:
        width = len(str(self._total))
        return f"[{self._done:{width}d} of {self._total}, {duration(self._clock() - self._begin)}]"
