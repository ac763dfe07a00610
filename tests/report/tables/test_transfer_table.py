"""The table transfer, from records whose rankings are known in closed form."""

from __future__ import annotations

import hashlib
import json
import math
import zipfile

import pytest
import synthetic_study as made
from table_checks import only, read_rows

from vlm4vla.analysis.transfer import CARRIES, HALVES, NOT_CARRIED, SEEDS, UNTOLD
from vlm4vla.conventions.lineages import PUBLISHED_FAMILIES
from vlm4vla.core.errors import UserError
from vlm4vla.report.captions import CARRY_OVER
from vlm4vla.report.rows.table import NO_BREAK
from vlm4vla.stages.table import run

TEN = made.TEN
PAIR = ["bridge", "libero-10"]
UP, DOWN = list(range(10)), list(range(9, -1, -1))
MIXED = [4, 9, 0, 7, 2, 5, 8, 1, 6, 3]


def closed_form(order):
    differences = sum((place - other) ** 2 for place, other in enumerate(order))
    return 1 - 6 * differences / (10 * 99)


def make(output, episodes, table="transfer", seeds=(0,), **changes):
    cells = {"benchmarks": PAIR}
    given = made.settings(table, cells, seeds=list(seeds), **changes)
    return run(given, episodes=episodes, published=made.PUBLISHED, output=output)


def pair_row(output, **wanted):
    return only(read_rows(output, "transfer"), metric="spearman_rho", **wanted)


@pytest.mark.parametrize(
    ("order", "outcome", "words"),
    [
        (UP, CARRIES, "the ranking carries over; rho = 1.00 [0.9"),
        (DOWN, NOT_CARRIED, "the ranking does not carry over, but is reversed; rho = -1.00 [-1.00, -0.9"),
        (MIXED, UNTOLD, "whether the ranking carries over cannot be told with 10 backbones"),
    ],
)
def test_rankings_of_one_study(tmp_path, order, outcome, words):
    episodes = made.write_ranked(tmp_path, {"bridge": UP, "libero-10": order})
    make(tmp_path, episodes, families=PUBLISHED_FAMILIES)
    row = pair_row(tmp_path)
    assert (row["benchmark"], row["other_benchmark"], row["other_study"]) == (*PAIR, "")
    assert (row["backbones"], row["episodes"], row["seeds"]) == ("10", "44", "1")
    assert float(row["value"]) == pytest.approx(closed_form(order), abs=1e-5)
    assert row["p_method"] == "exact permutation" and row["p_value"] == row["p_adjusted"]
    if abs(closed_form(order)) == 1:
        assert float(row["p_value"]) == pytest.approx(2 / math.factorial(10), rel=1e-4)
    assert row["outcome"] == outcome
    assert row["repeats_by"] == HALVES and 0.9 < float(row["ceiling"]) <= 1
    text = (tmp_path / "tables" / "transfer.md").read_text().replace(NO_BREAK, " ")
    assert f"- Bridge (embedded) and LIBERO-10 (embedded): {words}" in text
    assert "a bound for the noise of evaluation only" in text and "within 0.5 of 0" in text
    repeats = [each for each in read_rows(tmp_path, "transfer") if each["metric"] == "rank_reliability"]
    assert [each["benchmark"] for each in repeats] == PAIR
    squared = float(repeats[0]["value"]) * float(repeats[1]["value"])
    assert float(row["ceiling"]) ** 2 == pytest.approx(squared, rel=1e-4)


def test_three_seeds_that_agree_have_no_noise(tmp_path):
    episodes = made.write_ranked(tmp_path, {"bridge": UP, "libero-10": MIXED}, seeds=(0, 1, 2))
    make(tmp_path, episodes, seeds=(0, 1, 2))
    row = pair_row(tmp_path)
    assert (row["seeds"], row["repeats_by"], row["ceiling"]) == ("3", SEEDS, "1")
    assert float(row["value"]) == pytest.approx(closed_form(MIXED), abs=1e-5)
    text = (tmp_path / "tables" / "transfer.md").read_text()
    assert "Reliability by training seeds" in text and "noise of evaluation only" not in text


def test_one_seed_that_is_reversed_leaves_no_ranking(tmp_path):
    episodes = made.write_ranked(tmp_path, {"bridge": UP, "libero-10": UP}, seeds=(0,))
    episodes += made.write_ranked(tmp_path, {"bridge": DOWN, "libero-10": UP}, seeds=(1,))
    make(tmp_path, episodes, seeds=(0, 1))
    found = read_rows(tmp_path, "transfer")
    bridge = only(found, metric="rank_reliability", benchmark="bridge")
    assert (bridge["single"], bridge["value"]) == ("-1", "0")
    row = pair_row(tmp_path)
    assert row["value"] == "" and row["ceiling"] == "0"  # all means on Bridge are equal
    assert (
        "cannot be told with 10 backbones, over which rho is not defined"
        in (tmp_path / "tables" / "transfer.md").read_text()
    )


