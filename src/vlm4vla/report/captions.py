"""What a caption must say: scale, episodes, seeds, kind of interval, and what they do not cover."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from vlm4vla.report import names

_SCALES = {
    "embedded": "tiny backbones of the real architectures, pre-trained on generated pictures, and simulated "
    "benchmarks modelled on the real ones. Published numbers are the real models' on the real benchmarks: "
    "compare their order, not their size",
    "smoke": "a run of few steps and episodes that proves the plumbing and claims nothing about learning",
    "paper": "the study as published",
}

DIFFERENCES = (
    "Differences are paired over the same initial states (bootstrap intervals; exact two-sided tests); rates "
    "differ in percentage points."
)


def scale_sentence(scale: str, departures: Sequence[str] = ()) -> str:
    """What the scale is, and in which settings (departures.py) the study is not that one's."""
    what = _SCALES[scale]
    if departures:
        what += ", but for these settings, with the paper scale's in brackets: " + "; ".join(departures)
    return f"Scale: {scale} ({what})."


def episodes_sentence(records: Sequence[Mapping[str, Any]], scale: str) -> str:
    """Episodes a cell on each benchmark, from the tidy records themselves."""
    parts = []
    records = [row for row in records if row.get("metric", "success_rate") in names.METRICS]
    for benchmark in names.in_order(row["benchmark"] for row in records):
        counts = sorted(
            {row["episodes"] for row in records if row["benchmark"] == benchmark and row["episodes"]}
        )
        if counts:
            what = "chains of five instructions" if benchmark == "calvin" else "initial states"
            span = str(counts[0]) if len(counts) == 1 else f"{counts[0]} to {counts[-1]}"
            parts.append(f"{names.benchmark(benchmark, scale)} {span} {what}")
    return f"Episodes in each cell: {'; '.join(parts)}." if parts else "No cell was measured."


def seeds_sentence(seeds: Sequence[int]) -> str:
    """Which training seeds, and what that leaves unmeasured."""
    if len(seeds) == 1:
        return (
            f"One training seed ({seeds[0]}): the intervals cover the choice of episodes; the variance "
            "between training runs is not measured."
        )
    listed = ", ".join(map(str, seeds))
    return (
        f"Training seeds {listed}: values are means over them, whose standard deviation stands in the CSV as "
        "seed_sd. Intervals of policies with two or more seeds cover the choice of seeds and of episodes; "
        "paired tests cover that of episodes only. In simulations the former hold the true value not "
        "always in 95 of 100 studies: in 86 to 97 with two seeds, 90 to 96 with three, 91 to 96 with five."
    )


def intervals_sentence(metrics: Sequence[str], seeds: Sequence[int] = (0,)) -> str:
    """Kinds of 95 % interval for the metrics in a table."""
    kinds = []
    if "average_length" in metrics:
        kinds.append("percentile bootstrap over chains for average length")
    if any(metric != "average_length" for metric in metrics):
        kinds.append("Wilson for success rates")
    if len(seeds) > 1:
        two = "two-level bootstrap over training seeds and, within tasks, initial states"
        return f"In brackets: 95 % intervals ({two}; for policies with one seed {'; '.join(kinds)})."
    return f"In brackets: 95 % intervals ({'; '.join(kinds)})."


def experts_sentence(experts: Mapping[str, Mapping[str, Any]]) -> str:
    """What stands behind each expert VLA: `experts` is name -> backbone, chunk, executed, steps."""
    parts = [
        f"{names.model(name)} on {names.model(own['backbone'])}, {names.steps(own['steps'])} training steps, "
        f"executes {own['executed']}"
        for name, own in experts.items()
    ]
    return (
        f"Expert VLAs are made after the originals with heads and settings of their own: {'; '.join(parts)}. "
        "They are no part of the means over backbones."
    )


def published_sentence(table: str) -> str:
    return f"Published: arXiv 2601.03309, {table}."


def agreement_sentence(scale: str) -> str:
    """When a measured value agrees with the published one."""
    if scale != "paper":
        return f"Agreement with published numbers is not judged: not comparable ({scale})."
    return (
        "Agreement: the published number is within the measured 95 % interval, or within five points (5 % of "
        "the maximum) of the value, or off."
    )
