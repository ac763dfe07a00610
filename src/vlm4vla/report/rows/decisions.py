"""What the numbers of a paired difference decide: one word per row, and what a claim about rows may say.

Tables, figures and the summary read a row's `outcome`. Nothing else compares the p value of such a row with
the level. docs/statistics.md says what each word means.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from vlm4vla.analysis.correlation_intervals import pearson_interval
from vlm4vla.analysis.sensitivity import POSITIVE, WEAK, read
from vlm4vla.config.analysis import Margins
from vlm4vla.conventions.benchmarks import maximum

LEVEL = 0.05

HIGHER, LOWER = "higher", "lower"
EQUIVALENT = "equivalent"
UNDECIDED = "undecided"
AT_FLOOR = "at the floor"
NOT_LEARNT = "not learnt"
NOT_MEASURED = "own score not measured"
NOT_TESTED = (AT_FLOOR, NOT_LEARNT, NOT_MEASURED)
"""Outcomes of rows that are not tested. Such rows are not in Holm's family and in no count."""

SHOWN, CONTRARY, UNTOLD = "shown", "contrary", "cannot be told"
"""What one row says about a claim."""

Record = Mapping[str, Any]  # a tidy row, of a table in the making or from the JSON of a finished one
Judge = Callable[[Record], str]  # SHOWN, CONTRARY or UNTOLD


def decide(row: Record, margin: float) -> str:
    """The outcome of a row with a paired difference, from the corrected p value and the interval.

    `margin` is a share of the benchmark's maximum. HIGHER or LOWER: the corrected p value is below 5 % (with
    several training seeds, the interval over seeds must exclude 0 too). EQUIVALENT: otherwise, if the 95 %
    interval of the difference lies within the margin on both sides of 0. UNDECIDED: otherwise.
    """
    p, difference = row.get("p_adjusted"), row["difference"]
    low, high = row.get("difference_ci_low"), row.get("difference_ci_high")
    if p is not None and p < LEVEL and difference and _beyond_seeds(row):
        return HIGHER if difference > 0 else LOWER
    if low is not None and high is not None and max(-low, high) < _size(row, margin):
        return EQUIVALENT
    return UNDECIDED


def _beyond_seeds(row: Record) -> bool:
    low, high = row.get("difference_ci_low"), row.get("difference_ci_high")
    if (row.get("shared_seeds") or 1) < 2 or low is None or high is None:
        return True
    return low > 0 or high < 0


def _size(row: Record, margin: float) -> float:
    """The margin in the unit of the row's metric."""
    return margin * maximum(row["benchmark"], row["metric"])


def outcome(row: Record, margin: float | None = None) -> str:
    """The stored outcome of a row, or `decide` for a row of an older file. `margin`: the default if None."""
    return row.get("outcome") or decide(row, Margins().margin if margin is None else margin)


def is_tested(row: Record) -> bool:
    """Whether the row counts: it has a difference, and neither its scores nor its task rule a test out."""
    return row.get("difference") is not None and row.get("outcome") not in NOT_TESTED


def loses(row: Record, margin: float) -> str:
    """Whether the difference is a loss: contrary if it is a gain, or a loss below the margin at most."""
    found = outcome(row, margin)
    if found == LOWER:
        return SHOWN
    return CONTRARY if found == HIGHER or _least(row) > -_size(row, margin) else UNTOLD


def loses_little(row: Record, margin: float) -> str:
    """Whether the loss, if there is one, is below the margin: contrary if it is certainly above."""
    if _least(row) > -_size(row, margin):
        return SHOWN
    certain = outcome(row, margin) == LOWER and _most(row) < -_size(row, margin)
    return CONTRARY if certain else UNTOLD


def gains(row: Record, margin: float) -> str:
    """Whether the difference is a gain: contrary if it is a loss, or a gain below the margin at most."""
    found = outcome(row, margin)
    if found == HIGHER:
        return SHOWN
    return CONTRARY if found == LOWER or _most(row) < _size(row, margin) else UNTOLD


def opposite(said: str) -> str:
    """What a row says about the contrary of a claim."""
    return {SHOWN: CONTRARY, CONTRARY: SHOWN}.get(said, said)


def _least(row: Record) -> float:
    low = row.get("difference_ci_low")
    return -float("inf") if low is None else float(low)


def _most(row: Record) -> float:
    high = row.get("difference_ci_high")
    return float("inf") if high is None else float(high)


def collapses(row: Record, share: float) -> str:
    """Whether the policy keeps less than `share` of the full policy's score.

    The row holds the score of the weaker policy (`value`) and the full policy's score minus it
    (`difference`). The interval of the share decides: contrary if it lies at `share` or above.
    """
    low, high = share_interval(row)
    if high is not None and high < share and outcome(row) == HIGHER:
        return SHOWN
    return CONTRARY if low is not None and low >= share else UNTOLD


def share_interval(row: Record) -> tuple[float | None, float | None]:
    """The interval of the policy's share of the full policy's score; (None, None) if it is not known.

    For a row of an older file, its limits follow from those of the score and of the difference: the share
    rises with the score and falls with the difference.
    """
    if "share_ci_low" in row:
        return row["share_ci_low"], row["share_ci_high"]
    ends = row.get("difference_ci_high"), row.get("difference_ci_low")
    if row.get("value") is None or None in ends:
        return None, None
    scores = (row["value"] if row.get(key) is None else row[key] for key in ("ci_low", "ci_high"))
    low, high = (
        score / (score + end) if score >= 0 and score + end > 0 else None
        for score, end in zip(scores, ends, strict=True)
    )
    return low, high


