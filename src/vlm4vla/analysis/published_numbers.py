"""Statistics of published numbers, for which no episode records exist.

- `agreement`: does a measured value agree with the published one?
- `possible_counts` and the functions after it: can a printed percentage come from a number of trials?
- `fisher_interval` and the functions after it: the test of a correlation, from r and the number of points.
"""

from __future__ import annotations

import functools
import math
import operator
from decimal import Decimal
from fractions import Fraction
from statistics import NormalDist

from scipy import stats

from vlm4vla.analysis.intervals import LEVEL
from vlm4vla.conventions.scales import REAL

WITHIN_INTERVAL, WITHIN_FIVE, OFF = "within its interval", "within five points", "off"
POINTS = 0.05  # of the metric's maximum: five percentage points, or a quarter of an instruction
_ROUNDING = 1e-9


def agreement(
    value: float | None,
    interval: tuple[float | None, float | None],
    published: float | None,
    *,
    maximum: float,
    scale: str,
) -> str | None:
    """The verdict on a measured `value`, with its 95 % `interval`, and a `published` value.

    "within its interval": the published value is in the measured interval. "within five points": it is not,
    but the two values differ by at most 5 % of the metric's `maximum`. "off": they differ by more. These
    verdicts are given at the scales of real models only; at another scale, the verdict is "not comparable
    (SCALE)". None if a number is missing.
    """
    if value is None or published is None or None in interval:
        return None
    if scale not in REAL:
        return f"not comparable ({scale})"
    low, high = interval
    if low - _ROUNDING <= published <= high + _ROUNDING:
        return WITHIN_INTERVAL
    return WITHIN_FIVE if abs(value - published) <= POINTS * maximum + _ROUNDING else OFF


def possible_counts(printed: str, trials: int) -> list[int]:
    """All counts k for which 100 k / `trials`, rounded to the decimals of `printed`, is `printed`.

    A half counts as rounded either up or down. Raises ValueError unless `printed` is a number from 0 to 100.
    """
    value, unit = _parse_percentage(printed)
    return _rounded(value * trials / 100, unit * trials / 100, trials)


def possible_totals(printed: str, trials: int, most: int = 1, scale: int = 1) -> list[int]:
    """All whole totals k, 0 to `most` x `trials`, for which `scale` k / `trials` rounds to `printed`.

    `most`: the largest outcome of one trial: 1 for a share of successes, 5 for a chain of 5 instructions.
    `scale`: 100 for a percentage. A half counts as rounded either up or down. Raises ValueError unless
    `printed` is a number from 0 to `scale` x `most`.
    """
    value, unit = _parse(printed)
    if not 0 <= value <= scale * most:
        raise ValueError(f"{printed!r} is not a number from 0 to {scale * most}")
    return _rounded(value * trials / scale, unit * trials / scale, most * trials)


def truncated_totals(printed: str, trials: int, most: int = 1, scale: int = 1) -> list[int]:
    """All whole totals k for which `scale` k / `trials` is `printed` if its further decimals are cut off.

    Arguments as in `possible_totals`.
    """
    value, unit = _parse(printed)
    first, end = (math.ceil(x * trials / scale) for x in (value, value + unit))
    return _counts(first, end - 1, most * trials)


ROUNDED, TRUNCATED = "rounded", "truncated"


def mean_of_rounded(
    printed: str, parts: int, trials: int, decimals: int, most: int = 1, scale: int = 1
) -> str | None:
    """Whether `printed` can be the mean of `parts` numbers that were rounded before.

    Each of them is `scale` k / `trials`, with a whole total k from 0 to `most` x `trials`, rounded to
    `decimals` decimals. ROUNDED if the mean rounds to `printed`, with a half rounded up or to an even digit;
    TRUNCATED if it does not, but gives `printed` if its further decimals are cut off; None if neither. Other
    arguments as in `possible_totals`. The time grows with `parts` and with the different rounded numbers.
    """
    value, unit = _parse(printed)
    fine = 10**decimals
    steps = set()
    for total in range(most * trials + 1):
        exact = Fraction(fine * scale * total, trials)
        steps |= {math.ceil(exact - Fraction(1, 2)), math.floor(exact + Fraction(1, 2))}
    sums = 1  # bit s: whether the rounded numbers can add up to s / fine
    for _ in range(parts):
        sums = functools.reduce(operator.or_, (sums << step for step in steps))

    def reached(first: int, last: int) -> bool:
        first = max(0, first)
        return last >= first and bool(sums >> first & ((1 << (last - first + 1)) - 1))

    whole = parts * fine
    high = (value + unit / 2) * whole
    even = (value / unit) % 2 == 0
    if reached(math.ceil((value - unit / 2) * whole), math.floor(high) if even else math.ceil(high) - 1):
        return ROUNDED
    return TRUNCATED if reached(math.ceil(value * whole), math.ceil((value + unit) * whole) - 1) else None


def _rounded(total: Fraction, unit: Fraction, most: int) -> list[int]:
    return _counts(math.ceil(total - unit / 2), math.floor(total + unit / 2), most)


def _counts(first: int, last: int, trials: int) -> list[int]:
    return [count for count in range(first, last + 1) if 0 <= count <= trials]


def _parse_percentage(printed: str) -> tuple[Fraction, Fraction]:
    value, unit = _parse(printed)
    if not 0 <= value <= 100:
        raise ValueError(f"{printed!r} is not a percentage from 0 to 100")
    return value, unit


def _parse(printed: str) -> tuple[Fraction, Fraction]:
    """The value, and the unit of its last decimal."""
    try:
        number = Decimal(printed)
        value = Fraction(number)
    except (ArithmeticError, ValueError, OverflowError):
        raise ValueError(f"{printed!r} is not a number") from None
    exponent = min(0, number.as_tuple().exponent)
    return value, Fraction(1, 10**-exponent)


def fisher_interval(r: float, points: int, level: float = LEVEL) -> tuple[float, float]:
    """Fisher's z interval of Pearson's r, for normal scores. Raises ValueError below four points."""
    if points < 4 or not -1 < r < 1:
        raise ValueError(f"r = {r} over {points} points has no interval")
    half = NormalDist().inv_cdf(0.5 + level / 2) / math.sqrt(points - 3)
    return math.tanh(math.atanh(r) - half), math.tanh(math.atanh(r) + half)


def pearson_t_test(r: float, points: int) -> float:
    """Two-sided p value of Pearson's r against no correlation, for normal scores."""
    t = abs(r) * math.sqrt((points - 2) / (1 - r * r))
    return float(2 * stats.t.sf(t, points - 2))


def smallest_significant_r(points: int, level: float = LEVEL) -> float:
    """The smallest |r| over `points` points that is significant at 1 - `level`, two-sided."""
    t = stats.t.ppf(0.5 + level / 2, points - 2)
    return float(t / math.sqrt(points - 2 + t * t))
