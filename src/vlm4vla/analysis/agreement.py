"""Whether a measured value agrees with the published one, where the two are of one scale."""

from __future__ import annotations

WITHIN_INTERVAL, WITHIN_FIVE, OFF = "within its interval", "within five points", "off"
POINTS = 0.05  # of the metric's maximum: five percent points, a quarter of an instruction
_ROUNDING = 1e-9


def agreement(
    value: float | None,
    interval: tuple[float | None, float | None],
    published: float | None,
    *,
    maximum: float,
    scale: str,
) -> str | None:
    """What is said of `value` (with its 95 % `interval`) beside `published`; None where one is missing.

    "within its interval": the published number lies in the measured interval; "within five points": not that,
    and no further than 5 % of the metric's `maximum`; "off": neither. Only at the paper's scale; on any other
    "not comparable (embedded)", with the scale's name.
    """
    if value is None or published is None or None in interval:
        return None
    if scale != "paper":
        return f"not comparable ({scale})"
    low, high = interval
    if low - _ROUNDING <= published <= high + _ROUNDING:
        return WITHIN_INTERVAL
    return WITHIN_FIVE if abs(value - published) <= POINTS * maximum + _ROUNDING else OFF
