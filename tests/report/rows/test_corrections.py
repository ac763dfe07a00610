"""Corrections of differences: Holm for scores, and no outcome of another metric without its score."""

import pandas as pd
import pytest
import synthetic_study as made
from statsmodels.stats.multitest import multipletests

from vlm4vla.report.rows.cells import measure
from vlm4vla.report.rows.contrasts import add_contrasts
from vlm4vla.report.rows.decisions import HIGHER, LOWER
from vlm4vla.report.rows.paper_numbers import Published

METRICS = {"calvin": ["average_length", *(f"success_at_{count}" for count in range(1, 6))]}


@pytest.fixture(scope="module")
def rows():
    skills = {"kosmos-2": (0.7, 0.62), "paligemma-1": (0.7, 0.4), "qwen2.5-vl-3b": (0.7, 0.66)}
    records = pd.concat(
        [
            made.episodes(model, variant, "calvin", skill)
            for model, pair in skills.items()
            for variant, skill in zip(("full", "freeze-vision"), pair, strict=True)
        ]
    )
    cells = [(model, variant, "calvin") for model in skills for variant in ("full", "freeze-vision")]
    rows, _ = measure(records, cells, METRICS, Published({}, {}), "embedded")
    add_contrasts(rows, records, "full", 0.05)
    return [row for row in rows if row["variant"] != "full"]


def test_scores_have_holms_p(rows):
    scores = [row for row in rows if row["metric"] == "average_length"]
    expected = multipletests([row["p_value"] for row in scores], method="holm")[1]
    assert [row["p_adjusted"] for row in scores] == pytest.approx(expected)


def test_another_metric_is_decided_only_with_its_score(rows):
    """Its p is that of Benjamini and Hochberg, or that of the score if this is larger."""
    scores = {row["model"]: row for row in rows if row["metric"] == "average_length"}
    others = [row for row in rows if row["metric"] != "average_length"]
    corrected = multipletests([row["p_value"] for row in others], method="fdr_bh")[1]
    for row, p in zip(others, corrected, strict=True):
        assert row["p_adjusted"] == pytest.approx(max(p, scores[row["model"]]["p_adjusted"]))
        if row["outcome"] in (HIGHER, LOWER):
            assert scores[row["model"]]["outcome"] in (HIGHER, LOWER)
    assert any(row["outcome"] == LOWER for row in others)
    assert any(row["p_value"] < row["p_adjusted"] == scores[row["model"]]["p_adjusted"] for row in others)
