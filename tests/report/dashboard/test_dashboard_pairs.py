"""The numbers of the dashboard are those of `vlm4vla compare`, in both orders, and of scipy."""

from __future__ import annotations

import csv
from dataclasses import replace
from pathlib import Path

import pandas as pd
import pytest
import synthetic_study as made
from listed_studies import entry, records, rollout
from scipy.stats import binomtest, boschloo_exact
from statsmodels.stats.multitest import multipletests

from vlm4vla import cli
from vlm4vla.report.dashboard.pairs import all_cells, chosen, comparison_data
from vlm4vla.report.rows.cells import Cell
from vlm4vla.report.rows.table import TIDY

BRIDGE = Cell("kosmos-2", "full", "bridge")


@pytest.fixture(scope="module")
def folders(tmp_path_factory):
    root = tmp_path_factory.mktemp("results")
    return [
        records(root / "a", 0.4),
        records(root / "b", 0.75),
        records(root / "c", 0.5, count=60),
        records(root / "d", 0.5, models=["qwen3-vl-2b"]),
    ]


@pytest.fixture(scope="module")
def listed(folders):
    entries = [entry(folder) for folder in folders]
    cells = {cell: str(number) for number, cell in enumerate(all_cells(entries))}
    return comparison_data(entries, range(len(entries))), cells


def outcomes(root: Path):
    return pd.read_parquet(rollout(root, "kosmos-2"))["success"].to_numpy()


@pytest.mark.parametrize(("first", "second"), [(0, 1), (1, 0), (0, 2), (2, 1)])
def test_every_number_is_that_of_compare(folders, listed, tmp_path, capsys, first, second):
    data, cells = listed
    output = tmp_path / "c.csv"
    assert cli.main(["compare", str(folders[first]), str(folders[second]), "--output", str(output)]) == 0
    with output.open(newline="") as handle:
        expected = list(csv.DictReader(handle))
    markdown = (tmp_path / "c.md").read_text().replace("\xa0", " ")
    rows = data["pairs"][f"{first}-{second}"]["rows"]
    assert len(expected) == len(rows) == 4
    for row in expected:
        cell = Cell(row["model"], row["variant"], row["benchmark"], row["auxiliary"])
        text, difference, low, high, told, p, adjusted, words, remark = rows[cells[cell]]
        numbers = {"value": difference, "ci_low": low, "ci_high": high, "p_value": p, "p_adjusted": adjusted}
        for name, value in numbers.items():
            assert f"{value:.6g}" == row[name]
        apart = float(row["p_adjusted"]) < 0.05
        assert told == (("higher" if difference > 0 else "lower") if apart else "not told apart")
        assert remark == row["test"] + (", not paired" if row["why_unpaired"] else "")
        assert row["why_unpaired"] in data["pairs"][f"{first}-{second}"]["about"]
        scores = [data["studies"][str(place)]["scores"][cells[cell]] for place in (first, second)]
        assert f"| {scores[0][0]} | {scores[1][0]} | {text} |" in " ".join(markdown.split())
        assert f"| {words.removesuffix(' after Holm')} |" in " ".join(markdown.split())
        assert scores[1][1] - scores[0][1] == pytest.approx(difference)


def test_a_paired_cell_is_that_of_scipy(folders, listed):
    data, cells = listed
    a, b = outcomes(folders[0]), outcomes(folders[1])
    wins, losses = int((b & ~a).sum()), int((a & ~b).sum())
    p = binomtest(wins, wins + losses).pvalue
    row = data["pairs"]["0-1"]["rows"][cells[BRIDGE]]
    assert row[1] == pytest.approx(b.mean() - a.mean()) and row[2] < row[1] < row[3]
    assert row[5] == pytest.approx(p) and row[8] == "McNemar"
    rows = data["pairs"]["0-1"]["rows"].values()
    expected = multipletests([each[5] for each in rows], method="holm")[1]
    assert [each[6] for each in rows] == pytest.approx(list(expected))


def test_an_unpaired_cell_is_that_of_scipy(folders, listed):
    data, cells = listed
    a, c = outcomes(folders[0]), outcomes(folders[2])
    p = boschloo_exact([[c.sum(), a.sum()], [(~c).sum(), (~a).sum()]], n=128).pvalue
    row = data["pairs"]["0-2"]["rows"][cells[BRIDGE]]
    assert row[1] == pytest.approx(c.mean() - a.mean()) and row[5] == pytest.approx(p, rel=1e-4)
    assert row[8] == "Boschloo, not paired"


