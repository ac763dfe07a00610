"""The analysis of the paper's own numbers."""

from __future__ import annotations

import csv
import json
import re
import shutil
from pathlib import Path

import numpy as np
import pytest
from scipy import stats

from vlm4vla.core.errors import UserError
from vlm4vla.report.published_study.comparisons import DOES_NOT_SURVIVE, SURVIVES, UNDECIDED, compare_all
from vlm4vla.report.published_study.flags import find_flags
from vlm4vla.report.published_study.numbers import read_numbers
from vlm4vla.stages.published import run
from vlm4vla.study.outputs import published_outputs

PUBLISHED = Path(__file__).parents[3] / "workflow" / "published"


@pytest.fixture(scope="module")
def numbers():
    return read_numbers(PUBLISHED)


@pytest.fixture(scope="module")
def compared(numbers):
    return compare_all(numbers)


@pytest.fixture(scope="module")
def made(tmp_path_factory):
    folder = tmp_path_factory.mktemp("published")
    run(PUBLISHED, None, folder)
    return folder


def rows(folder: Path, table: str) -> list[dict[str, str]]:
    with (folder / "tables" / f"{table}.csv").open(newline="") as handle:
        return list(csv.DictReader(handle))


def test_run_writes_the_declared_files_only(made):
    written = {path.relative_to(made).as_posix() for path in made.rglob("*") if path.is_file()}
    assert written == set(published_outputs())


QWEN = ["qwen2.5-vl-3b", "qwen2.5-vl-7b"] + [f"qwen3-vl-{size}" for size in ("2b", "4b", "8b", "30b-a3b")]


def test_numbers_of_policies_that_saw_negatives_are_in_doubt(numbers):
    """Qwen's on Bridge and LIBERO-10, in every table, and no others."""
    for number in numbers:
        doubted = number.model in QWEN and number.benchmark in ("bridge", "libero-10")
        assert bool(number.doubt) == doubted
    assert {n.table for n in numbers if n.doubt} == {"main", "freeze", "fast_injection"}
    assert {n.model for n in numbers if n.doubt} == set(QWEN)


@pytest.mark.parametrize(("table", "marked"), [("main", 12), ("freeze", 6), ("fast_injection", 6)])
def test_marks_stand_at_the_numbers_in_doubt(made, table, marked):
    text = (made / "tables" / f"{table}.md").read_text()
    scores = text.split("## Scores")[1].split("##")[0].split("Published:")[0]
    assert scores.count("†") == marked
    assert text.count("† The released code trains Qwen on Bridge and LIBERO-10 with negatives") == 1
    assert sum("negatives" in row["note"] for row in rows(made, table)) == marked
    tex = (made / "tables" / f"{table}.tex").read_text()
    assert tex.isascii() and tex.count(r"\textdagger{}") >= marked + 1


def test_tables_without_doubts_have_no_mark(made):
    assert "†" not in (made / "tables" / "auxiliary.md").read_text()
    assert not any(row["note"] for row in rows(made, "auxiliary"))


def test_comparisons_name_the_doubts(made):
    for row in rows(made, "comparisons"):
        other = row["compared_with"].split("/")[0]
        doubted = row["benchmark"] in ("bridge", "libero-10") and {row["model"], other} & set(QWEN)
        assert bool(row["note"]) == bool(doubted)
    text = (made / "tables" / "comparisons.md").read_text()
    assert "| Qwen2.5-VL-3B† minus OpenVLA (expert)" in text and "Kosmos-2†" not in text


def test_a_model_that_is_not_in_the_paper_is_marked(made):
    text = (made / "tables" / "main.md").read_text()
    assert "| InternVL3.5-4B‡" in text and "‡ Not in the paper: hidden row of the project page." in text
    (row,) = {row["note"] for row in rows(made, "main") if row["model"] == "internvl3.5-4b"}
    assert row == "hidden row of the project page"


def test_rates_have_wilson_intervals(made):
    row = next(r for r in rows(made, "main") if (r["model"], r["benchmark"]) == ("kosmos-2", "bridge"))
    theirs = stats.binomtest(58, 96).proportion_ci(method="wilson")  # printed 60.4 %
    assert (float(row["ci_low"]), float(row["ci_high"])) == pytest.approx((theirs.low, theirs.high), abs=4e-4)
    assert row["episodes"] == "96" and not row["flag"]


def test_a_mean_alone_has_no_interval(made):
    lengths = [row for row in rows(made, "main") if row["metric"] == "average_length"]
    assert len(lengths) == 12
    for row in lengths:
        assert not row["ci_low"] and not row["ci_high"]
        assert float(row["widest_low"]) < float(row["value"]) < float(row["widest_high"])


def test_rates_determine_the_interval_of_the_mean(made):
    row = next(
        r
        for r in rows(made, "auxiliary")
        if (r["model"], r["auxiliary"], r["metric"]) == ("qwen2.5-vl-7b", "none", "average_length")
    )
    reached = np.array([0.936, 0.869, 0.807, 0.757, 0.690])
    chance = -np.diff([1, *reached, 0])  # probability of solving exactly 0 to 5
    sd = np.sqrt(chance @ np.arange(6) ** 2 - (chance @ np.arange(6)) ** 2)
    assert float(row["ci_high"]) == pytest.approx(4.06 + 1.96 * sd / np.sqrt(1000) + 0.01, abs=1e-3)


