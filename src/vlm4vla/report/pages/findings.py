"""Which of the paper's four findings a study shows, from the numbers behind its tables."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from vlm4vla.conventions.benchmarks import score_metric
from vlm4vla.report import names
from vlm4vla.report.rows import contrasts as contrast
from vlm4vla.report.rows.capability_scores import OVERALL
from vlm4vla.report.rows.correlations import ALL, LEVEL

Analysis = Mapping[str, Any]  # the JSON of one table


@dataclass(frozen=True)
class Finding:
    """A `claim` of the paper. `shown` of `tested` tests show the claim; `details` describes them in words.

    `tested` is 0 if the study has no records for the claim.
    """

    claim: str
    shown: int
    tested: int
    details: str

    @property
    def verdict(self) -> str:
        """`This study shows it`, `... shows it in part`, `... does not show it` or `... did not test it`."""
        if not self.tested:
            return "This study did not test it"
        if self.shown == self.tested:
            return "This study shows it"
        return "This study shows it in part" if self.shown else "This study does not show it"


def findings(analyses: Mapping[str, Analysis]) -> list[Finding]:
    """The four findings, from the `analyses` of the tables by name.

    A finding whose table is missing counts as not tested. A difference counts if it is significant at the 5 %
    level after correction (`contrasts.significant`), a correlation if its permutation test has p < 0.05.
    """
    return [_correlation(analyses), _auxiliary(analyses), _freeze(analyses), _scratch(analyses)]


def _correlation(analyses: Mapping[str, Analysis]) -> Finding:
    found = [
        row
        for row in analyses.get("correlation", {}).get("records", [])
        if (row["metric"], row.get("question_set"), row["model"]) == ("pearson_r", OVERALL, ALL)
        and row["value"] is not None
    ]
    scale = _scale(analyses)
    results = []
    for row in found:
        benchmark = names.benchmark(row["benchmark"], scale)
        results.append(f"r = {row['value']:.2f} on {benchmark}, {names.p_value(row['p_value'])}")
    weak = [row for row in found if not (row["p_value"] < LEVEL and row["value"] > 0)]
    details = f"over {found[0]['backbones']} backbones, {'; '.join(results)}" if found else ""
    claim = "The question score of a VLM predicts the score of its policy poorly"
    return Finding(claim, len(weak), len(found), details)


def _auxiliary(analyses: Mapping[str, Analysis]) -> Finding:
    rows = _compared(analyses, "auxiliary", lambda row: row.get("auxiliary", contrast.NONE) != contrast.NONE)
    claim = "Fine-tuning the VLM on an auxiliary task first does not improve control"
    not_better = [row for row in rows if not contrast.significant(row, +1)]
    better = [row for row in rows if contrast.significant(row, +1)]
    worse = sum(contrast.significant(row, -1) for row in rows)
    details = f"control became significantly worse after {worse} of {len(rows)} tasks "
    details += f"and significantly better after {len(better)}"
    if better:
        details += f" ({names.joined([_policy(row) for row in better])})"
    return Finding(claim, len(not_better), len(rows), details)


def _freeze(analyses: Mapping[str, Analysis]) -> Finding:
    rows = _compared(analyses, "freeze", lambda row: row["variant"] == "freeze-vision")
    lower = [row for row in rows if contrast.significant(row, -1)]
    claim = "Freezing the vision encoder hurts"
    details = _count("the policy with a frozen encoder scores significantly lower", lower, rows)
    return Finding(claim, len(lower), len(rows), details)


def _scratch(analyses: Mapping[str, Analysis]) -> Finding:
    rows = _compared(analyses, "scratch", lambda row: row["variant"] == "scratch")
    lower = [row for row in rows if contrast.significant(row, +1)]  # pre-trained minus random weights
    claim = "Training from random weights collapses"
    details = _count("the policy from random weights scores significantly lower", lower, rows)
    if rows:
        shares = sorted(
            row["value"] / (row["value"] + row["difference"])
            for row in rows
            if row["value"] + row["difference"] > 0
        )
        if shares:
            details += (
                f"; across cells, its score is {100 * shares[0]:.0f} to {100 * shares[-1]:.0f} % of the "
                "score of the pre-trained policy"
            )
    return Finding(claim, len(lower), len(rows), details)


def _count(statement: str, some: Sequence[Any], rows: Sequence[Any]) -> str:
    return f"{statement} in {len(some)} of {len(rows)} cells"


def _policy(row: Mapping[str, Any]) -> str:
    return f"{names.model(row['model'])} after {names.auxiliary(row['auxiliary'])}"


def _compared(
    analyses: Mapping[str, Analysis], table: str, selected: Callable[[Mapping[str, Any]], bool]
) -> list[Mapping[str, Any]]:
    """The `selected` rows of a table that hold a policy's score and its difference to another policy."""
    return [
        row
        for row in analyses.get(table, {}).get("records", [])
        if row["metric"] == score_metric(row["benchmark"])  # rows about a VLM itself have other metrics
        and row.get("difference") is not None
        and selected(row)
    ]


def _scale(analyses: Mapping[str, Analysis]) -> str:
    return next((each["settings"]["scale"] for each in analyses.values()), "paper")
