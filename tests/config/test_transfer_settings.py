"""The key `transfer`: absent from the settings of other tables, and checked."""

import json

import pytest

from vlm4vla.config.config import load_config
from vlm4vla.core.errors import UserError
from vlm4vla.study.study import Study
from vlm4vla.workflow.other_study import check_other_studies
from vlm4vla.workflow.targets import check_target


def test_a_study_without_the_key_has_its_old_settings(raw, study):
    assert study.config_json() == Study(load_config(raw | {"transfer": {"records": []}})).config_json()
    for table in study.tables():
        found = json.loads(study.table_settings(table))
        assert (
            "real" not in found
            and ("transfer" in found) == (table == "transfer")
            and "carry_over" not in found
        )


def test_the_table_gets_the_records_and_the_experts(raw):
    study = Study(load_config(raw | {"transfer": {"records": ["results/other", "~/other.zip"]}}))
    found = json.loads(study.table_settings("transfer"))["transfer"]
    assert found["records"][0] == "results/other" and not found["records"][1].startswith("~")
    assert found["experts"] == ["openvla", "pi0", "thinkact"]
    assert json.loads(study.table_settings("freeze"))["carry_over"] == "name"


@pytest.mark.parametrize(
    ("records", "problem"),
    [
        (["a", "a"], "repeats a path"),
        ([""], "is empty"),
        (["results/{study}"], "has a brace"),
        ("results/other", "list"),
    ],
)
def test_a_wrong_path_is_refused(raw, records, problem):
    with pytest.raises(UserError, match=rf"^config.yaml: transfer.records.*{problem}"):
        load_config(raw | {"transfer": {"records": records}})


def test_other_studies_are_checked_before_a_run(raw, tmp_path):
    raw |= {"results": str(tmp_path)}
    (tmp_path / "embedded").mkdir()
    for records, problem in (
        ("missing", "no such file or folder"),
        ("embedded", "this is the study's own folder"),
    ):
        study = Study(load_config(raw | {"transfer": {"records": [str(tmp_path / records)]}}))
        with pytest.raises(UserError, match=problem):
            check_other_studies(study)
    other = tmp_path / "other" / "rollouts"
    for name in ("kosmos-2", "openvla", "a", "b", "c"):
        (other / name / "none/full/bridge/seed0").mkdir(parents=True)
        (other / name / "none/full/bridge/seed0/episodes.parquet").touch()
    study = Study(load_config(raw | {"transfer": {"records": [str(tmp_path / "other")]}}))
    with pytest.raises(UserError, match=r"shares 1 backbones .*, of 10 in .* and 4 there \(a, b"):
        check_other_studies(study)


def test_the_target_of_one_ranking_says_what_is_missing(raw):
    raw["tables"]["main"]["benchmarks"] = ["bridge"]
    with pytest.raises(UserError, match=r"has one benchmark: add another one, or write transfer\.records"):
        check_target(Study(load_config(raw)), "table_transfer")