@dataclass(frozen=True)
class Tally:
    """What the rows of a claim say: in how many it is `shown`, `contrary`, or cannot be told (`untold`).

    `left_out`: rows that are not tested. `numbers`: the fewest and most initial states, or another `unit`,
    behind the tests.
    """

    shown: int
    contrary: int
    untold: int
    left_out: int = 0
    numbers: tuple[int, int] | None = None
    unit: str = "initial states"

    @property
    def tested(self) -> int:
        """The number of tests."""
        return self.shown + self.contrary + self.untold

    @property
    def number(self) -> str:
        """`with 24 initial states`, or `with 24 to 100 initial states`."""
        if self.numbers is None:
            return "with these data"
        return f"with {' to '.join(map(str, dict.fromkeys(self.numbers)))} {self.unit}"

    @property
    def counts(self) -> str:
        """`1 of 3 shows it, 1 shows the opposite, 1 cannot be told with 24 initial states`."""
        verb = "shows" if self.shown == 1 else "show"
        parts = [f"{self.shown} of {self.tested} {verb} it"]
        if self.contrary:
            parts.append(f"{self.contrary} {'shows' if self.contrary == 1 else 'show'} the opposite")
        if self.untold:
            parts.append(f"{self.untold} cannot be told {self.number}")
        return ", ".join(parts)

    @property
    def here(self) -> str:
        """The predicate of a sentence about the paper's claim: `shows here`, or the weaker words."""
        if not self.tested:
            return "was not tested here"
        if self.shown == self.tested:
            return "shows here"
        if self.shown:
            return f"shows here in part ({self.counts})"
        if self.contrary == self.tested:
            return "does not show here: the opposite does"
        if self.contrary:
            return f"does not show here ({self.counts})"
        return f"cannot be told {self.number}"


def tally(rows: Iterable[Record], judge: Judge) -> Tally:
    """Count what `judge` says about each tested row; rows without a difference do not count at all."""
    compared = [row for row in rows if row.get("difference") is not None]
    tested = [row for row in compared if is_tested(row)]
    said = [judge(row) for row in tested]
    return Tally(
        *(said.count(word) for word in (SHOWN, CONTRARY, UNTOLD)),
        left_out=len(compared) - len(tested),
        numbers=span(row.get("states") for row in tested),
    )


def span(counts: Iterable[int | None]) -> tuple[int, int] | None:
    """The smallest and largest of the known `counts`; None if none is known."""
    known = [count for count in counts if count is not None]
    return (min(known), max(known)) if known else None


def correlation_says(row: Record, margin: float) -> str:
    """Whether a correlation is weak. `row`: Pearson's r with its interval and the number of `backbones`.

    The row's outcome decides (`sensitivity.read`); a row of an older file is read by the same function, with
    Fisher's interval in place of the bootstrap that such files hold. CONTRARY: r is positive, and its whole
    interval lies at `margin` or above.
    """
    r, count = row.get("value"), row.get("backbones") or 0
    if r is None:
        return UNTOLD
    interval = row.get("ci_low"), row.get("ci_high")
    found = row.get("outcome")
    if found is None:
        interval = pearson_interval(r, count)
        found = read(r, row.get("p_adjusted"), interval=interval, count=count, margin=margin).outcome
        if found == POSITIVE and row.get("verdict", POSITIVE) != POSITIVE:
            return UNTOLD  # an older verdict that hinges on a backbone or a family
    if found == WEAK:
        return SHOWN
    return CONTRARY if found == POSITIVE and interval[0] is not None and interval[0] >= margin else UNTOLD


def outcome_counts(rows: Iterable[Record], margin: float) -> str:
    """`lower in 2 of 4 cells, higher in 1, undecided in 1` over the tested rows.

    `not tested` if there are none.
    """
    found = [outcome(row, margin) for row in rows if is_tested(row)]
    counts = {word: found.count(word) for word in (LOWER, HIGHER, EQUIVALENT, UNDECIDED) if word in found}
    if not counts:
        return "not tested"
    cells = f" of {len(found)} {'cell' if len(found) == 1 else 'cells'}"
    return ", ".join(
        f"{word} in {count}{'' if number else cells}" for number, (word, count) in enumerate(counts.items())
    )


def equivalence_words(margin: float) -> str:
    """`5 % of the benchmark's maximum`: the margin of equivalence."""
    return f"{100 * margin:g} % of the benchmark's maximum"


def concerning(seeds: Sequence[int]) -> str:
    """What a sentence is about: `in these trained policies`, or `over 3 training seeds`."""
    return "in these trained policies" if len(seeds) == 1 else f"over {len(seeds)} training seeds"


def left_out_sentence(rows: Sequence[Record]) -> str:
    """How many rows are not tested, and why; empty if all are."""
    reasons = {
        AT_FLOOR: "because the two policies together are not shown to be better than random actions",
        NOT_LEARNT: "because the score on the auxiliary task did not clearly rise",
        NOT_MEASURED: "because the score on the auxiliary task was not measured",
    }
    parts = []
    for word, reason in reasons.items():
        count = sum(row.get("difference") is not None and row.get("outcome") == word for row in rows)
        if count:
            parts.append(f"{count} {'row is' if count == 1 else 'rows are'} not tested, {reason}")
    return f"{'; '.join(parts)}." if parts else ""
