"""The whole smoke study: all declared artefacts exist and are valid, and a second run has nothing to do."""

from __future__ import annotations

import json
import re
from pathlib import Path

import pandas as pd
import pyarrow.parquet as pq
import pytest
from described_files import undescribed
from PIL import Image
from safetensors import safe_open
from smoke_study import snakemake

from vlm4vla.conventions.episodes import SCHEMA
from vlm4vla.data.lerobot.reader import read_demonstrations
from vlm4vla.study.runs import Run

pytestmark = [pytest.mark.end_to_end, pytest.mark.timeout(1500)]

TABLE_COLUMNS = [
    "model",
    "variant",
    "benchmark",
    "metric",
    "value",
    "ci_low",
    "ci_high",
    "episodes",
    "seeds",
    "published",
]


def test_every_declared_artefact_exists(smoke):
    missing = [name for name in smoke.study.declared() if not Path(name).stat().st_size]
    assert not missing
    assert not [path for path in smoke.root.rglob("checkpoints") if any(path.iterdir())]
    assert not list(smoke.root.rglob(".*.tmp"))


def test_the_log_shows_progress_and_remaining_time(smoke):
    assert re.search(r"^\[ *\d+ of \d+, .*\] start vla: ", smoke.output, re.MULTILINE)
    assert re.search(r"done  .*about .* left\)", smoke.output)


def test_a_second_run_has_nothing_to_do(smoke):
    again = snakemake("all_tables", "--cores", "2", folder=smoke.folder)
    assert again.returncode == 0
    assert "Nothing to be done" in again.stderr


def test_weights_open(smoke):
    files = list(smoke.root.rglob("*.safetensors"))
    assert len(files) >= 4 + 2 + 2 * 19  # backbones, fine-tuned backbones, policies
    for path in files:
        with safe_open(path, framework="numpy") as tensors:
            # OpenVLA has no head weights: its action tokens are in the backbone.
            assert list(tensors.keys()) or "openvla" in path.parts, path


def test_demonstrations_are_complete(smoke):
    for benchmark in ("calvin", "bridge", "libero-10"):
        demonstrations = read_demonstrations(
            Path(smoke.study.demonstrations_path(benchmark)).parent, images=False
        )
        expected = smoke.study.config.benchmarks[benchmark].demonstrations.episodes
        assert len(set(demonstrations.episode_index.tolist())) == expected


def test_episodes_have_their_columns_and_start_from_the_same_initial_states(smoke):
    states = {}
    for path in sorted(smoke.root.glob("rollouts/**/episodes.parquet")):
        table = pq.read_table(path)
        assert table.column_names == SCHEMA.names, path
        rows = table.to_pandas()
        assert len(rows) and rows["scale"].unique().tolist() == ["smoke"]
        key = rows[["task", "initial_state"]].to_dict("list")
        assert states.setdefault(rows["benchmark"][0], key) == key, path
    assert set(states) == {"calvin", "bridge", "libero-10"}


def test_expert_solves_more_than_random_actions(smoke):
    for benchmark in ("calvin", "bridge", "libero-10"):
        rates = [
            pq.read_table(smoke.study.episodes_path(Run(policy, "none", "full", benchmark, 0))).to_pandas()
            for policy in ("expert", "random")
        ]
        assert rates[0]["solved"].mean() > rates[1]["solved"].mean()


def test_capability_counts_its_questions(smoke):
    paths = list(smoke.root.glob("capability/*/*.json"))
    assert {path.stem for path in paths} == {"none", "robopoint", "omni-generation", "fast-unfreeze-vision"}
    for path in paths:
        scores = json.loads(path.read_text())
        assert set(scores["sets"]) == set(smoke.study.config.capability.sets)
        for suite in (*scores["sets"].values(), scores["overall"]):
            assert 0 <= suite["score"] <= 1 and suite["questions"] > 0
            assert suite["correct"] <= suite["questions"]


def test_training_logs_have_their_columns(smoke):
    for path in smoke.root.glob("vla/**/train.jsonl"):
        rows = [json.loads(line) for line in path.read_text().splitlines()]
        assert rows and rows[-1]["step"] == smoke.study.config.vla.steps
        assert {"loss", "learning_rate", "samples_per_second", "gradient_norm"} <= set(rows[-1])


def test_fine_tuned_backbones_have_their_own_scores(smoke):
    paths = [Path(name) for table in smoke.study.tables() for name in smoke.study.table_auxiliary(table)]
    assert {path.parent.name for path in paths} == {"robopoint", "omni-generation", "fast-unfreeze-vision"}
    for path in paths:
        scores = json.loads(path.with_name("score.json").read_text())
        for score in (scores["before"], scores["after"]):
            assert 0 <= score["ci_low"] <= score["score"] <= score["ci_high"] <= 1
            assert 0 < score["questions"] <= smoke.study.config.auxiliary.questions


@pytest.mark.parametrize("table", ["auxiliary", "fast_injection"])
def test_table_of_fine_tuned_backbones_is_complete(smoke, table):
    analysis = json.loads((smoke.root / "analysis" / f"{table}.json").read_text())
    assert analysis["gaps"] == []
    rows = pd.read_csv(smoke.root / "tables" / f"{table}.csv", keep_default_na=False)
    tasks = {task for _, task in smoke.study.vlms(table)}
    assert set(rows["auxiliary"]) == tasks
    metrics = {"auxiliary_score_before", "auxiliary_score_after", "capability_overall"}
    assert metrics <= set(rows["metric"])
    if table == "fast_injection":
        assert analysis["fast"]["round_trip_error"] <= analysis["fast"]["error_bound"]


@pytest.mark.parametrize(
    "table", ["main", "freeze", "scratch", "auxiliary", "fast_injection", "correlation", "transfer"]
)
def test_table_in_its_three_formats(smoke, table):
    folder = smoke.root / "tables"
    rows = pd.read_csv(folder / f"{table}.csv")
    assert len(rows)
    if table not in ("correlation", "transfer"):
        assert list(rows.columns)[: len(TABLE_COLUMNS)] == TABLE_COLUMNS
        key = ["model", "variant", "benchmark", "metric"] + ["auxiliary"] * ("auxiliary" in rows)
        assert not rows.duplicated(key).any()
        inside = rows.dropna(subset=["ci_low", "ci_high"])
        assert ((inside["ci_low"] <= inside["value"]) & (inside["value"] <= inside["ci_high"])).all()
    markdown = (folder / f"{table}.md").read_text()
    assert "smoke" in markdown.lower()
    widths = [line.count("|") for line in markdown.splitlines() if line.startswith("|")]
    assert widths and min(widths) >= 3
    latex = (folder / f"{table}.tex").read_text()
    assert latex.count(r"\begin{") == latex.count(r"\end{") > 0
    assert latex.count("{") - latex.count(r"\{") == latex.count("}") - latex.count(r"\}")
    assert json.loads((smoke.root / "analysis" / f"{table}.json").read_text())


def test_figures_open(smoke):
    figures = list((smoke.root / "figures").iterdir())
    assert figures
    for path in figures:
        if path.suffix == ".png":
            with Image.open(path) as image:
                image.verify()
        else:
            assert path.read_bytes().startswith(b"%PDF")


def test_films_open(smoke):
    films = list(smoke.root.rglob("videos/*"))
    assert films
    for path in films[:5]:
        with Image.open(path) as film:
            assert film.n_frames > 1


def test_every_column_and_key_is_described(smoke):
    """In docs/results.md, which is made from the same descriptions."""
    assert list(undescribed(smoke.root)) == []
