"""The trace from a number of a table to its records, and its errors when a file is changed or missing."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import pandas as pd
import pytest
import traced_study
from traced_study import write_traced

from vlm4vla import cli
from vlm4vla.core.errors import UserError
from vlm4vla.provenance.trace import run, trace
from vlm4vla.stages import published as stage
from vlm4vla.study.results_folder import Results

PUBLISHED = Path(__file__).parents[2] / "workflow" / "published"

CELL = ("freeze", "kosmos-2/full", "bridge:success_rate")


def test_every_number_is_recomputed(traced):
    results = Results(traced)
    for row in results.analysis("freeze")["records"]:
        words = f"{row['model']}/{row['variant']}", f"{row['benchmark']}:{row['metric']}"
        numbers = ["value", "ci_low", "ci_high"]
        numbers += ["difference", "difference_ci_low", "p_value"] if row.get("compared_with") else []
        for number in numbers:
            found = trace(results, "freeze", words[0], f"{words[1]}:{number}")
            assert found["value"] == row[number] and found["equals_table"] and found["equals_csv"]
            assert found["problems"] == []


def test_a_benchmark_of_the_user(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(traced_study, "BENCHMARKS", ["push-button"])
    results = Results(write_traced(Path("results/embedded")))
    for number in ("value", "ci_low", "difference", "p_value"):
        words = "kosmos-2/freeze-vision", f"push-button:success_rate:{number}"
        found = trace(results, "freeze", *words)
        assert found["equals_table"] and found["problems"] == []


def test_the_value_is_the_mean_of_the_episode_file(traced):
    found = trace(Results(traced), *CELL)
    (rollout,) = found["rollouts"]
    frame = pd.read_parquet(rollout["episodes_file"])
    assert found["value"] == pytest.approx(frame["success"].mean())
    assert set(frame["checkpoint"]) == {rollout["checkpoint"]}
    assert rollout["checkpoint_folder"] == "results/embedded/vla/kosmos-2/none/full/bridge/seed0"
    stages = [artefact["stage"] for artefact in found["artefacts"].values()]
    assert sorted(stages) == ["backbone", "demonstrations", "questions", "rollout", "vla"]
    assert all({"torch", "numpy"} <= set(artefact["packages"]) for artefact in found["artefacts"].values())


def test_several_seeds(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    root = write_traced(Path("results/embedded"), seeds=(0, 1, 2))
    found = trace(Results(root), *CELL)
    assert [rollout["seed"] for rollout in found["rollouts"]] == [0, 1, 2]
    assert found["equals_table"] and found["seeds"] == 3 and not found["problems"]


def test_a_moved_folder_is_found(traced):
    moved = shutil.move(traced, "elsewhere")
    assert trace(Results(Path(moved)), *CELL)["problems"] == []


@pytest.mark.parametrize(
    ("file", "state"),
    [
        ("demonstrations/bridge/data/0.parquet", "changed"),
        ("questions/train/data.arrow", "changed"),
        ("vla/kosmos-2/none/full/bridge/seed0/policy.safetensors", "changed"),
        ("backbones/kosmos-2/provenance.json", "changed since"),
    ],
)
def test_a_changed_file_is_named(traced, file, state):
    path = traced / file
    path.write_text(path.read_text() + " ")
    problems = trace(Results(traced), *CELL)["problems"]
    assert any(file in line and state in line for line in problems)


@pytest.mark.parametrize(
    "file", ["demonstrations/bridge/provenance.json", "backbones/kosmos-2/model.safetensors"]
)
def test_a_missing_file_is_named(traced, file):
    (traced / file).unlink()
    problems = trace(Results(traced), *CELL)["problems"]
    assert any(file in line and "missing" in line for line in problems)


def test_changed_records_give_another_value(traced, capsys):
    path = traced / "rollouts/kosmos-2/none/full/bridge/seed0/episodes.parquet"
    frame = pd.read_parquet(path)
    frame.assign(success=False, solved=0).to_parquet(path, index=False)
    assert cli.main(["trace", *CELL]) == 1
    printed = capsys.readouterr()
    assert "DIFFERS FROM the table's number" in printed.out
    assert (
        printed.err.startswith("error: trace: value in analysis/freeze.json is 0.")
        and printed.err.count("\n") == 1
    )


def test_an_edited_csv(traced):
    path = traced / "tables/freeze.csv"
    path.write_text(
        path.read_text().replace(
            "kosmos-2,full,bridge,success_rate,0.", "kosmos-2,full,bridge,success_rate,1."
        )
    )
    assert trace(Results(traced), *CELL)["equals_csv"] is False


@pytest.mark.parametrize(
    "content", [b"\xff\xfe", b"x" * 200_000, None], ids=["no text", "a long cell", "a folder"]
)
def test_a_csv_that_is_none(traced, content):
    path = traced / "tables/freeze.csv"
    path.unlink()
    if content is None:
        path.mkdir()
    else:
        path.write_bytes(content)
    with pytest.raises(
        UserError, match=r"freeze\.csv: cannot be read as CSV .*: make the table again"
    ) as error:
        trace(Results(traced), *CELL)
    assert "\n" not in str(error.value)


def test_output_as_json(traced, capsys):
    assert cli.main(["trace", *CELL, "--json"]) == 0
    assert json.loads(capsys.readouterr().out)["equals_table"] is True


def test_output_as_text(traced, capsys):
    assert cli.main(["trace", *CELL, "--study", "embedded"]) == 0
    printed = capsys.readouterr().out
    for word in (
        "equals the table's number",
        "commit",
        "settings {",
        "numpy",
        "all 5 artefacts",
        "checkpoint",
    ):
        assert word in printed


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (("freze", "kosmos-2", "x"), r"no table 'freze': did you mean 'freeze'\?"),
        (("freeze", "kosmo-2/full", "bridge:success_rate"), r"no row 'kosmo-2/full' .*did you mean kosmos-2"),
        (
            ("freeze", "kosmos-2/freeze", "bridge:success_rate"),
            r"\('freeze' is unknown\): did you mean freeze-vision",
        ),
        (("freeze", "kosmos-2/full", "sucess_rate"), r"no column 'sucess_rate': did you mean success_rate"),
        (
            ("freeze", "kosmos-2", "success_rate"),
            r"2 cells match: write kosmos-2/freeze-vision or kosmos-2/full",
        ),
        (
            ("freeze", "kosmos-2/full", "calvin"),
            r"2 cells match: write average_length:calvin or success_at_1:calvin",
        ),
        (
            ("freeze", "kosmos-2/full", "bridge:p_value"),
            r"has no p_value: write one of value, ci_low, ci_high",
        ),
    ],
)
def test_words_that_match_no_cell(traced, words, message):
    with pytest.raises(UserError, match=message) as error:
        trace(Results(traced), *words)
    assert "\n" not in str(error.value)


def test_the_published_study_names_its_files(traced, capsys):
    stage.run(PUBLISHED, None, Path("results/published"))
    words = ["main", "kosmos-2", "bridge:success_rate", "--results", "results/published"]
    assert cli.main(["trace", *words]) == 0
    assert "main.csv (sha256 " in capsys.readouterr().out


def test_names_as_the_tables_show_them(traced):
    found = trace(Results(traced), "freeze", "Kosmos-2/all trained", "Bridge:success_rate")
    assert found["cell"]["model"] == "kosmos-2" and found["cell"]["variant"] == "full"


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["--results", "nowhere"], "'nowhere': no such folder"),
        (["--study", "embeded"], "did you mean 'embedded'?"),
        (["--study", "embedded", "--results", "x"], "write one of them"),
    ],
)
def test_folders_that_do_not_exist(traced, arguments, message, capsys):
    assert cli.main(["trace", *CELL, *arguments]) == 1
    error = capsys.readouterr().err
    assert message in error and error.count("\n") == 1


@pytest.mark.parametrize(
    ("changed", "message"),
    [
        ({"stage": "vla"}, "is of the stage 'vla', not of a rollout"),
        ({"stage": None}, "stage: not the name of a stage"),
        ({"inputs": {"vla": {"path": "a" * 300, "sha256": "0"}}}, r"inputs\.vla\.path: not a path"),
        ({"inputs": {"vla": {"path": "a\0b", "sha256": "0"}}}, r"inputs\.vla\.path: not a path"),
        ({"outputs": {"a" * 300: "0"}}, "not a file of this folder with its hash"),
        ({"outputs": {"/etc/hostname": "0"}}, "not a file of this folder with its hash"),
        ({"episodes": 1}, "but its provenance has 1"),
        ({"mean_solved": 10**400}, "mean_solved: not a number"),
        ({"mean_solved": float("nan")}, "the mean of solved is .*, but its provenance has nan"),
    ],
)
def test_a_changed_record_of_a_rollout(traced, changed, message):
    path = traced / "rollouts/kosmos-2/none/full/bridge/seed0/provenance.json"
    path.write_text(json.dumps(json.loads(path.read_text()) | changed))
    with pytest.raises(UserError, match=message) as error:
        run(Results(traced), *CELL, False)
    line = str(error.value)
    assert "\n" not in line and ("provenance.json" in line or "its provenance has" in line)


@pytest.mark.parametrize("artefact", ["demonstrations/bridge", "vla/kosmos-2/none/full/bridge/seed0"])
@pytest.mark.parametrize("content", ["{}", "[]", "null", "[" * 100_000, '{"stage": "vla", "settings": {}}'])
def test_a_record_without_content_of_what_a_rollout_was_made_from(traced, artefact, content):
    (traced / artefact / "provenance.json").write_text(content)
    with pytest.raises(
        UserError, match=f"{artefact}/provenance.json: .*run the stage that writes it"
    ) as error:
        run(Results(traced), *CELL, False)
    assert "\n" not in str(error.value)


@pytest.mark.parametrize("changed", [{"model": "paligemma-1"}, {"variant": "scratch"}, {"auxiliary": "fast"}])
def test_episodes_of_another_cell(traced, changed):
    path = traced / "rollouts/kosmos-2/none/full/bridge/seed0/episodes.parquet"
    pd.read_parquet(path).assign(**changed).to_parquet(path, index=False)
    problems = trace(Results(traced), *CELL)["problems"]
    assert any(f"{path}: has episodes of another cell or seed" in line for line in problems)


@pytest.mark.parametrize("key", ["study", "scale", "seeds", "cells"])
def test_settings_of_another_version(traced, key):
    path = traced / "analysis/freeze.json"
    content = json.loads(path.read_text())
    del content["settings"][key]
    path.write_text(json.dumps(content))
    with pytest.raises(UserError, match=rf"freeze\.json: settings\.{key} is missing: make the table again"):
        trace(Results(traced), *CELL)
