"""Which of the paper's four findings a study shows, from the numbers behind its tables."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from vlm4vla.analysis.sensitivity import FRAGILE, GROUPS
from vlm4vla.config.analysis import Margins
from vlm4vla.conventions.benchmarks import score_metric
from vlm4vla.conventions.scales import StudyScale
from vlm4vla.report import names
from vlm4vla.report.rows.capability_scores import OVERALL
from vlm4vla.report.rows.contrasts import NONE
from vlm4vla.report.rows.correlations import ALL
from vlm4vla.report.rows.decisions import (
    CONTRARY,
    HIGHER,
    NOT_LEARNT,
    SHOWN,
    UNTOLD,
    Record,
    Tally,
    collapses,
    concerning,
    correlation_says,
    gains,
    is_tested,
    left_out_sentence,
    loses,
    opposite,
    outcome,
    outcome_counts,
    share_interval,
    span,
    tally,
)

Analysis = Mapping[str, Any]  # the JSON of one table


@dataclass(frozen=True)
class Finding:
    """A `claim` of the paper, what each test says about it, and `details` in words.

    `count` leaves out rows that are not tested. Its `tested` is 0 if the study has no other rows.
    """

    claim: str
    count: Tally
    details: str

    @property
    def shown(self) -> int:
        """The number of tests that show the claim."""
        return self.count.shown

    @property
    def tested(self) -> int:
        """The number of tests."""
        return self.count.tested

    @property
    def verdict(self) -> str:
        """The weakest statement that the tests force.

        `This study shows it` only if every test does. `... shows the opposite` only if every test shows that.
        """
        count = self.count
        if not count.tested:
            return "This study did not test it"
        if count.shown == count.tested:
            return "This study shows it"
        if count.contrary == count.tested:
            return "This study shows the opposite"
        if count.shown:
            return "This study shows it in part"
        if count.contrary:
            return "This study does not show it"
        return f"This cannot be told {count.number}"

    @property
    def counts(self) -> str:
        """`6 of 6 tests`, or how many tests show what; empty if the verdict says it all."""
        count = self.count
        if count.tested in (count.shown, count.contrary):
            return f"{count.tested} of {count.tested} {'test' if count.tested == 1 else 'tests'}"
        return count.counts if count.shown or count.contrary else ""


def findings(analyses: Mapping[str, Analysis]) -> list[Finding]:
    """The four findings, from the `analyses` of the tables by name.

    A finding whose table is missing counts as not tested. Each row counts by its stored outcome. Rows of
    older files are decided by the same function, from the corrected p value and the interval.
    """
    return [_correlation(analyses), _auxiliary(analyses), _freeze(analyses), _scratch(analyses)]


def _margins(analyses: Mapping[str, Analysis], table: str) -> Margins:
    return Margins.model_validate(analyses.get(table, {}).get("settings", {}).get("analysis", {}))


def _correlation(analyses: Mapping[str, Analysis]) -> Finding:
    found = [
        row
        for row in analyses.get("correlation", {}).get("records", [])
        if (row["metric"], row.get("question_set"), row["model"]) == ("pearson_r", OVERALL, ALL)
        and row["value"] is not None
    ]
    margin, scale = _margins(analyses, "correlation").correlation_margin, StudyScale.of(analyses.values())
    said = [correlation_says(row, margin) for row in found]
    count = Tally(
        *(said.count(word) for word in (SHOWN, CONTRARY, UNTOLD)),
        numbers=span(row.get("backbones") for row in found),
        unit="backbones",
    )
    parts = []
    for row, word in zip(found, said, strict=True):
        interval = "" if row.get("ci_low") is None else f" [{row['ci_low']:.2f}, {row['ci_high']:.2f}]"
        p = "" if row.get("p_adjusted") is None else f", {names.p_value(row['p_adjusted'])} after Holm"
        words = {SHOWN: "weak", CONTRARY: "strong"}.get(word) or _untold(row)
        parts.append(
            f"r = {row['value']:.2f}{interval} on {names.benchmark(row['benchmark'], scale)}{p}, {words}"
        )
    seeds = analyses.get("correlation", {}).get("settings", {}).get("seeds") or [0]
    details = f"{concerning(seeds)}, {'; '.join(parts)}"
    details += f". A correlation is weak if its whole interval lies within {margin:g} on both sides of 0"
    claim = "The question score of a VLM predicts the score of its policy poorly"
    return Finding(claim, count, details if found else "")


def _untold(row: Record) -> str:
    """Why a correlation decides nothing: a small p value next to `not decided` would need a reason."""
    return {GROUPS: "a difference of groups", FRAGILE: "fragile"}.get(row.get("outcome"), "not decided")


def _auxiliary(analyses: Mapping[str, Analysis]) -> Finding:
    rows = _compared(analyses, "auxiliary", lambda row: row.get("auxiliary", NONE) != NONE)
    margin = _margins(analyses, "auxiliary").margin
    claim = "Fine-tuning the VLM on an auxiliary task first does not improve control"
    details = _counts("the score after a task, against that without one,", rows, margin)
    better = [row for row in rows if is_tested(row) and outcome(row, margin) == HIGHER]
    if better:
        details += f". Control is better for {names.joined([_policy(row) for row in better])}"
    return _finding(claim, rows, lambda row: opposite(gains(row, margin)), details, analyses, "auxiliary")


def _freeze(analyses: Mapping[str, Analysis]) -> Finding:
    rows = _compared(analyses, "freeze", lambda row: row["variant"] == "freeze-vision")
    margin = _margins(analyses, "freeze").margin
    claim = "Freezing the vision encoder hurts"
    details = _counts("the score with a frozen encoder, against that with all trained,", rows, margin)
    return _finding(claim, rows, lambda row: loses(row, margin), details, analyses, "freeze")


def _scratch(analyses: Mapping[str, Analysis]) -> Finding:
    rows = _compared(analyses, "scratch", lambda row: row["variant"] == "scratch")
    margins = _margins(analyses, "scratch")
    claim = "Training from random weights collapses"
    details = _counts(
        "the score of the pre-trained policy, against that from random weights,", rows, margins.margin
    )
    wholes = [(row["value"], row["value"] + row["difference"]) for row in rows if is_tested(row)]
    shares = sorted(value / whole for value, whole in wholes if whole > 0)
    ends = dict.fromkeys(f"{100 * shares[end]:.0f}" for end in (0, -1)) if shares else ()
    if shares:
        details += (
            f". The score from random weights is {' to '.join(ends)} % of that of the pre-trained policy"
            f"{_share_limits(rows)}; it collapses if the whole interval of its share is below "
            f"{100 * margins.collapse:g} %"
        )
    return _finding(claim, rows, lambda row: collapses(row, margins.collapse), details, analyses, "scratch")


def _share_limits(rows: Sequence[Record]) -> str:
    """` (limits of the intervals: 65 to 194 %)`, over the tested rows; empty if a limit is not known."""
    limits = [limit for row in rows if is_tested(row) for limit in share_interval(row)]
    if not limits or None in limits:
        return ""
    ends = dict.fromkeys(f"{100 * end(limits):.0f}" for end in (min, max))
    return f" (limits of the intervals: {' to '.join(ends)} %)"


def _finding(
    claim: str,
    rows: Sequence[Record],
    judge: Callable[[Record], str],
    details: str,
    analyses: Mapping[str, Analysis],
    table: str,
) -> Finding:
    count = tally(rows, judge)
    left_out = left_out_sentence(rows).removesuffix(".")
    if not count.tested:
        return Finding(claim, count, left_out)
    seeds = analyses[table].get("settings", {}).get("seeds") or [0]
    details = f"{concerning(seeds)}, {details}{_hinges(rows, analyses[table])}"
    return Finding(claim, count, f"{details}. {left_out}" if left_out else details)


def _hinges(rows: Sequence[Record], analysis: Analysis) -> str:
    """`; 2 of the differences are seen in one task alone (task 2)`: on what these differences hinge."""
    groups = {(row["variant"], row["benchmark"], row.get("auxiliary")) for row in rows}
    found = [
        hinge
        for hinge in analysis.get("hinges", [])
        if (hinge["variant"], hinge["benchmark"], hinge.get("auxiliary")) in groups
    ]
    words = {
        "task": "of the differences {} seen in one task alone",
        "seed": "of the differences {} seen in one training seed alone",
        "backbone": "of the mean differences over backbones {} seen in one backbone alone",
    }
    text = ""
    for kind, clause in words.items():
        own = [hinge["name"] for hinge in found if hinge["kind"] == kind]
        if own:
            shown = {"backbone": names.model, "seed": lambda name: f"seed {name}"}.get(kind, str)
            labels = [shown(name) for name in dict.fromkeys(own)]
            text += f"; {len(own)} {clause.format('is' if len(own) == 1 else 'are')} ({names.joined(labels)})"
    return text


def _counts(subject: str, rows: Sequence[Record], margin: float) -> str:
    return f"{subject} is {outcome_counts(rows, margin)}"


def _policy(row: Record) -> str:
    return f"{names.model(row['model'])} after {names.auxiliary(row['auxiliary'])}"


def _compared(
    analyses: Mapping[str, Analysis], table: str, selected: Callable[[Record], bool]
) -> list[Record]:
    """The `selected` rows of a table that hold a policy's score and its difference to another policy.

    Rows of older files have no outcome. If such a file says that the task was not learnt, they get it.
    """
    records = analyses.get(table, {}).get("records", [])
    flat = _not_learnt(records)
    found = [
        row
        for row in records
        if row["metric"] == score_metric(row["benchmark"])  # rows about a VLM itself have other metrics
        and row.get("difference") is not None
        and selected(row)
    ]
    return [
        {**row, "outcome": NOT_LEARNT}
        if not row.get("outcome") and (row["model"], row.get("auxiliary")) in flat
        else row
        for row in found
    ]


def _not_learnt(records: Sequence[Record]) -> set[tuple[str, str]]:
    """(backbone, task) whose own score, in the rows of a table, did not clearly rise."""
    limits: dict[tuple[str, str], dict[str, float]] = {}
    for row in records:
        if row["metric"] in ("auxiliary_score_before", "auxiliary_score_after"):
            key = "ci_high" if row["metric"].endswith("before") else "ci_low"
            limits.setdefault((row["model"], row["auxiliary"]), {})[key] = row[key]
    return {vlm for vlm, ends in limits.items() if len(ends) == 2 and not ends["ci_low"] > ends["ci_high"]}
