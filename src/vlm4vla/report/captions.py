"""Sentences that the captions of all tables share: scale, episodes, seeds, intervals, published numbers."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from vlm4vla.analysis.estimates import CHAINS, TWO_LEVEL, WILSON
from vlm4vla.analysis.transfer import NOT_CARRIED, UNTOLD
from vlm4vla.config.stages import ExpertSummary
from vlm4vla.conventions.benchmarks import SUCCESS_RATE, facts, metrics
from vlm4vla.conventions.scales import REAL
from vlm4vla.report import marks, names
from vlm4vla.report.rows.early_stops import stop_sentence
from vlm4vla.study.results_folder import Results

_SCALES = {
    "embedded": "tiny backbones with the real architectures, pre-trained on generated images. Benchmarks "
    "whose names end in (embedded) are modelled on the real ones. Published numbers are from the real models "
    "on the real benchmarks: compare the order of the models, not the values",
    "smoke": "a run with few steps and episodes that tests the pipeline and says nothing about learning",
    "paper": "the study as published",
    "released": "the study with the behaviour of its released code, workflow/scales/released.yaml over "
    "paper.yaml; docs/fidelity.md lists each difference",
}

# The intervals of a policy's score, by the kind that `estimate` gives them.
_ONE_SEED = {
    CHAINS: "bounded mean over chains (Gaffke) for average length",
    WILSON: "Wilson for success rates",
}
_SEVERAL_SEEDS = (
    "two-level, over training seeds and initial states, which vary within their tasks except for chains"
)

DIFFERENCES = (
    "Differences are paired over the same initial states (intervals of a bounded mean; exact two-sided "
    "tests; with several shared training seeds, also a test over seeds and states, with its interval). "
    "Differences of rates are in percentage points."
)

CARRY_OVER = (
    "Whether the ranking of the backbones on these embedded benchmarks carries over to the benchmarks beside "
    "them is in the table transfer (tables/transfer.md)."
)


def carry_over_sentence(root: Path) -> str:
    """Where the ranking on embedded benchmarks does not carry over to real ones, or where it cannot be told.

    From the numbers of the table transfer of the study in `root`. Empty if it carries over from each embedded
    benchmark to each real one, and without such a pair. Raises UserError if the numbers cannot be read.
    """
    analysis = Results(root).analysis("transfer")
    rows = [row for row in analysis["records"] if row["metric"] == "spearman_rho"]
    found: dict[tuple[str, str], list[str]] = {}
    for check, row in zip(analysis["sensitivity"], rows, strict=True):
        if sorted(check["real"]) != [False, True]:
            continue
        labels = check["label"], check["other_label"]
        embedded, real = reversed(labels) if check["real"][0] else labels
        value = "" if row["value"] is None else f" (rho = {row['value']:.2f})"
        number = f" with {row['backbones']} backbones" if check["outcome"] == UNTOLD else ""
        found.setdefault((real, check["outcome"] + number), []).append(embedded + value)
    sentences = []
    for (real, outcome), embedded in found.items():
        if outcome.startswith(UNTOLD):
            sentences.append(
                f"Whether the ranking of the backbones on {names.joined(embedded, 'or')} carries over to "
                f"{real} {outcome} (table transfer)."
            )
        elif outcome == NOT_CARRIED:
            sentences.append(
                f"The ranking of the backbones on {names.joined(embedded)} {outcome} to {real} (table "
                "transfer)."
            )
    return " ".join(sentences)


def scale_sentence(scale: str, departures: Sequence[str] = ()) -> str:
    """The scale, and the settings in which the study departs from that scale (study/departures.py)."""
    description = _SCALES[scale]
    if departures:
        description += f", except for these settings, with the values of the {scale} scale in brackets: "
        description += "; ".join(departures)
    return f"Scale: {scale} ({description})."


def episodes_sentence(records: Sequence[Mapping[str, Any]], scale: str) -> str:
    """The number of episodes per cell on each benchmark, counted from the tidy records, and early stops."""
    parts = []
    records = [row for row in records if row.get("metric", SUCCESS_RATE) in metrics(row["benchmark"])]
    for benchmark in names.in_order(row["benchmark"] for row in records):
        counts = sorted(
            {row["episodes"] for row in records if row["benchmark"] == benchmark and row["episodes"]}
        )
        if counts:
            length = facts(benchmark).instructions_per_episode
            episodes = f"chains of {length} instructions" if length > 1 else "initial states"
            span = str(counts[0]) if len(counts) == 1 else f"{counts[0]} to {counts[-1]}"
            parts.append(f"{names.benchmark(benchmark, scale)} {span} {episodes}")
    if not parts:
        return "No cell was measured."
    return f"Episodes in each cell: {'; '.join(parts)}. {stop_sentence(records)}".strip()


def image_tokens_sentence(tokens: Mapping[str, int]) -> str:
    """How many tokens of its prompt each backbone has for an image; empty if nothing is known."""
    counts = sorted(set(tokens.values()))
    if not counts:
        return ""
    if len(counts) == 1:
        return f"Each backbone reads an image as {counts[0]} tokens."
    usual = max(counts, key=list(tokens.values()).count)
    others = [f"{name} as {count}" for name, count in tokens.items() if count != usual]
    return f"Backbones read an image as {usual} tokens, {names.joined(others)}."


def seeds_sentence(seeds: Sequence[int]) -> str:
    """The training seeds, and what the intervals and tests cover."""
    if len(seeds) == 1:
        return (
            f"One training seed ({seeds[0]}): all intervals, tests and marks are about these trained "
            "policies on other episodes. The variance between training runs is not measured."
        )
    listed = ", ".join(map(str, seeds))
    return (
        f"Training seeds {listed}: values are means over seeds, and the CSV has their standard deviation in "
        "the column seed_sd. For policies with two or more seeds, intervals and tests cover the choice of "
        "seeds and of episodes. They pool the spread of the seeds over the policies of the table on a "
        "benchmark, in logits of the score."
    )


def intervals_sentence(rows: Sequence[Mapping[str, Any]]) -> str:
    """The kinds of 95 % interval that the measured `rows` have, by their key `interval`; empty without."""
    found = {row.get("interval") for row in rows}
    single = [text for kind, text in _ONE_SEED.items() if kind in found]
    if TWO_LEVEL not in found:
        return f"In brackets: 95 % intervals ({'; '.join(single)})." if single else ""
    others = f"; for policies with one seed {'; '.join(single)}" if single else ""
    return f"In brackets: 95 % intervals ({_SEVERAL_SEEDS}{others})."


def experts_sentence(experts: Mapping[str, ExpertSummary]) -> str:
    """The backbone, training steps and executed steps of each expert VLA, or the released policy instead."""
    parts = []
    for name, own in experts.items():
        others = [f"{source} on {facts(benchmark).title}" for benchmark, source in own.released.items()]
        trained = (
            f"{names.model(name)} on {names.model(own.backbone)}, {names.steps(own.steps)} training steps, "
            f"executes {_executed(own.executed)}"
        )
        if not own.executed:
            parts.append(f"{names.model(name)} is the released {names.joined(others)}")
        else:
            parts.append(trained + (f" (the released {names.joined(others)})" if others else ""))
    return (
        f"Expert VLAs follow the original models, with their own heads and settings: {'; '.join(parts)}. "
        "The means over backbones do not include them."
    )


def _executed(text: str) -> str:
    """`5 of 10 and 2 of 4 predicted actions (in the order of the benchmarks)`, from `5 of 10/2 of 4 ...`."""
    counts, space, unit = text.partition(" predicted")
    several = counts.split("/")
    order = " (in the order of the benchmarks)" if len(several) > 1 else ""
    return f"{names.joined(several)}{space}{unit}{order}"


def published_sentence(source: str) -> str:
    """Where in the paper the published numbers are."""
    return f"Published: arXiv 2601.03309, {source}."


def elsewhere_sentence(models: Sequence[str]) -> str:
    """Which of the marked models have numbers that the paper does not print; empty without any."""
    if not models:
        return ""
    listed = names.joined([names.model(model) for model in models])
    return (
        f"{marks.ELSEWHERE} Not in the paper: {listed}, published only as a hidden row of the authors' "
        "project page."
    )


def agreement_sentence(scale: str) -> str:
    """When a measured value agrees with the published one."""
    if scale not in REAL:
        return f"Agreement with the published numbers is not judged: not comparable ({scale})."
    return (
        "Agreement: the published number is within the measured 95 % interval, or within five points (5 % of "
        "the maximum) of the measured value, or off."
    )
