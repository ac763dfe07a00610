"""Question scores that the user gives for the paper's backbones, and their correlation."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from scipy import stats

from vlm4vla.analysis.sensitivity import FRAGILE, GROUPS, NOT_DEFINED, UNDECIDED
from vlm4vla.core.errors import UserError
from vlm4vla.report.published_study.correlation_table import SCORED, build
from vlm4vla.report.published_study.numbers import EXPERT, read_numbers
from vlm4vla.report.published_study.scores import read_scores
from vlm4vla.report.rows.correlations import ALL
from vlm4vla.report.rows.paper_numbers import read_published_correlation

PUBLISHED = Path(__file__).parents[3] / "workflow" / "published"
NUMBERS, STATED = read_numbers(PUBLISHED), read_published_correlation(PUBLISHED)
MAIN = [number for number in NUMBERS if number.table == "main" and number.kind != EXPERT]
MODELS = list(dict.fromkeys(number.model for number in MAIN))


def made(scores):
    return build(NUMBERS, STATED, scores)


def rows(table, benchmark, group=ALL):
    """Rows of r, rho and tau."""
    label = f"{group}, given scores"
    return [row for row in table.records if (row["model"], row["benchmark"]) == (label, benchmark)]


def policies(benchmark):
    return [number.value for number in MAIN if number.benchmark == benchmark]


def test_the_coefficients_agree_with_scipy():
    x = [61, 66, 62, 65, 68, 69, 50, 52, 25, 60]
    table = made(dict(zip(MODELS, map(float, x), strict=True)))
    for benchmark in ("calvin", "bridge", "libero-10"):
        y = policies(benchmark)
        found = {row["metric"]: row["value"] for row in rows(table, benchmark)}
        theirs = (stats.pearsonr(x, y), stats.spearmanr(x, y), stats.kendalltau(x, y))
        assert list(found) == ["pearson_r", "spearman_rho", "kendall_tau"]
        assert list(found.values()) == pytest.approx([each.statistic for each in theirs])


def test_holm_corrects_each_coefficient_over_the_benchmarks():
    table = made({model: 50.0 + 3 * i for i, model in enumerate(MODELS)})
    for place in range(3):
        own = [rows(table, benchmark)[place] for benchmark in ("calvin", "bridge", "libero-10")]
        p = np.array([row["p_value"] for row in own])
        order, largest = np.argsort(p), 0.0
        for step, index in enumerate(order):
            largest = max(largest, min(1.0, (3 - step) * p[index]))
            assert own[index]["p_adjusted"] == pytest.approx(largest)


def test_a_correlation_of_families_is_not_one_of_backbones():
    """Qwen's six backbones answer well and are good on CALVIN, the others are neither."""
    x = [61.0, 66, 62, 65, 68, 69, 50, 52, 25, 60]
    table = made(dict(zip(MODELS, x, strict=True)))
    row = rows(table, "calvin")[0]
    assert row["p_adjusted"] < 0.05 and row["value"] > 0.9 and row["outcome"] in (GROUPS, FRAGILE)
    (sentence,) = [each for each in table.verdicts if each.startswith(f"CALVIN ABC-D, {ALL}, given")]
    assert row["verdict"] in sentence
    check = table.details["sensitivity"][0]
    assert check["families"]["families"] == 4  # Qwen, PaliGemma, Kosmos-2 and InternVL


def test_scores_that_are_all_alike():
    table = made(dict.fromkeys(MODELS, 5.0))
    for benchmark in ("calvin", "bridge", "libero-10"):
        for row in rows(table, benchmark):
            assert row["value"] is None and row["p_value"] is None
        assert rows(table, benchmark)[0]["outcome"] == NOT_DEFINED
    assert sum("r is not defined over 10 backbones" in each for each in table.verdicts) == 3
    assert f"correlation on CALVIN ABC-D, {ALL}" in table.gaps
    assert "r = 0.00" not in table.markdown() and "nan" not in table.markdown()


def test_models_without_a_score_are_named():
    table = made({model: float(i * i) for i, model in enumerate(MODELS[:7])})
    assert table.gaps == [
        f"question score of {name}" for name in ("PaliGemma-2", "Kosmos-2", "InternVL3.5-4B")
    ]
    assert not rows(table, "calvin") and rows(table, "calvin", SCORED)[0]["backbones"] == 7
    assert "Not measured: question score of PaliGemma-2; " in table.markdown()


def test_r_without_the_backbone_that_differs_does_not_exist():
    table = made({model: float(model == MODELS[3]) for model in MODELS})
    row = rows(table, "calvin")[0]
    y = policies("calvin")
    other = [
        stats.pearsonr(np.delete(np.arange(10) == 3, i).astype(float), np.delete(y, i)).statistic
        for i in range(10)
        if i != 3
    ]
    assert (row["without_one_low"], row["without_one_high"]) == pytest.approx((min(other), max(other)))
    assert row["outcome"] == UNDECIDED
    sentences = [each for each in table.verdicts if "given scores" in each]
    assert len(sentences) == 6 and all("Without Qwen3-VL-4B, r is not defined." in each for each in sentences)
    assert not any("0.00 (without" in each for each in sentences)


@pytest.fixture
def read(tmp_path):
    def read(text):
        path = tmp_path / "scores.csv"
        path.write_text(text)
        return read_scores(path, set(MODELS))

    return read


LINES = "".join(f"{model},{50 + i}\n" for i, model in enumerate(MODELS[:4]))


def test_a_byte_order_mark_is_accepted(read):
    assert read("\ufeffmodel,score\n" + LINES) == dict(zip(MODELS, (50, 51, 52, 53), strict=False))


def test_shares_and_negative_scores_are_units_of_their_own(read):
    text = "model,score\n" + "".join(
        f"{model},{value}\n" for model, value in zip(MODELS, "0234", strict=False)
    )
    assert list(read(text).values()) == [0, 2, 3, 4]
    for values in ((0.2, 0.3, 0.004, 1.0), (-3.0, 0.4, 12.0, 5.0)):
        text = "model,score\n" + "".join(f"{m},{v}\n" for m, v in zip(MODELS, values, strict=False))
        assert list(read(text).values()) == list(values)


@pytest.mark.parametrize(
    ("line", "words"),
    [
        ("kosmos-2,0.62", "line 6: score 0.62 of 'kosmos-2' is below 1, but other scores are up to 53"),
        ("kosmos-2,62.5*", "line 6: score '62.5*' of 'kosmos-2' is not a number: write the number alone"),
        ("kosmos-2,62.5 %", "line 6: score '62.5 %' of 'kosmos-2' is not a number: write the number alone"),
        (
            'kosmos-2,"1,234"',
            "line 6: score '1,234' of 'kosmos-2' is not a number: write decimals with a point",
        ),
        ("kosmos-2,62,5", "line 6: 3 cells, but the header has 2 columns"),
        ("kosmos-2,nan", "line 6: score 'nan' of 'kosmos-2' is not a number"),
        ("kosmos-2,inf", "line 6: score 'inf' of 'kosmos-2' is not a number"),
        ("kosmos-2,", "line 6: score '' of 'kosmos-2' is not a number"),
        (f"{MODELS[0]},62", f"line 6: model '{MODELS[0]}' has two lines"),
        ("openvla,62", "line 6: unknown model 'openvla'"),
    ],
)
def test_a_bad_line_is_named(read, line, words):
    with pytest.raises(UserError) as error:
        read("model,score\n" + LINES + line + "\n")
    assert words in str(error.value) and "\n" not in str(error.value)
