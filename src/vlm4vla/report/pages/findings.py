"""Which of the paper's four findings showed in a study, from the numbers behind its tables."""

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
    """`claim` as the paper has it; it showed in `shown` of `tried` tests, listed in words as `cases`.

    `tried` 0: the study has no records for it.
    """

    claim: str
    shown: int
    tried: int
    cases: str

    @property
    def verdict(self) -> str:
        """`shows here`, `shows in part`, `does not show here` or `was not tried`."""
        if not self.tried:
            return "was not tried"
        if self.shown == self.tried:
            return "shows here"
        return "shows in part" if self.shown else "does not show here"


def findings(analyses: Mapping[str, Analysis]) -> list[Finding]:
    """The four findings, from the analyses of tables by name; a table that is missing was not tried.

    A difference counts where its paired test has p < 0.05, a correlation where its permutation test has.
    """
    return [_skill(analyses), _auxiliary(analyses), _frozen(analyses), _scratch(analyses)]


def _skill(analyses: Mapping[str, Analysis]) -> Finding:
    found = [
        row
        for row in analyses.get("correlation", {}).get("records", [])
        if (row["metric"], row.get("question_set"), row["model"]) == ("pearson_r", OVERALL, ALL)
        and row["value"] is not None
    ]
    scale = _scale(analyses)
    cases = [
        f"{names.benchmark(row['benchmark'], scale)} r = {row['value']:.2f}, {names.p_value(row['p_value'])}"
        for row in found
    ]
    weak = [row for row in found if not (row["p_value"] < LEVEL and row["value"] > 0)]
    words = f"over {found[0]['backbones']} backbones: {'; '.join(cases)}" if found else ""
    claim = "A VLM's question score foretells the score of its policy poorly"
    return Finding(claim, len(weak), len(found), words)


def _auxiliary(analyses: Mapping[str, Analysis]) -> Finding:
    rows = _compared(analyses, "auxiliary", lambda row: row.get("auxiliary", contrast.NONE) != contrast.NONE)
    claim = "Fine-tuning on an auxiliary task first does not make control better"
    flat = [row for row in rows if not contrast.significant(row, +1)]
    better = [row for row in rows if contrast.significant(row, +1)]
    fell = sum(contrast.significant(row, -1) for row in rows)
    words = f"control fell after {fell} of {len(rows)} tasks and rose after {len(better)}"
    if better:
        words += f" ({names.joined([_policy(row) for row in better])})"
    return Finding(claim, len(flat), len(rows), words)


def _frozen(analyses: Mapping[str, Analysis]) -> Finding:
    rows = _compared(analyses, "freeze", lambda row: row["variant"] == "freeze-vision")
    lower = [row for row in rows if contrast.significant(row, -1)]
    claim = "Freezing the vision encoder hurts"
    return Finding(claim, len(lower), len(rows), _counted("a frozen one scores clearly lower", lower, rows))


def _scratch(analyses: Mapping[str, Analysis]) -> Finding:
    rows = _compared(analyses, "scratch", lambda row: row["variant"] == "scratch")
    lower = [row for row in rows if contrast.significant(row, +1)]  # pre-trained minus random weights
    claim = "Training from random weights collapses"
    words = _counted("random weights score clearly lower", lower, rows)
    if rows:
        shares = sorted(
            row["value"] / (row["value"] + row["difference"])
            for row in rows
            if row["value"] + row["difference"] > 0
        )
        if shares:
            words += (
                f"; they reach {100 * shares[0]:.0f} to {100 * shares[-1]:.0f} % of the pre-trained score"
            )
    return Finding(claim, len(lower), len(rows), words)


def _counted(what: str, some: Sequence[Any], rows: Sequence[Any]) -> str:
    return f"{what} in {len(some)} of {len(rows)} cells"


def _policy(row: Mapping[str, Any]) -> str:
    return f"{names.model(row['model'])} after {names.auxiliary(row['auxiliary'])}"


def _compared(
    analyses: Mapping[str, Analysis], table: str, wanted: Callable[[Mapping[str, Any]], bool]
) -> list[Mapping[str, Any]]:
    """Rows of a table's scores that were compared with another policy."""
    return [
        row
        for row in analyses.get(table, {}).get("records", [])
        if row["metric"] == score_metric(row["benchmark"])  # what is told of a VLM itself has others
        and row.get("difference") is not None
        and wanted(row)
    ]


def _scale(analyses: Mapping[str, Analysis]) -> str:
    return next((each["settings"]["scale"] for each in analyses.values()), "paper")