@pytest.fixture
def beside(tmp_path):
    """Another study: eight of the ten backbones and one more, on a real benchmark, in the same order."""
    root = tmp_path / "beside"
    models = [*TEN[:8], "another"]
    made.write_ranked(root, {"bridge": [*range(8), 0]}, models, study="beside", scale="paper")
    return root


def test_the_benchmarks_of_another_study(tmp_path, beside):
    episodes = made.write_ranked(tmp_path, {"bridge": UP, "libero-10": MIXED})
    packed = tmp_path / "beside.zip"
    with zipfile.ZipFile(packed, "w") as archive:
        for path in sorted(beside.rglob("*.parquet")):
            archive.write(path, f"results/beside/{path.relative_to(beside)}")
    make(tmp_path / "folder", episodes, transfer={"records": [str(beside)]})
    make(tmp_path / "packed", episodes, transfer={"records": [str(packed)]})
    for output in (tmp_path / "folder", tmp_path / "packed"):
        found = read_rows(output, "transfer")
        assert [row["other_study"] for row in found if row["metric"] == "spearman_rho"] == [
            "",
            "beside",
            "beside",
        ]
        row = pair_row(output, benchmark="bridge", other_study="beside")
        assert (row["other_benchmark"], row["backbones"], row["value"]) == ("bridge", "8", "1")
        assert row["published"] == ""  # both are the paper's Bridge
        text = (output / "tables" / "transfer.md").read_text()
        assert "Bridge (embedded) and Bridge of the study beside: the ranking carries over" in text
        assert "Kosmos-2 in the study beside; InternVL3.5-4B in the study beside" in text
        assert "The study beside has the scale paper and 1 training seed in each cell" in text
    assert read_rows(tmp_path / "folder", "transfer") == read_rows(tmp_path / "packed", "transfer")
    analyses = [
        json.loads((tmp_path / output / "analysis" / "transfer.json").read_text())
        for output in ("folder", "packed")
    ]
    assert [row["model"] for row in analyses[0]["policies"] if row.get("other_study")] == TEN[:8]
    files = sorted(beside.rglob("*.parquet"))[1:]  # without that of `another`
    hashes = "\n".join(hashlib.sha256(path.read_bytes()).hexdigest() for path in files)
    digest = hashlib.sha256(hashes.encode()).hexdigest()
    assert analyses[0]["other_studies"] == analyses[1]["other_studies"] == {"beside": digest}


def test_records_that_do_not_belong_together_are_refused(tmp_path, beside):
    episodes = made.write_ranked(tmp_path, {"bridge": UP, "libero-10": UP})
    made.write_ranked(beside, {"calvin": [0]}, TEN[:1], study="a third", scale="paper")
    with pytest.raises(UserError, match=r"transfer.records: .*: study is mixed \(a third, beside\)"):
        make(tmp_path, episodes, transfer={"records": [str(beside)]})


@pytest.mark.usefixtures("numbers_only")
def test_captions_of_embedded_tables(tmp_path, beside):
    """Rho is 1 from Bridge, and open from LIBERO-10: only the second one is in the caption."""
    episodes = made.write_ranked(tmp_path, {"bridge": UP, "libero-10": MIXED})
    make(tmp_path, episodes, transfer={"records": [str(beside)]})
    make(tmp_path, episodes, "main", carry_over="numbers")
    make(tmp_path, episodes, "freeze", carry_over="name")
    rho = float(pair_row(tmp_path, benchmark="libero-10", other_study="beside")["value"])
    sentence = (
        f"Whether the ranking of the backbones on LIBERO-10 (embedded) (rho = {rho:.2f}) carries over to "
        "Bridge of the study beside cannot be told with 8 backbones (table transfer)."
    )
    main = json.loads((tmp_path / "analysis" / "main.json").read_text())["caption"]
    assert main.endswith(f" {sentence}") and main.count("carries over") == 1
    assert json.loads((tmp_path / "analysis" / "freeze.json").read_text())["caption"].endswith(
        f" {CARRY_OVER}"
    )
    assert sentence in (tmp_path / "analysis" / "main.rst").read_text().replace("\\", "")
