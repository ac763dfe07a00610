"""The question scores that a study needs, their sources, and the errors before any job."""

from __future__ import annotations

import json
from pathlib import Path
from types import SimpleNamespace

import pytest
from fast_yaml import load_yaml

from vlm4vla.core.errors import UserError
from vlm4vla.workflow.preflight import open_study

CONFIG = Path(__file__).parents[2] / "config.yaml"
TABLES = {
    "main": {"backbones": ["kosmos-2", "qwen2.5-vl-3b"], "variants": ["full"], "benchmarks": ["bridge"]},
    "auxiliary": {
        "backbones": ["qwen2.5-vl-3b"],
        "auxiliaries": ["none", "robopoint"],
        "variants": ["full"],
        "benchmarks": ["calvin"],
    },
}


@pytest.fixture
def raw(tmp_path):
    given = load_yaml(CONFIG.read_text())
    return given | {"results": str(tmp_path / "results"), "minimum_free_gb": 0, "tables": TABLES}


def scores(raw, tmp_path, text):
    (tmp_path / "scores.csv").write_text(text)
    raw["capability"] |= {"source": "scores", "scores": {"file": str(tmp_path / "scores.csv")}}
    return raw


def test_published_scores_of_the_backbones(raw, tmp_path):
    study = open_study(scores(raw, tmp_path, "model,score\nkosmos-2,50\nqwen2.5-vl-3b,60\npaligemma-1,7\n"))
    root = f"{study.root}/capability"
    wanted = [f"{root}/kosmos-2/none.json", f"{root}/qwen2.5-vl-3b/none.json"]
    assert study.table_capability("correlation") == wanted
    # The CSV has no score of a fine-tuned backbone, so the table has a gap.
    assert study.table_capability("auxiliary") == wanted[1:]
    assert study.capability_rules == "rules/capability_scores.smk"
    made = json.loads(study.scores_settings(SimpleNamespace(vlm="kosmos-2", auxiliary="none")))
    assert made["overall"]["score"] == 0.5 and made["sets"] == {}


def test_a_line_of_another_model_does_not_change_the_settings(raw, tmp_path):
    wildcards = SimpleNamespace(vlm="kosmos-2", auxiliary="none")
    text = "model,score\nkosmos-2,50\nqwen2.5-vl-3b,60\n"
    before = open_study(scores(raw, tmp_path, text)).scores_settings(wildcards)
    after = open_study(scores(raw, tmp_path, text.replace("60", "61"))).scores_settings(wildcards)
    assert before == after


def test_published_scores_of_fine_tuned_backbones(raw, tmp_path):
    text = "model,auxiliary,score\nkosmos-2,,50\nqwen2.5-vl-3b,none,60\nqwen2.5-vl-3b,robopoint,55\n"
    study = open_study(scores(raw, tmp_path, text))
    assert [Path(path).stem for path in study.table_capability("auxiliary")] == ["none", "robopoint"]


def test_a_missing_model_is_refused_before_any_job(raw, tmp_path):
    with pytest.raises(UserError, match=r"no line for model 'qwen2.5-vl-3b': add this line"):
        open_study(scores(raw, tmp_path, "model,score\nkosmos-2,50\n"))


def test_a_target_without_a_score_is_refused(raw, tmp_path):
    given = scores(raw, tmp_path, "model,score\nkosmos-2,50\nqwen2.5-vl-3b,60\n")
    target = f"{raw['results']}/embedded/capability/qwen2.5-vl-3b/robopoint.json"
    with pytest.raises(UserError, match=r"no line for model 'qwen2.5-vl-3b' with auxiliary 'robopoint'"):
        open_study(given, [target])


def lmms(raw, tmp_path, **keys):
    python = tmp_path / "environment" / "bin" / "python"
    python.parent.mkdir(parents=True, exist_ok=True)
    python.touch()
    given = {"tasks": {"pope": {"metric": "m"}}, "environment": str(tmp_path / "environment")} | keys
    raw["capability"] |= {"source": "lmms-eval", "lmms_eval": given}
    return raw


def result(tmp_path, model, name="ready.json"):
    path = tmp_path / name
    path.write_text(json.dumps({"results": {"pope": {"m,none": 0.5}}, "model_name": model}))
    return str(path)


