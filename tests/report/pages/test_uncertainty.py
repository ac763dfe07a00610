"""What the summary says of the best score and of its intervals, for tables made by hand."""

import pytest

from vlm4vla.analysis.estimates import TWO_LEVEL, WILSON
from vlm4vla.report.pages.summary import summary_sections

NAMES = {"kosmos-2": "Kosmos-2", "paligemma-1": "PaliGemma-1", "qwen2.5-vl-3b": "Qwen2.5-VL-3B"}

SCORES = "95 % intervals of policies' scores"


def row(model, value=0.5, interval=WILSON, seeds=1, metric="success_rate"):
    return {
        "model": model,
        "variant": "full",
        "benchmark": "bridge",
        "auxiliary": "none",
        "metric": metric,
        "value": value,
        "ci_low": max(0.0, value - 0.1),
        "ci_high": min(1.0, value + 0.1),
        "episodes": 24,
        "seeds": seeds,
        "interval": interval,
    }


def table(name, records, seeds=(0,), **details):
    cells = {"backbones": list(NAMES), "variants": ["full"], "benchmarks": ["bridge"]}
    settings = {"study": "own", "scale": "embedded", "seeds": list(seeds), "cells": cells}
    return {"table": name, "settings": settings, "records": records, "verdicts": [], "gaps": [], **details}


def points(tmp_path, title, *tables):
    sections = summary_sections({each["table"]: each for each in tables}, tmp_path)
    return dict(next(section for section in sections if section.title == title).points)


def uncertainty(tmp_path, *tables):
    return points(tmp_path, "Uncertainty", *tables)


def test_one_seed_covers_episodes_only(tmp_path):
    found = uncertainty(tmp_path, table("main", [row("kosmos-2")]))
    assert found["Intervals"].startswith(
        f"{SCORES} cover other episodes (initial states), but not other training"
    )
    assert "questions" not in found["Intervals"] and "backbones" not in found["Intervals"]


def test_several_seeds_cover_seeds_in_the_tables_that_have_them(tmp_path):
    several = [row("kosmos-2", interval=TWO_LEVEL, seeds=3)]
    found = uncertainty(tmp_path, table("freeze", several, seeds=(0, 1, 2)))["Intervals"]
    assert found.startswith(
        "95 % intervals of policies' scores cover other training seeds and other episodes."
    )
    floor = row("random", value=0.1)
    found = uncertainty(tmp_path, table("freeze", [*several, floor], seeds=(0, 1, 2)))["Intervals"]
    assert "cover other training seeds and other episodes; for policies with one seed" in found
    both = uncertainty(tmp_path, table("main", [row("kosmos-2")]), table("freeze", several, seeds=(0, 1, 2)))
    assert (
        "scores (Backbones as policies) cover other episodes (initial states), but not" in both["Intervals"]
    )
    assert "scores (Frozen modules) cover other training seeds and other episodes." in both["Intervals"]
    training = both["Training variance"]
    one, several = training.split(" This holds for: Backbones as policies. ")
    assert one.startswith("One training seed (0)") and several.startswith("Training seeds 0, 1, 2")
    assert several.endswith(" This holds for: Frozen modules.")


def test_question_scores_and_correlations_are_named_where_they_are(tmp_path):
    question = row("kosmos-2", metric="question_score", interval=None)
    r = row("all", metric="pearson_r", interval=None)
    found = uncertainty(tmp_path, table("correlation", [r, question], policies=[row("kosmos-2")]))[
        "Intervals"
    ]
    for words in ("policies' scores cover", "question scores cover other questions", "cover other backbones"):
        assert words in found
    none = [row("kosmos-2") | {"ci_low": None, "ci_high": None, "interval": None}]
    assert (
        "no number of these tables has an interval" in uncertainty(tmp_path, table("main", none))["Intervals"]
    )


def best(tmp_path, places, sets, shares, seeds=1, floor=()):
    """The point on Bridge. `places`, `sets` and `shares` belong to the three policies of NAMES."""
    interval = WILSON if seeds == 1 else TWO_LEVEL
    records = [
        row(name, 0.9 - 0.2 * place, interval, seeds) for name, place in zip(NAMES, places, strict=True)
    ]
    ranks = [
        {"model": name, "variant": "full", "benchmark": "bridge", "place": place, "best": share}
        | {"ci_low": low, "ci_high": high}
        for name, place, (low, high), share in zip(NAMES, places, sets, shares, strict=True)
    ]
    against = [
        {"model": name, "variant": "full", "benchmark": "bridge", "outcome": outcome}
        for name, outcome in zip(NAMES, floor, strict=False)
    ]
    made = table("main", records, range(seeds), ranks=ranks, against_floor=against)
    return points(tmp_path, "The highest score on each benchmark", made)["Bridge (embedded)"]


def test_equal_scores_name_no_winner(tmp_path):
    text = best(tmp_path, (2, 2, 2), [(1, 3)] * 3, (1 / 3,) * 3, floor=["undecided"] * 3)
    assert text.startswith("Kosmos-2, PaliGemma-1 and Qwen2.5-VL-3B, success, %: 50.0")
    assert "all policies have the same score. No policy is shown to be better than random actions." in text
    assert "first in" not in text


@pytest.mark.parametrize(("seeds", "who"), [(1, "of these trained policies"), (3, "backbone")])
def test_the_best_one_is_a_policy_with_one_seed_and_a_backbone_with_several(tmp_path, seeds, who):
    sets = [(2, 3), (1, 1), (2, 3)]
    text = best(tmp_path, (2, 1, 3), sets, (0.1, 0.9, 0.0), seeds, ["higher", "higher", "undecided"])
    drawn = "episodes" if seeds == 1 else "episodes and training seeds"
    assert f"it is the best {who}." in text and "random actions" not in text
    assert f"ranks first in 90 % of bootstrap resamples of the {drawn}." in text


def test_two_at_the_first_place_share_it(tmp_path):
    sets = [(1, 2), (1, 2), (3, 3)]
    text = best(tmp_path, (1.5, 1.5, 3), sets, (0.5, 0.45, 0.05), floor=["higher"] * 3)
    assert "Kosmos-2 and PaliGemma-1, success" in text and "one of them ranks first in 95 %" in text
    assert "it is the best" not in text and "do not exclude" not in text
    open_set = best(tmp_path, (1.5, 1.5, 3), [(1, 3)] * 3, (0.5, 0.45, 0.05), floor=["higher"] * 3)
    assert "The tests of the pairs do not exclude that the best one is Qwen2.5-VL-3B." in open_set


def test_tests_within_groups_are_called_one_sided(tmp_path):
    def tests(*groups):
        checks = [{"groups": [{"p_value": p} for p in groups]}]
        return uncertainty(tmp_path, table("correlation", [], sensitivity=checks))["Tests"]

    assert tests(0.2).startswith("the tests of r within groups of backbones are one-sided, and all others")
    assert tests().startswith("all tests are two-sided, at the 5 % level.")
    assert tests(None).startswith("all tests are two-sided")
