"""The marks of all tables and figures. Each mark has one meaning everywhere, and captions explain it."""

from __future__ import annotations

SIGNIFICANT = "*"  # a paired difference that is significant at the 5 % level after Holm's correction
EQUIVALENT = "="  # a paired difference within the margin of equivalence
DOUBT = "\N{DAGGER}"  # a published number with a note
ELSEWHERE = "\N{DOUBLE DAGGER}"  # numbers that are published, but not in the paper
FLAGGED = "\N{SECTION SIGN}"  # a printed number that no whole number of the stated trials gives
STOPPED = "\N{PILCROW SIGN}"  # a score from rollouts that stopped early
