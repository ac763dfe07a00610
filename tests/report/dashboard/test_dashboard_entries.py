"""Each study of the list: finished, partial or broken, and what is missing in one line."""

from __future__ import annotations

import json
import os
import shutil

import pandas as pd
import pytest
from listed_studies import COMMIT, MODELS, entry, finished, records, rollout

from vlm4vla.report.rows.cells import Cell


@pytest.fixture(scope="module")
def original(tmp_path_factory):
    return finished(tmp_path_factory.mktemp("results") / "whole")


@pytest.fixture
def study(original, tmp_path):
    return shutil.copytree(original, tmp_path / "whole")


def test_a_finished_study(study):
    found = entry(study)
    assert (found.state, found.line) == ("finished", "")
    assert (found.scale, found.started, found.commits) == ("embedded", "2026-05-01", [COMMIT])
    assert sorted(found.backbones) == MODELS and found.trials == {"bridge": 96}
    assert set(found.seeds.values()) == {(0,)} and len(found.seeds) == 2
    assert [name for name, _ in found.reports][:4] == [
        "report",
        "summary",
        "config",
        "Backbones as policies",
    ]
    frame = pd.read_parquet(rollout(study, "kosmos-2"))
    score = found.scores[Cell("kosmos-2", "full", "bridge")]
    assert score.value == pytest.approx(frame["success"].mean()) and score.episodes == len(frame)


def test_a_partial_study_says_what_is_missing(study):
    shutil.rmtree(study / "rollouts/kosmos-2")
    for path in study.glob("tables/correlation.*"):
        path.unlink()
    (study / "summary.md").unlink()
    (study / "figures/main.png").unlink()
    found = entry(study)
    assert found.state == "partial"
    assert found.line == (
        "missing: the table correlation; 1 of 4 rollouts (the first: kosmos-2/none/full/bridge/seed0); "
        "figures/main.png; summary.md"
    )
    shutil.rmtree(study / "rollouts")
    shutil.rmtree(study / "tables")
    assert entry(study).line == "missing: all tables; all 4 rollouts; summary.md"


def test_a_study_without_a_configuration_is_partial(tmp_path):
    found = entry(records(tmp_path / "plain", 0.5))
    assert (found.state, found.scale) == ("partial", "embedded")
    assert found.line == "missing: config.yaml; all tables; summary.md"
    assert found.started == "" and found.commits == []


def broken_rollout(study):
    rollout(study, "kosmos-2").write_bytes(b"PAR1 not parquet")


def other_type(study):
    path = rollout(study, "kosmos-2")
    pd.read_parquet(path).assign(solved="many").to_parquet(path)


def far_episode(study):
    path = rollout(study, "kosmos-2")
    frame = pd.read_parquet(path)
    frame.loc[0, "episode"] = 2**62
    frame.to_parquet(path)


def negative_episode(study):
    path = rollout(study, "kosmos-2")
    frame = pd.read_parquet(path)
    frame.loc[0, "episode"] = -1
    frame.to_parquet(path)


def flipped(study):
    path = rollout(study, "kosmos-2").with_name("provenance.json")
    record = json.loads(path.read_text())
    path.write_text(json.dumps(record | {"files": {"episodes.parquet": "0" * 64}}))


def other_cell(study):
    shutil.copy(rollout(study, "paligemma-1"), rollout(study, "kosmos-2"))


def edit(name, old, new):
    def change(study):
        text = (study / name).read_text()
        assert old in text
        (study / name).write_text(text.replace(old, new, 1))

    return change


def write(name, content):
    def change(study):
        (study / name).write_bytes(content)

    return change


@pytest.mark.parametrize(
    ("change", "line"),
    [
        (broken_rollout, "rollouts/kosmos-2/none/full/bridge/seed0/episodes.parquet: not a readable parquet"),
        (other_type, "column 'solved' is"),
        (far_episode, "has 96 of 4611686018427387905 episodes of bridge"),
        (negative_episode, "episode -1: write the numbers of episodes from 0"),
        (other_cell, "kosmos-2/none/full/bridge: has episodes of paligemma-1/none/full/bridge: move them"),
        (flipped, "changed since the rollout wrote it"),
        (write("tables/main.csv", b"model,variant\nx,y\n"), "tables/main.csv: line 1: column 'benchmark'"),
        (write("tables/main.csv", b"\xff\xfe\x00"), "tables/main.csv: line 1: not UTF-8"),
        (write("tables/main.csv", b""), "tables/main.csv: line 1: no header"),
        (edit("tables/main.csv", ",96,", ",many,"), "tables/main.csv: line 2: episodes is 'many'"),
        (edit("tables/main.csv", "success_rate,0.", "success_rate,7."), "tables/main.csv: line 2: 7."),
        (edit("config.yaml", "seeds:", "seeeds:"), "config.yaml: "),
        (write("config.yaml", b"a: [\n"), "config.yaml: line 2 is not valid YAML"),
        (write("config.yaml", b"a: &a [*a]\n"), "config.yaml: the value in line 1 contains itself"),
        (
            write("analysis/main.json", b"[" * 100_000),
            "analysis/main.json: cannot be read (ValueError: its values",
        ),
        (write("analysis/main.json", b"{}"), "analysis/main.json: the key settings is missing"),
    ],
)
def test_a_broken_file_is_one_line(study, change, line):
    change(study)
    found = entry(study)
    assert found.state == "broken" and line in found.line
    assert "\n" not in found.line and str(study) not in found.line


def test_other_cells_of_a_study_with_a_broken_rollout_stay(study):
    broken_rollout(study)
    assert {cell.model for cell in entry(study).scores} == {"paligemma-1", "random", "expert"}


def test_without_records_the_scores_are_those_of_the_tables(study, tmp_path):
    whole = entry(study)
    shutil.rmtree(study / "rollouts")
    found = entry(study)
    assert found.records is None and set(found.scores) == set(whole.scores)
    for cell, score in found.scores.items():
        expected = whole.scores[cell]
        assert score.value == pytest.approx(expected.value, rel=1e-5)
        assert (score.ci_low, score.ci_high) == pytest.approx((expected.ci_low, expected.ci_high), rel=1e-5)
        assert (score.episodes, score.seeds) == (expected.episodes, expected.seeds)


def test_extension_files_are_not_run(study, tmp_path):
    program = tmp_path / "own.py"
    program.write_text(f"open({str(tmp_path / 'ran')!r}, 'w')\n")
    text = (study / "config.yaml").read_text()
    (study / "config.yaml").write_text(f"extensions: [{program}]\n{text}")
    assert entry(study).state == "finished"
    (study / "config.yaml").write_text(
        f"extensions: [{program}]\n{text}".replace("family: kosmos-2", "family: my-own")
    )
    assert entry(study).scale == "embedded" and not (tmp_path / "ran").exists()


def test_pipes_are_not_opened(study):
    for name in ("config.yaml", "tables/main.csv", "analysis/main.json"):
        (study / name).unlink()
        os.mkfifo(study / name)
    rollout(study, "kosmos-2").unlink()
    os.mkfifo(rollout(study, "kosmos-2"))
    found = entry(study)
    assert found.state == "broken" and "config.yaml: not a file" in found.line
