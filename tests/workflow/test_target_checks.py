"""Targets that no rule makes: one line that says what to write instead."""

from __future__ import annotations

import pytest

from vlm4vla.core.errors import UserError
from vlm4vla.study.study import Study
from vlm4vla.workflow.targets import check_target


@pytest.mark.parametrize(
    ("path", "message"),
    [
        ("vla/kosmos-2/none/full/bridge/seed0", "did you mean '{root}/vla/.*/seed0/provenance.json'"),
        (
            "vla/kosmos-2/none/full/bridge/seed0/train.jsonl",
            r"of the form {root}/vla/{{vlm}}/.*/provenance.json",
        ),
        ("vla/kosmos-2/none", r"of the form {root}/vla/"),
        ("vla/kosmos-9/none", "unknown backbone 'kosmos-9': did you mean 'kosmos-2'"),
        ("vla/random/none/full/bridge/seed0/provenance.json", "unknown backbone 'random'"),
        ("cells/kosmos-2/none/full/bridge.pdf", "unknown benchmark 'bridge.pdf': did you mean 'bridge'"),
        ("capability/kosmos-2/none", "did you mean '{root}/capability/kosmos-2/none.json'"),
        ("auxiliary_data/fast-freeze-vision/provenance.json", "unknown task 'fast-freeze-vision'"),
        ("tables/main.xlsx", "unknown table 'main.xlsx': did you mean 'main'"),
        ("figures/mian.png", "no rule makes this file: did you mean '{root}/figures/main.png'"),
        ("sumary.md", "unknown stage 'sumary.md': did you mean 'summary.md'"),
        ("logs/questions.log", "unknown stage 'logs'"),
        ("vla/kosmos-2/none/full/bridge/seed4294967296/provenance.json", "'4294967296' is not a seed"),
        ("vla/kosmos-2/none/full/bridge/seed01/provenance.json", "'01' is not a seed: write a whole number"),
        ("rollouts/kosmos-2/none/full/bridge/seed00/episodes.parquet", "'00' is not a seed"),
        ("vla/kosmos-2/none/full/bridge/seed-1/provenance.json", "of the form {root}/vla/"),
        ("rollouts/random/none/freeze-vision/bridge/seed0/episodes.parquet", "unknown variant"),
        ("rollouts/expert/none/full/bridge/seed1/episodes.parquet", "unknown seed '1'"),
        ("summary.MD", "did you mean 'summary.md'"),
        ("summary.md/", "did you mean 'summary.md'"),
        ("tables/*.csv", "unknown table '\\*'"),
        ("tables/" + "x" * 300 + ".csv", "unknown table 'xxx"),
        ("../smoke/summary.md", "write a path|Snakemake takes a path|unknown stage '..'"),
    ],
)
def test_a_path_that_no_rule_makes(study, path, message):
    with pytest.raises(UserError, match=message.format(root=study.root)) as error:
        check_target(study, f"{study.root}/{path}")
    assert "\n" not in str(error.value)


@pytest.mark.parametrize("form", ["./{path}", "{folder}/{path}", "{top}//{rest}"])
def test_another_way_to_write_a_path_of_the_study(study, form, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    path = "results/smoke/summary.md"
    study = study_with_results(study, "results")
    written = form.format(path=path, folder=tmp_path, top="results", rest="smoke/summary.md")
    with pytest.raises(UserError, match=f"write '{path}'"):
        check_target(study, written)


def test_a_path_of_the_published_analysis(study):
    path = study.published_study()[0]
    check_target(study, path)
    with pytest.raises(UserError, match=f"did you mean '.*{path[-8:]}'"):
        check_target(study, path.replace(path[-7:], "x" + path[-7:]))


def study_with_results(study, folder):
    return Study(study.config.model_copy(update={"results": folder, "study": "smoke"}))


def test_every_declared_artefact_is_a_target(study):
    for path in study.declared():
        check_target(study, path)
    for path in (*study.published_study(), f"{study.root}/cells/pi0/none/full/bridge.tex"):
        check_target(study, path)