def test_the_words_count_the_cells(listed):
    data, _ = listed
    rows = data["pairs"]["0-1"]["rows"].values()
    higher = sum(row[4] == "higher" for row in rows)
    assert higher > 0
    assert data["pairs"]["0-1"]["about"].startswith(
        f"b minus a: 4 shared cells; higher in {higher}, lower in"
    )
    assert data["pairs"]["1-0"]["about"].startswith(
        f"a minus b: 4 shared cells; higher in 0, lower in {higher}"
    )
    assert data["pairs"]["0-3"] == {"about": "d and a share no cell.", "rows": {}}


def test_several_seeds_are_tested_over_seeds(tmp_path):
    for name, skill in (("one", 0.4), ("two", 0.6)):
        for seed in (0, 1, 2):
            records(tmp_path / name, skill, models=["kosmos-2"], benchmarks=["bridge"], seed=seed)
    data = comparison_data([entry(tmp_path / name) for name in ("one", "two")], [0, 1])
    assert "seeds and states" in data["pairs"]["0-1"]["rows"]["0"][8]
    assert "over training seeds and initial states" in data["pairs"]["0-1"]["about"]


def test_studies_without_records_are_shown_and_not_tested(folders, tmp_path):
    table = tmp_path / "tables-only/tables/main.csv"
    table.parent.mkdir(parents=True)
    table.write_text(",".join(TIDY) + "\nkosmos-2,full,bridge,success_rate,0.5,0.4,0.6,96,1,\n")
    entries = [entry(folders[0]), entry(table.parents[1])]
    data = comparison_data(entries, [0, 1])
    number = str(all_cells(entries).index(BRIDGE))
    assert data["studies"]["1"]["scores"] == {number: ["50.0 [40.0, 60.0]", 0.5]}
    assert data["pairs"]["0-1"]["rows"] == {}
    assert "tables-only: no episode records, so differences cannot be tested" in data["pairs"]["0-1"]["about"]


def test_cells_are_in_the_order_of_the_tables(tmp_path):
    root = tmp_path / "a"
    for variant in ("scratch", "full", "freeze-vision"):
        for benchmark in ("libero-10", "calvin"):
            made.write_episodes(root, made.episodes("kosmos-2", variant, benchmark, 0.5, count=12))
    records(root, 0.5, models=["random", "expert", "qwen3-vl-2b", "paligemma-1"], count=12)
    order = [(cell.model, cell.variant) for cell in all_cells([entry(root)]) if cell.benchmark == "calvin"]
    kosmos = [("kosmos-2", variant) for variant in ("full", "freeze-vision", "scratch")]
    others = [(model, "full") for model in ("paligemma-1", "qwen3-vl-2b", "random", "expert")]
    assert order == kosmos + others


def test_only_the_newest_studies_are_compared(folders):
    entries = [entry(folder) for folder in folders]
    dated = [
        replace(each, started=day)
        for each, day in zip(entries, ("2026-01-02", "", "2026-01-03", "2026-01-01"), strict=True)
    ]
    assert chosen(dated, 2) == [0, 2] and chosen(dated, 9) == [0, 1, 2, 3] and chosen(dated, 0) == []


def test_rollouts_with_another_number_of_executed_steps_are_left_out(folders, tmp_path):
    root = records(tmp_path / "e", 0.5, models=["kosmos-2"], benchmarks=["bridge"])
    path = rollout(root, "kosmos-2")
    other = path.parent.with_name("seed0-executed4") / path.name
    other.parent.mkdir()
    pd.read_parquet(path).assign(execution_horizon=4, protocol="4 executed").to_parquet(other)
    found = entry(root)
    assert found.faults == [] and found.scores[BRIDGE].episodes == 96
    assert cli.main(["compare", str(folders[0]), str(root)]) == 0


def test_a_pair_that_fails_is_one_line(folders, monkeypatch):
    def fail(*_):
        raise ZeroDivisionError("a\nb")

    monkeypatch.setattr("vlm4vla.report.dashboard.pairs.compare_records", fail)
    data = comparison_data([entry(folders[0]), entry(folders[1])], [0, 1])
    assert data["pairs"]["0-1"]["about"] == "b and a cannot be compared: ZeroDivisionError: a\\nb"
