"""Result files of lmms-eval, as version 0.7 writes them."""

from __future__ import annotations

import json

import pytest

from vlm4vla.config.capability import LmmsTask
from vlm4vla.core.errors import UserError
from vlm4vla.evaluation.capability.lmms_eval import read_results, scored_model

NAMES = ["backbones/qwen2.5-vl-3b", "Qwen2.5-VL-3B-Instruct"]
TASKS = {
    "pope": LmmsTask(metric="pope_accuracy"),
    "ai2d": LmmsTask(metric="exact_match"),
    "mme": LmmsTask(metric="mme_perception_score", out_of=2000),
    "blink": LmmsTask(metric="blink_acc"),
}


def content(**changes):
    """The content of a result file. Keys and placeholders of missing standard errors are as in lmms-eval."""
    return {
        "results": {
            "pope": {
                "alias": "pope",
                "pope_accuracy,none": 0.875,
                "pope_accuracy_stderr,none": "N/A",
                "pope_accuracy_stderr_clt,none": "0.0035",
                "pope_accuracy_stderr_clustered,none": "N/A",
                "pope_f1_score,none": 0.86,
                "pope_f1_score_stderr,none": "N/A",
            },
            "ai2d": {
                "alias": "ai2d",
                "exact_match,flexible-extract": 0.5,
                "exact_match_stderr,flexible-extract": 0.009,
                "exact_match_stderr_clt,flexible-extract": float("nan"),
                "exact_match_stderr_clustered,flexible-extract": "N/A",
            },
            "mme": {
                "alias": "mme",
                "mme_perception_score,none": 1500.0,
                "mme_perception_score_stderr,none": [],
            },
            "blink": {"alias": "blink", "blink_acc,none": 0.25, "blink_acc_stderr,none": 0.01},
        },
        "group_subtasks": {"blink": ["blink_counting", "blink_more"], "blink_more": ["blink_jigsaw"]},
        "n-samples": {
            "pope": {"original": 9000, "effective": 9000},
            "ai2d": {"original": 3088, "effective": 3088},
            "blink_counting": {"original": 120, "effective": 120},
            "blink_jigsaw": {"original": 150, "effective": 150},
        },
        "config": {"model": "qwen2_5_vl", "model_args": "pretrained=Qwen/Qwen2.5-VL-3B-Instruct,device=cpu"},
        "model_name": "Qwen/Qwen2.5-VL-3B-Instruct",
    } | changes


def counts(**tasks):
    """The content of a result file with other numbers of questions."""
    return {"n-samples": content()["n-samples"] | tasks}


@pytest.fixture
def write(tmp_path):
    def write(**changes):
        path = tmp_path / "20261101_120000_results.json"
        path.write_text(json.dumps(content(**changes)))
        return path

    return write


def test_scores_questions_and_standard_errors(write):
    found = read_results(write(), TASKS, NAMES)
    assert list(found) == list(TASKS)
    assert (found["pope"].score, found["pope"].questions, found["pope"].standard_error) == (
        0.875,
        9000,
        0.0035,
    )
    assert (found["ai2d"].score, found["ai2d"].questions, found["ai2d"].standard_error) == (0.5, 3088, 0.009)
    assert (found["mme"].score, found["mme"].questions, found["mme"].standard_error) == (0.75, None, None)
    assert (found["blink"].questions, found["blink"].standard_error) == (270, 0.01)


def test_a_clustered_standard_error_is_preferred(write):
    results = content()["results"]
    results["ai2d"]["exact_match_stderr_clustered,flexible-extract"] = 0.02
    assert read_results(write(results=results), TASKS, NAMES)["ai2d"].standard_error == 0.02


def test_standard_errors_have_the_scale_of_the_score(write):
    results = content()["results"]
    results["mme"]["mme_perception_score_stderr,none"] = 20.0
    assert read_results(write(results=results), TASKS, NAMES)["mme"].standard_error == 0.01


def test_a_limit_is_the_number_of_questions_of_every_longer_task(write):
    small = counts(
        pope={"original": 9000, "effective": 130},
        ai2d={"original": 3088, "effective": 130},
        blink_jigsaw={"original": 150, "effective": 130},
    )
    found = read_results(write(**small), TASKS, NAMES, limit=130)
    assert (found["pope"].questions, found["blink"].questions) == (130, 120 + 130)
    with pytest.raises(UserError, match="ai2d: 3088 of 3088 questions were asked, but this study asks 130"):
        read_results(write(**small | counts(pope=small["n-samples"]["pope"])), TASKS, NAMES, limit=130)