def test_a_family_without_a_model_in_lmms_eval_is_named(raw, tmp_path):
    with pytest.raises(
        UserError, match=r"no model for the family 'kosmos-2' of 'kosmos-2': write models.kosmos"
    ):
        open_study(lmms(raw, tmp_path))
    study = open_study(lmms(raw, tmp_path, models={"kosmos-2": "mine"}))
    assert study.capability_rules == "rules/capability_lmms_eval.smk"
    made = json.loads(study.lmms_eval_settings(SimpleNamespace(vlm="kosmos-2", auxiliary="none")))
    assert made["model"] == "mine" and made["names"] == ["backbones/kosmos-2"]
    tuned = SimpleNamespace(vlm="qwen2.5-vl-3b", auxiliary="robopoint")
    assert json.loads(study.lmms_eval_settings(tuned))["names"] == ["auxiliary/qwen2.5-vl-3b/robopoint"]
    assert len(study.table_capability("auxiliary")) == 2


def test_a_result_file_replaces_a_run_of_lmms_eval(raw, tmp_path):
    ready = result(tmp_path, "/elsewhere/backbones/kosmos-2")
    study = open_study(lmms(raw, tmp_path, results={"kosmos-2": ready}, limit=5))
    wildcards = SimpleNamespace(vlm="kosmos-2", auxiliary="none")
    assert study.lmms_eval_results(wildcards) == [ready]
    made = json.loads(study.lmms_eval_settings(wildcards))
    assert made["results"] == ready and made["model"] is None and made["limit"] == 5
    other = SimpleNamespace(vlm="qwen2.5-vl-3b", auxiliary="none")
    assert study.lmms_eval_results(other) == [] and json.loads(study.lmms_eval_settings(other))["limit"] == 5


@pytest.mark.parametrize(
    ("keys", "line"),
    [
        ({"results": {"kosmos": "x"}}, "capability.lmms_eval.results: 'kosmos' is not a VLM"),
        ({"results": {"kosmos-2/robopont": "x"}}, "'kosmos-2/robopont' is not a VLM"),
        ({"results": {"kosmos-2": "nowhere.json"}}, "nowhere.json: cannot be read"),
        ({"models": {"kosmos-2": "mine"}, "environment": "nowhere"}, "run `make env-lmms-eval`"),
    ],
)
def test_invalid_settings_of_lmms_eval_are_refused_before_any_job(raw, tmp_path, keys, line):
    with pytest.raises(UserError) as error:
        open_study(lmms(raw, tmp_path, **keys))
    assert line in str(error.value) and "\n" not in str(error.value)


def test_a_result_file_of_another_model_is_refused_before_any_job(raw, tmp_path):
    ready = result(tmp_path, "microsoft/kosmos-2-patch14-224")
    with pytest.raises(UserError, match="scores of 'microsoft/kosmos-2-patch14-224', not of"):
        open_study(lmms(raw, tmp_path, results={"kosmos-2": ready}))


def test_a_result_file_may_name_the_checkpoint(raw, tmp_path):
    ready = result(tmp_path, "microsoft/kosmos-2-patch14-224")
    own = {"family": "kosmos-2", "parameters_b": 1.7, "checkpoint": "microsoft/kosmos-2-patch14-224"}
    raw["backbones"]["kosmos-2"] = own | {"revision": "0123abcd" * 5}
    assert open_study(lmms(raw, tmp_path, results={"kosmos-2": ready}))


def test_result_files_with_other_numbers_of_questions_are_refused_before_any_job(raw, tmp_path):
    ready = {}
    for model, asked in (("kosmos-2", 9000), ("qwen2.5-vl-3b", 8910)):
        path = Path(result(tmp_path, f"/elsewhere/backbones/{model}"))
        content = json.loads(path.read_text())
        content["n-samples"] = {task: {"original": asked, "effective": asked} for task in content["results"]}
        ready[model] = str(path.with_name(f"{model}.json"))
        Path(ready[model]).write_text(json.dumps(content))
    with pytest.raises(
        UserError, match=r"kosmos-2\.json: pope: 9000 questions, but .*qwen2\.5-vl-3b\.json has 8910"
    ):
        open_study(lmms(raw, tmp_path, results=ready))
