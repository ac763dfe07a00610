"""Whether a printed percentage can come from a number of trials."""

from __future__ import annotations

import math
from decimal import Decimal
from fractions import Fraction


def possible_counts(printed: str, trials: int) -> list[int]:
    """Whole numbers k for which 100 k / `trials` rounds to the percentage `printed`, by its decimals.

    Halves may have been rounded up or down. Raises ValueError for what is no number from 0 to 100.
    """
    low, high = _bounds(printed)
    first, last = math.ceil(low * trials / 100), math.floor(high * trials / 100)
    return [count for count in range(first, last + 1) if 0 <= count <= trials]


def truncated_counts(printed: str, trials: int) -> list[int]:
    """Whole numbers k for which 100 k / `trials` with its further decimals cut off is `printed`."""
    value, unit = _number(printed)
    first, last = math.ceil(value * trials / 100), math.ceil((value + unit) * trials / 100) - 1
    return [count for count in range(first, last + 1) if 0 <= count <= trials]


def whole_percentages(printed: str, tasks: int) -> bool:
    """Whether `printed` is exactly a mean of `tasks` percentages without decimals."""
    value, _ = _number(printed)
    return (value * tasks).denominator == 1


def _bounds(printed: str) -> tuple[Fraction, Fraction]:
    value, unit = _number(printed)
    return value - unit / 2, value + unit / 2


def _number(printed: str) -> tuple[Fraction, Fraction]:
    """The value, and the unit of its last decimal."""
    try:
        number = Decimal(printed)
        value = Fraction(number)
    except (ArithmeticError, ValueError, OverflowError):
        raise ValueError(f"{printed!r} is no number") from None
    if not 0 <= value <= 100:
        raise ValueError(f"{printed!r} is no percentage")
    exponent = min(0, number.as_tuple().exponent)
    return value, Fraction(1, 10**-exponent)
