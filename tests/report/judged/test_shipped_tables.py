"""The tables of other papers in workflow/published/others, and the page that says what survives in them."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from vlm4vla.report.judged.table_file import read_table
from vlm4vla.report.judged.tables import sentences
from vlm4vla.report.judged.verdicts import NOT_DECIDABLE, judge
from vlm4vla.report.published_study.comparisons import SURVIVES
from vlm4vla.study.outputs import OTHER_PAPERS

ROOT = Path(__file__).parents[3]
OTHERS = ROOT / "workflow" / "published" / "others"
PAGE = " ".join((ROOT / "docs" / "judge.md").read_text().split())


@pytest.fixture(scope="module")
def judged():
    tables = {name: read_table(OTHERS / f"{name}.csv") for name in OTHER_PAPERS}
    return {name: (table, judge(table)) for name, table in tables.items()}


def test_every_table_is_shipped_with_its_source_and_date(judged):
    assert {path.stem for path in OTHERS.iterdir()} == set(OTHER_PAPERS)
    for table, _ in judged.values():
        assert re.search(r"arXiv \d{4}\.\d{5}", table.headings["source"])
        assert re.search(r"20\d\d-\d\d-\d\d", table.headings["date"])


def test_the_page_says_what_the_command_prints(judged):
    for name, (table, comparisons) in judged.items():
        section = PAGE.split(f"others/{name}.csv`")[1].split("###")[0]
        for sentence in sentences(table, comparisons):
            assert f"- {sentence}" in section, name


def test_the_example_of_the_page_can_be_judged(tmp_path):
    text = (ROOT / "docs" / "judge.md").read_text().split("```csv\n")[1].split("```")[0]
    (tmp_path / "example.csv").write_text(text)
    (found,) = judge(read_table(tmp_path / "example.csv"))
    assert found.p_value == found.adjusted > 0.05


def test_what_the_page_says_of_single_rows(judged):
    libero = [each for each in judged["starvla_libero"][1] if each.verdict == SURVIVES]
    assert len(libero) == 9 and all(each.difference < 0 for each in libero)
    openvla = {
        (each.first.row.split()[0], each.second.row.split()[0], each.first.column)
        for each in judged["openvla_libero"][1]
        if each.verdict == SURVIVES
    }
    assert openvla == {
        ("Diffusion", "Octo", "LIBERO-Goal"),
        ("Diffusion", "OpenVLA", "LIBERO-Goal"),
        ("Diffusion", "Octo", "LIBERO-Object"),
    }
    scratch, others = [], []
    for each in judged["rethinking_vlm"][1]:
        assert each.verdict == NOT_DECIDABLE
        (scratch if each.first.row == "from scratch" else others).append(each)
    assert (min(e.needed for e in scratch), max(e.needed for e in scratch)) == (60, 112)
    best = max(others, key=lambda each: each.difference)
    assert (best.first.row, round(best.difference, 3), best.needed) == ("Temporal", 0.04, 711)


def test_the_averages_that_the_note_names_are_not_means_of_the_tasks(judged):
    table, _ = judged["starvla_simpler"]
    wrong = []
    for row in table.rows:
        values = [number.value for number in table.numbers if number.row == row]
        if abs(sum(values[:4]) / 4 - values[4]) > 0.0011:  # roundings of the five printed numbers
            wrong.append(row)
    assert wrong == ["pi0-FAST", "Magma"]
