"""The FAST injection table of a made-up study."""

import json

import numpy as np
import pytest
import synthetic_study as made
from table_checks import check_benchmark_names, check_same_bytes, check_whole, only, read_rows

from vlm4vla.analysis.multiplicity import holm
from vlm4vla.stages.table import run

GRID = {
    ("none", "freeze-vision"): "0.276",
    ("fast-freeze-vision", "freeze-vision"): "0.28",
    ("fast-unfreeze-vision", "freeze-vision"): "0.457",
    ("none", "full"): "0.563",
    ("fast-freeze-vision", "full"): "0.563",
    ("fast-unfreeze-vision", "full"): "0.594",
}


def make(tuned, output, **changes):
    settings = changes.pop("settings", made.settings("fast_injection"))
    run(settings, output=output, **vars(tuned) | changes)
    return output


@pytest.fixture(scope="module")
def written(tuned, tmp_path_factory):
    return make(tuned, tmp_path_factory.mktemp("fast_injection"))


def test_files(written):
    check_whole(written, "fast_injection")
    check_benchmark_names(written, "fast_injection")


def test_three_by_two_cells_have_published_numbers(written):
    found = [row for row in read_rows(written, "fast_injection") if row["metric"] == "success_rate"]
    assert {(row["auxiliary"], row["variant"]): row["published"] for row in found} == GRID


def test_each_cell_is_compared_with_none_of_its_own_variant(written):
    found = read_rows(written, "fast_injection")
    for variant in ("freeze-vision", "full"):
        base = only(found, variant=variant, auxiliary="none", metric="success_rate")
        assert base["difference"] == ""
        for task in made.FAST["qwen3-vl-4b"][1:]:
            row = only(found, variant=variant, auxiliary=task, metric="success_rate")
            difference = float(row["value"]) - float(base["value"])
            assert float(row["difference"]) == pytest.approx(difference, abs=1e-5)
            assert (row["compared_with"], row["test"]) == ("none", "McNemar")


def test_tokens_are_in_the_json_and_in_the_caption(written):
    analysis = json.loads((written / "analysis" / "fast_injection.json").read_text())
    assert analysis["fast"]["tokens_a_chunk"] == 8.4 and analysis["fast"]["vocabulary"] == 256
    caption = analysis["caption"]
    for expected in ("round-trip error 0.0213", "0.1000", "8.4 tokens per chunk", "vocabulary of 256"):
        assert expected in caption


def test_the_gains_are_compared_in_one_test(written):
    analysis = json.loads((written / "analysis" / "fast_injection.json").read_text())
    text = "\n".join(analysis["verdicts"])
    assert "VLA's vision encoder frozen: success rose for Qwen3-VL-4B after FAST (vision encoder tr" in text
    assert "is larger if the VLM's vision encoder learnt them too than if it was frozen" in text
    # 96 initial states cannot tell a gain of 0 from one of 5 points.
    assert "learnt them too cannot be told with 96 initial states, in these trained policies." in text
    vlm, vla = analysis["interactions"]
    assert (vlm["other_auxiliary"], vlm["other_variant"]) == ("fast-freeze-vision", "freeze-vision")
    assert (vla["other_auxiliary"], vla["other_variant"]) == ("fast-unfreeze-vision", "full")
    found = {
        (row["auxiliary"], row["variant"]): row["difference"]
        for row in analysis["records"]
        if row.get("difference") is not None and row["metric"] == "success_rate"
    }
    gain = found["fast-unfreeze-vision", "freeze-vision"]
    assert vlm["difference"] == pytest.approx(gain - found["fast-freeze-vision", "freeze-vision"])
    assert vla["difference"] == pytest.approx(gain - found["fast-unfreeze-vision", "full"])
    assert [test["p_adjusted"] for test in (vlm, vla)] == pytest.approx(
        holm([vlm["p_value"], vla["p_value"]])
    )


def grid(none, frozen, trained):
    """Outcomes of a VLA with a frozen vision encoder: without FAST tokens, and after both VLMs."""
    return {"none": none, "fast-freeze-vision": frozen, "fast-unfreeze-vision": trained}


BASE = np.arange(960) < 300


@pytest.mark.usefixtures("numbers_only")
@pytest.mark.parametrize(
    ("outcomes", "here"),
    [
        (grid(BASE, BASE, np.arange(960) < 450), "shows here, in"),
        (grid(BASE, np.arange(960) < 450, np.arange(960) < 450), "not show here: the VLA gains without that"),
        (grid(BASE, BASE, BASE), "not show here: the VLA does not gain"),
        # The gain is significant with one VLM only. With the other, it may be 0 or 6 points.
        (
            grid(BASE, np.roll(np.arange(960) < 330, 100), np.roll(np.arange(960) < 345, 100)),
            "cannot be told with 960 initial states",
        ),
    ],
)
def test_the_finding_is_the_weakest_that_the_numbers_force(tuned, tmp_path, outcomes, here):
    paths = []
    for variant in ("freeze-vision", "full"):
        for task, success in outcomes.items():
            frame = made.episodes("qwen3-vl-4b", variant, "bridge", 0.5, count=960, auxiliary=task)
            frame = frame.assign(success=success, solved=success.astype(int), checkpoint=task + variant)
            paths.append(made.write_episodes(tmp_path / "records", frame))
    make(tuned, tmp_path / "table", episodes=paths)
    [finding] = [
        sentence
        for sentence in json.loads((tmp_path / "table/analysis/fast_injection.json").read_text())["verdicts"]
        if "the paper's finding" in sentence
    ]
    assert here in finding


def test_one_variant_alone_has_no_finding(tuned, tmp_path):
    cells = {"variants": ["full"], "auxiliaries": {"qwen3-vl-4b": ["none", "fast-unfreeze-vision"]}}
    settings = made.settings("fast_injection", cells)
    make(tuned, tmp_path, settings=settings)
    check_whole(tmp_path, "fast_injection")
    assert "the paper's finding" not in (tmp_path / "tables" / "fast_injection.md").read_text()


def test_a_study_without_any_record_still_makes_its_table(tmp_path):
    settings = made.settings("fast_injection")
    run(settings, episodes=[], published=made.PUBLISHED, output=tmp_path)
    check_whole(tmp_path, "fast_injection")
    text = (tmp_path / "tables" / "fast_injection.md").read_text()
    assert "round trip of the FAST tokens" in text and "capability of Qwen3-VL-4B" in text


def test_the_same_records_give_the_same_bytes(tuned, written, tmp_path):
    make(tuned, tmp_path, episodes=tuned.episodes[::-1], capability=tuned.capability[::-1])
    check_same_bytes(written, tmp_path, "fast_injection")
