"""Tables of a study with `evaluation.stop`: marks, sequential tests, captions, trace, pack of the records."""

import csv
import json
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
import synthetic_study as made

from vlm4vla.config.stages import RolloutSettings
from vlm4vla.conventions.episodes import STOP
from vlm4vla.evaluation.early_stop import EarlyStop
from vlm4vla.provenance.pack import kept_files
from vlm4vla.provenance.trace import trace
from vlm4vla.report.rows.early_stops import MARK, stop_mark, stop_sentence
from vlm4vla.stages.table import run
from vlm4vla.study.results_folder import Results

pytestmark = pytest.mark.usefixtures("undrawn")

MODELS = ["qwen2.5-vl-3b", "paligemma-1"]
SKILL = {"full": 0.75, "freeze-vision": 0.15, "freeze-embedding": 0.74}
CELLS = {"backbones": MODELS, "benchmarks": ["bridge"]}


def stop_early(path: Path, full: Path, variant: str) -> dict:
    """Replace the records at `path` by those of a rollout that stops against the records at `full`."""
    evaluation = {"episodes": 24, "max_steps": 60, "execution_horizon": 2, "seed": 5}
    evaluation["stop"] = {"against": "full", "alpha": 0.01, "block": 8}
    settings = RolloutSettings(
        policy="vla",
        backbone=path.parts[-6],
        variant=variant,
        benchmark="bridge",
        seed=0,
        evaluation=evaluation,
        image_size=64,
        study="embedded",
        scale="embedded",
    )
    rows = pq.read_table(path)
    solved, early, stop = rows["solved"].to_pylist(), EarlyStop(settings, full, 96), None
    for end in range(8, 97, 8):
        stop = early.look([solved[number] for number in early.order[:end]])
        if stop.reason:
            break
    kept = rows.filter(pa.compute.is_in(rows["episode"], pa.array(stop.numbers)))
    pq.write_table(kept.replace_schema_metadata({STOP: stop.to_json()}), path)
    return stop.summary()


@pytest.fixture(scope="module")
def study(tmp_path_factory):
    root = tmp_path_factory.mktemp("stops") / "results" / "embedded"
    paths, stops = [], {}
    for model in MODELS:
        for variant, skill in SKILL.items():
            path = made.write_episodes(root, made.episodes(model, variant, "bridge", skill))
            if variant != "full":
                stops[model, variant] = stop_early(
                    path, paths[-1] if variant == "freeze-vision" else paths[-2], variant
                )
            paths.append(path)
    paths.append(made.write_episodes(root, made.episodes("random", "full", "bridge", 0.02)))
    paths.append(made.write_episodes(root, made.episodes("expert", "full", "bridge", 0.97)))
    run(made.settings("freeze", CELLS), episodes=paths, published=made.PUBLISHED, output=root)
    return root, stops


def test_the_table_marks_stopped_cells_and_tests_them_sequentially(study):
    root, stops = study
    with (root / "tables" / "freeze.csv").open(newline="") as handle:
        rows = {(row["model"], row["variant"]): row for row in csv.DictReader(handle)}
    text = (root / "tables" / "freeze.md").read_text()
    for model in MODELS:
        stop, row = stops[model, "freeze-vision"], rows[model, "freeze-vision"]
        assert stop["decision"] == "lower" and stop["episodes"] < 96
        assert row["episodes"] == row["states"] == str(stop["episodes"])
        assert row["stopped"] == f"{stop['episodes']} of 96"
        assert row["test"] == "sequential sign-flip" and float(row["p_value"]) <= 0.01
        assert row["outcome"] == "lower" and float(row["p_adjusted"]) < 0.05
        assert f"] {MARK}{stop['episodes']} |" in text
        whole = rows[model, "freeze-embedding"]
        assert stops[model, "freeze-embedding"]["decision"] == "undecided"
        assert whole["stopped"] == "" and whole["test"] == "sequential sign-flip"
        assert (whole["states"], whole["outcome"]) == ("96", "undecided")
        assert rows[model, "full"]["episodes"] == "96" and rows[model, "full"]["stopped"] == ""
    caption = json.loads((root / "analysis" / "freeze.json").read_text())["caption"]
    assert (
        "could stop early: as soon as a sequential test had decided whether the policy differs from the "
        in caption
    )
    assert "the same backbone, all trained" in caption
    assert f"{MARK}: stopped early" in caption and "in full: 96 on Bridge" in caption
    assert "Such a score is biased" in caption and "the level 1 - 0.05 / 12" in caption


def test_trace_recomputes_a_stopped_cell(study):
    root, _ = study
    for column in ("value", "ci_low", "difference", "difference_ci_high", "p_value"):
        found = trace(Results(root), "freeze", "paligemma-1/freeze-vision", f"success_rate:{column}")
        assert found["equals_table"] and found["equals_csv"], column


def test_the_records_of_a_stopped_cell_are_packed(study):
    root, _ = study
    name = "rollouts/paligemma-1/none/freeze-vision/bridge/seed0/episodes.parquet"
    assert name in kept_files(root, False)


def test_a_table_without_stops_has_no_column_for_them(tmp_path):
    root = tmp_path / "results" / "embedded"
    frames = [made.episodes("paligemma-1", variant, "bridge", skill) for variant, skill in SKILL.items()]
    frames.append(made.episodes("random", "full", "bridge", 0.02))
    paths = [made.write_episodes(root, frame) for frame in frames]
    run(
        made.settings("freeze", CELLS | {"backbones": ["paligemma-1"]}),
        episodes=paths,
        published=made.PUBLISHED,
        output=root,
    )
    text = (root / "tables" / "freeze.csv").read_text() + (root / "analysis" / "freeze.json").read_text()
    assert "stop" not in text and MARK not in text


def test_the_words_for_each_kind_of_other_policy():
    row = {"model": "kosmos-2", "auxiliary": "robopoint", "benchmark": "bridge", "stop_looks": 5}
    row |= {"stop_states": [20, 60], "stop_planned": 96, "stopped": "20-60 of 96"}
    for against, words in (
        ("random/none/full", "random actions"),
        ("kosmos-2/none/full", "the same backbone without an auxiliary task"),
        ("kosmos-2/robopoint/full", "the same backbone, all trained"),
        ("paligemma-1/none/full", "PaliGemma-1"),
    ):
        assert words.lower() in stop_sentence([row | {"stop_against": against}]).lower()
    assert stop_mark(row) == f" {MARK}20-60" and stop_mark({}) == ""
    assert stop_sentence([{"model": "kosmos-2"}]) == ""
