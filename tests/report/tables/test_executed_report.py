"""The table of executed steps: the right records in each column, and a trace back to them."""

import csv
import json
from pathlib import Path

import pytest
import synthetic_study as made
from scipy.stats import binomtest

from vlm4vla.analysis.multiplicity import holm
from vlm4vla.config.stages import TableSettings
from vlm4vla.provenance.trace import trace
from vlm4vla.stages.table import run
from vlm4vla.study.outputs import outputs
from vlm4vla.study.results_folder import Results

MODELS = ["kosmos-2", "paligemma-1"]
HORIZONS = {"bridge": [4, 1, 2], "libero-10": [4, 2]}
SKILL = {1: 0.3, 2: 0.5, 4: 0.8}


def write(root: Path) -> list[Path]:
    paths = []
    for benchmark, horizons in HORIZONS.items():
        for model in MODELS:
            for steps in horizons:
                frame = made.episodes(model, "full", benchmark, SKILL[steps]).assign(
                    execution_horizon=steps, protocol=f"{steps} executed"
                )
                path = made.write_episodes(root, frame)
                if steps != horizons[0]:
                    other = path.parent.with_name(f"seed0-executed{steps}") / path.name
                    other.parent.mkdir(exist_ok=True)
                    path = path.replace(other)
                paths.append(path)
    for benchmark, horizons in HORIZONS.items():
        for model in MODELS:
            frame = made.episodes(model, "full", benchmark, SKILL[4]).assign(
                execution_horizon=horizons[0], protocol=f"{horizons[0]} executed"
            )
            paths.append(made.write_episodes(root, frame))
        floor = made.episodes("random", "full", benchmark, 0.1).assign(
            execution_horizon=horizons[0], protocol=f"{horizons[0]} executed"
        )
        paths.append(made.write_episodes(root, floor))
    return sorted({path for path in paths if path.exists()})


@pytest.fixture(scope="module")
def table(tmp_path_factory):
    root = tmp_path_factory.mktemp("executed") / "results" / "embedded"
    cells = {"backbones": MODELS, "benchmarks": list(HORIZONS)}
    settings = made.settings("executed_steps", cells, horizons=HORIZONS)
    paths = write(root)
    run(settings, episodes=paths, published=made.PUBLISHED, output=root)
    return root


def test_every_column_has_its_own_records(table):
    with (table / "tables" / "executed_steps.csv").open(newline="") as handle:
        rows = list(csv.DictReader(handle))
    assert len(rows) == len(MODELS) * sum(map(len, HORIZONS.values()))
    for row in rows:
        expected = made.episodes(row["model"], "full", row["benchmark"], SKILL[int(row["executed"])])
        assert float(row["value"]) == pytest.approx(expected["success"].mean(), abs=1e-6)
        assert float(row["ci_low"]) < float(row["value"]) < float(row["ci_high"])
        # Only the number of steps that the other tables execute has a published number.
        assert bool(row["published"]) == (int(row["executed"]) == HORIZONS[row["benchmark"]][0])


def test_the_verdict_counts_the_policies_that_differ(table):
    analysis = json.loads((table / "analysis" / "executed_steps.json").read_text())
    assert analysis["gaps"] == []
    bridge, libero = analysis["verdicts"]
    assert "with 1, " in bridge and "with 4 executed steps" in bridge
    assert "The other tables execute 4. With 1 instead of 4, the score is lower in 2 of 2" in bridge
    assert "With 2 instead of 4, the score is lower in 2 of 2" in bridge and "With 2 instead" in libero


def test_steps_are_compared_on_the_same_states_with_holm(table):
    rows = json.loads((table / "analysis" / "executed_steps.json").read_text())["records"]
    others = [row for row in rows if row["executed"] != HORIZONS[row["benchmark"]][0]]
    assert all(row.get("difference") is None for row in rows if row not in others)
    for row in others:
        own, usual = (
            made.episodes(row["model"], "full", row["benchmark"], SKILL[steps])["success"].astype(int)
            for steps in (row["executed"], 4)
        )
        change = own - usual
        wins, losses = int((change > 0).sum()), int((change < 0).sum())
        assert row["difference"] == pytest.approx(change.mean()) and row["compared_with"] == "4 executed"
        assert row["p_value"] == pytest.approx(binomtest(wins, wins + losses).pvalue)
    assert [row["p_adjusted"] for row in others] == pytest.approx(holm([row["p_value"] for row in others]))


def test_files_and_figure(table):
    for name in outputs("executed_steps"):
        assert (table / name).stat().st_size > 300, name


@pytest.mark.parametrize(("steps", "folder"), [(1, "seed0-executed1"), (4, "seed0")])
def test_a_number_can_be_traced_to_its_records(table, monkeypatch, steps, folder):
    monkeypatch.chdir(table.parents[1])
    found = trace(Results(Path("results/embedded")), "executed_steps", "kosmos-2", f"bridge:{steps}")
    assert found["equals_table"] and found["equals_csv"]
    [rollout] = found["rollouts"]
    assert Path(rollout["episodes_file"]).parent.name == folder


def test_a_missing_number_of_steps_is_a_gap(table, tmp_path):
    written = json.loads((table / "analysis" / "executed_steps.json").read_text())
    settings = TableSettings.model_validate(written["settings"])
    paths = [p for p in sorted(table.rglob("episodes.parquet")) if "executed1" not in str(p)]
    run(settings, episodes=paths, published=made.PUBLISHED, output=tmp_path)
    analysis = json.loads((tmp_path / "analysis" / "executed_steps.json").read_text())
    assert len(analysis["gaps"]) == 2 and all("1 steps executed" in gap for gap in analysis["gaps"])
    assert analysis["verdicts"][0].endswith("not measured at every number of executed steps.")
