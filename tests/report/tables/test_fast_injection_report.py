"""The FAST injection table of a made-up study."""

import json

import pytest
import synthetic_study as made
from table_checks import check_benchmark_names, check_same_bytes, check_whole, only, read_rows

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


def test_finding_shows_or_not(written, tuned, tmp_path):
    text = "\n".join(json.loads((written / "analysis" / "fast_injection.json").read_text())["verdicts"])
    assert "VLA's vision encoder frozen: success rose for Qwen3-VL-4B after FAST (vision encoder tr" in text
    assert "no difference is seen for Qwen3-VL-4B after FAST (vision encoder frozen)" in text
    assert "learnt them too shows here" in text
    skills = made.episodes("qwen3-vl-4b", "freeze-vision", "bridge", 0.3, auxiliary="fast-unfreeze-vision")
    kept = [
        path for path in tuned.episodes if not {"fast-unfreeze-vision", "freeze-vision"} <= set(path.parts)
    ]
    make(tuned, tmp_path / "flat", episodes=[*kept, made.write_episodes(tmp_path, skills)])
    assert "too does not show at this scale" in (tmp_path / "flat/tables/fast_injection.md").read_text()


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