def test_a_negative_standard_error_is_none(write):
    results = content()["results"]
    results["blink"]["blink_acc_stderr,none"] = -1
    assert read_results(write(results=results), TASKS, NAMES)["blink"].standard_error is None


def test_the_model_is_also_found_in_the_model_arguments(write):
    given = content(model_name=None)
    assert scored_model(given) == "Qwen/Qwen2.5-VL-3B-Instruct"
    given["config"]["model_args"] = {"pretrained": "/results/backbones/qwen2.5-vl-3b", "device": "cpu"}
    assert read_results(write(model_name=None, config=given["config"]), TASKS, NAMES)


@pytest.mark.parametrize(
    ("changes", "line"),
    [
        ({"model_name": "Qwen/Qwen2.5-VL-7B-Instruct"}, "scores of 'Qwen/Qwen2.5-VL-7B-Instruct', not of"),
        ({"model_name": "x/y-backbones/qwen2.5-vl-3b"}, "not of 'backbones/qwen2.5-vl-3b'"),
        ({"results": {}}, "task 'pope' is missing"),
        ({"results": []}, "`results` is missing"),
        (
            {"results": content()["results"] | {"pope": {"accuracy,none": 1}}},
            "metric 'pope_accuracy' is missing",
        ),
        (
            {"results": content()["results"] | {"pope": {"pope_accuracy,none": "N/A"}}},
            "pope_accuracy is 'N/A', not a number from 0 to 1",
        ),
        (
            {"results": content()["results"] | {"pope": {"pope_accuracy,none": True}}},
            "pope_accuracy is True, not a number from 0 to 1",
        ),
        (
            {"results": content()["results"] | {"pope": {"pope_accuracy,none": "87.5 %"}}},
            "pope_accuracy is '87.5 %', not a number from 0 to 1",
        ),
        (
            {"results": content()["results"] | {"pope": {"pope_accuracy,none": 87.5}}},
            "pope_accuracy is 87.5, not a number from 0 to 1",
        ),
        (
            {"results": content()["results"] | {"pope": {"pope_accuracy,a": 0.1, "pope_accuracy,b": 0.2}}},
            "metric 'pope_accuracy' has 2 filters: write one of 'pope_accuracy,a', 'pope_accuracy,b'",
        ),
        ({"results": content()["results"] | {"pope": 0.9}}, "task 'pope' is missing"),
        (
            counts(pope={"original": 9000, "effective": 100}),
            "pope: 100 of 9000 questions were asked, but this",
        ),
        (
            counts(blink_jigsaw={"original": 150, "effective": 8}),
            "blink_jigsaw: 8 of 150 questions were asked",
        ),
        (counts(pope=9000), "n-samples of 'pope' is damaged"),
        (counts(pope={"effective": 9000}), "n-samples of 'pope' is damaged"),
    ],
)
def test_a_wrong_file_is_refused_with_one_line(write, changes, line):
    path = write(**changes)
    with pytest.raises(UserError) as error:
        read_results(path, TASKS, NAMES)
    assert line in str(error.value) and str(path) in str(error.value) and "\n" not in str(error.value)


def test_a_metric_can_be_named_with_its_filter(write):
    results = content()["results"] | {"pope": {"pope_accuracy,a": 0.1, "pope_accuracy,b": 0.2}}
    tasks = {"pope": LmmsTask(metric="pope_accuracy,b")}
    assert read_results(write(results=results), tasks, NAMES)["pope"].score == 0.2


def test_a_byte_order_mark_is_accepted(write):
    path = write()
    path.write_bytes(b"\xef\xbb\xbf" + path.read_bytes())
    assert list(read_results(path, TASKS, NAMES)) == list(TASKS)


def test_a_file_that_is_not_json(tmp_path):
    (tmp_path / "results.json").write_text("{")
    with pytest.raises(UserError, match="not JSON"):
        read_results(tmp_path / "results.json", TASKS, NAMES)
    with pytest.raises(UserError, match="cannot be read"):
        read_results(tmp_path / "none.json", TASKS, NAMES)
