"""What a person reads while the workflow runs: a line a job, how far it is, and how long it still takes."""

from __future__ import annotations

import time
from collections import Counter, defaultdict
from collections.abc import Callable, Mapping
from pathlib import Path
from statistics import mean

# Seconds that a job of each rule takes at the embedded scale, relative to one another: the first guess,
# until jobs of that rule have ended.
GUESS = {"questions": 60, "backbone": 200, "capability": 20, "demonstrations": 60, "vla": 100, "rollout": 40}
OTHERS = 10
LAST_LINES = 12  # of a failed job's log


def duration(seconds: float) -> str:
    """Seconds as `45 s`, `12 min` or `1 h 05 min`."""
    minutes = round(seconds / 60)
    if seconds < 60:
        return f"{seconds:.0f} s"
    return f"{minutes} min" if minutes < 60 else f"{minutes // 60} h {minutes % 60:02d} min"


class RunLog:
    """Turns the events of a run into lines; `clock` gives seconds."""

    def __init__(self, clock: Callable[[], float] = time.monotonic):
        self._clock = clock
        self._begin = clock()
        self._waiting: Counter[str] = Counter()
        self._running: dict[int, tuple[str, str, float]] = {}  # job: rule, message, start
        self._took: defaultdict[str, list[float]] = defaultdict(list)
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
        self._busiest = max(self._busiest, len(self._running))
        return f"{self._head()} start {message}"

    def finished(self, job: int) -> str:
        rule, message, start = self._running.pop(job, ("", f"job {job}", self._clock()))
        took = self._clock() - start
        self._took[rule].append(took)
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
        seen = [(GUESS.get(rule, OTHERS), mean(took)) for rule, took in self._took.items()]
        pace = sum(took for _, took in seen) / sum(guess for guess, _ in seen) if seen else 1.0

        def expected(rule: str) -> float:
            return mean(self._took[rule]) if rule in self._took else pace * GUESS.get(rule, OTHERS)

        work = sum(max(count, 0) * expected(rule) for rule, count in self._waiting.items() if count > 0)
        now = self._clock()
        work += sum(max(expected(rule) - (now - start), 0) for rule, _, start in self._running.values())
        return work / self._busiest

    def _head(self) -> str:
        width = len(str(self._total))
        return f"[{self._done:{width}d} of {self._total}, {duration(self._clock() - self._begin)}]"