def test_flagged_numbers(numbers):
    flagged = {(flag.number.table, flag.number.text): flag for flag in find_flags(numbers)}
    assert flagged["fast_injection", "27.6"].fits == ("53 of 2 x 96",)
    assert flagged["main", "53.7"].fits == ("537 of 2 x 500", "805 or 806 of 3 x 500")
    assert (
        "46.9 % in tables 1 and 2" in [f.reason for f in find_flags(numbers) if f.number.text == "46.75"][1]
    )
    assert ("auxiliary", "0.735") in flagged
    assert ("main", "60.4") not in flagged and ("freeze", "46.88") not in flagged
    counts = {(flag.number.table, flag.number.text) for flag in find_flags(numbers)}
    assert len(counts) == 15


def test_comparisons_that_survive(compared):
    def verdicts(table: str, benchmark: str, question: str) -> list[str]:
        return [
            one.verdict
            for one in compared
            if (one.table, one.first.benchmark) == (table, benchmark) and question in one.question
        ]

    assert verdicts("main", "bridge", "backbone against backbone") == [DOES_NOT_SURVIVE] * 45
    assert verdicts("freeze", "calvin", "freeze-vision") == [SURVIVES] * 3
    assert verdicts("freeze", "bridge", "freeze-vision") == [SURVIVES] * 3
    assert SURVIVES not in verdicts("freeze", "bridge", "freeze-embedding")
    assert UNDECIDED in verdicts("main", "calvin", "backbone against backbone")
    assert verdicts("fast_injection", "bridge", "FAST tokens against none") == [DOES_NOT_SURVIVE] * 4


def test_p_agrees_with_scipy(compared):
    chosen = [one for one in compared if one.first.benchmark == "bridge" and one.p_least == one.p_value]
    for one in chosen[:: max(1, len(chosen) // 12)]:
        a, b = (round(number.value * 96) for number in (one.first, one.second))
        theirs = stats.boschloo_exact([[a, b], [96 - a, 96 - b]], n=64).pvalue
        assert one.p_value == pytest.approx(min(1, theirs), rel=1e-3)


def test_correlation_without_and_with_scores(made, tmp_path):
    stated = rows(made, "correlation")
    assert [row["value"] for row in stated] == ["0.839", "", ""]
    assert "question scores" in (made / "tables/correlation.md").read_text()
    scores = tmp_path / "scores.csv"
    models = _models()
    scores.write_text("model,score\n" + "".join(f"{model},{50 + 3 * i}\n" for i, model in enumerate(models)))
    run(PUBLISHED, scores, tmp_path / "out")
    found = [row for row in rows(tmp_path / "out", "correlation") if row["benchmark"] == "bridge"]
    row = next(row for row in found if row["model"].startswith("all") and row["metric"] == "pearson_r")
    values = [float(text) for text in _column("simpler_bridge_success")]
    theirs = stats.pearsonr(50 + 3 * np.arange(len(models)), values)
    assert float(row["value"]) == pytest.approx(theirs.statistic, abs=1e-5)
    left_out = [
        stats.pearsonr(np.delete(np.arange(len(models)), i), np.delete(values, i)).statistic
        for i in range(len(models))
    ]
    assert float(row["without_one_low"]) == pytest.approx(min(left_out), abs=1e-5)
    assert float(row["without_one_high"]) == pytest.approx(max(left_out), abs=1e-5)


def _main() -> list[dict[str, str]]:
    with (PUBLISHED / "main.csv").open(newline="") as handle:
        return [row for row in csv.DictReader(handle) if row["kind"] != "expert"]


def _models() -> list[str]:
    return [row["model"] for row in _main()]


def _column(name: str) -> list[str]:
    return [row[name] for row in _main()]


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("model\nkosmos-2\n", "column 'score' is missing"),
        ("model,score\nkosmos2,1\n", "unknown model 'kosmos2': did you mean 'kosmos-2'?"),
        ("model,score\nkosmos-2,1\nkosmos-2,2\n", "model 'kosmos-2' has two lines"),
        ("model,score\nkosmos-2,high\n", "score 'high' of 'kosmos-2' is not a number"),
        ("model,score\nkosmos-2,1\n", "1 models have a score: write at least 4"),
    ],
)
def test_invalid_scores_are_refused(tmp_path, text, message):
    (tmp_path / "scores.csv").write_text(text)
    with pytest.raises(UserError, match=re.escape(message)):
        run(PUBLISHED, tmp_path / "scores.csv", tmp_path / "out")
    assert not (tmp_path / "out").exists()


def test_impossible_number_is_refused(tmp_path):
    shutil.copytree(PUBLISHED, tmp_path / "published")
    path = tmp_path / "published" / "freeze.csv"
    path.write_text(path.read_text().replace("23.95", "239.5"))
    with pytest.raises(UserError, match=r"freeze: .*'239.5' is not a number from 0 to 100"):
        read_numbers(tmp_path / "published")


def test_tables_are_complete(made):
    for table in ("main", "freeze", "fast_injection", "auxiliary", "correlation", "comparisons", "flagged"):
        text = (made / "tables" / f"{table}.tex").read_text()
        assert text.isascii()
        for columns, body in re.findall(r"\\begin{tabular}{(\w+)}(.*?)\\end{tabular}", text, flags=re.S):
            lines = [line for line in body.splitlines() if line.endswith("\\\\")]
            assert lines
            assert all(len(re.findall(r"(?<!\\)&", line)) == len(columns) - 1 for line in lines)
        analysis = json.loads((made / "analysis" / f"{table}.json").read_text())
        assert len(analysis["records"]) == len(rows(made, table))
