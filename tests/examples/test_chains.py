"""A user's benchmark of chains: an extension of the example benchmark, from its file to its table."""

import csv
from pathlib import Path

import pyarrow.parquet as pq
import pytest
import synthetic_study as made
from undrawn_figures import undrawn

from vlm4vla.config.stages import RolloutSettings
from vlm4vla.conventions.benchmarks import facts
from vlm4vla.core import registry
from vlm4vla.stages import rollout, table

EXAMPLE = Path(__file__).parents[2] / "docs" / "examples" / "push_button.py"
CHAIN = """

@benchmark
class LampTwice(PushButton):
    name = "lamp-twice"
    title = "Lamp twice"
    instructions_per_episode = 2

    def evaluation(self, episodes, seed):
        start = super().evaluation(episodes, seed)[:episodes]
        light, put_out = (Task(name, words[0], (Press(lit),)) for name, (lit, words) in TASKS.items())
        return [replace(episode, tasks=(light, put_out)) for episode in start]
"""


@pytest.fixture(autouse=True)
def own_file(tmp_path, monkeypatch):
    path = tmp_path / "lamp_twice.py"
    path.write_text(EXAMPLE.read_text() + CHAIN)
    monkeypatch.setattr(registry, "_active", None)
    registry.activate([str(path)])


def roll_out(output: Path, policy: str) -> Path:
    settings = {
        "policy": policy,
        "backbone": policy,
        "variant": "full",
        "benchmark": "lamp-twice",
        "seed": 0,
        "evaluation": {"episodes": 6, "max_steps": 40, "execution_horizon": 1, "videos": 0},
        "image_size": 64,
        "study": "embedded",
        "scale": "embedded",
    }
    rollout.run(RolloutSettings.model_validate(settings), output=output)
    return output / "episodes.parquet"


def test_records_count_the_instructions_solved_in_a_row(tmp_path):
    rows = pq.read_table(roll_out(tmp_path / "expert", "expert")).to_pandas()
    assert set(rows["task"]) == {"light_lamp > put_out_lamp"}
    assert rows["solved"].mean() > 1.5 and (rows["success"] == (rows["solved"] == 2)).all()
    assert facts("lamp-twice").metrics == ("average_length", "success_at_1", "success_at_2")


def test_the_main_table_shows_the_average_length_and_the_rates_in_a_row(tmp_path):
    paths = [roll_out(tmp_path / policy, policy) for policy in ("random", "expert")]
    scores = {"kosmos-2": [2, 2, 1, 1, 0, 0], "paligemma-1": [2, 2, 2, 2, 1, 0]}
    for model, solved in scores.items():
        frame = pq.read_table(paths[1]).to_pandas().assign(model=model, checkpoint=model, solved=solved)
        paths.append(made.write_episodes(tmp_path / "records", frame.assign(success=frame["solved"] == 2)))
    cells = {"backbones": list(scores), "auxiliaries": {}, "benchmarks": ["lamp-twice"]}
    output = tmp_path / "out"
    with undrawn():
        table.run(made.settings("main", cells), episodes=paths, published=made.PUBLISHED, output=output)
    text = (output / "tables" / "main.md").read_text()
    assert "Lamp twice (embedded): average length, 0 to 2" in text
    assert "| 1 in a row, % |" in text.replace("  ", "") and "3 in a row" not in text
    with (output / "tables" / "main.csv").open() as lines:
        rows = {(row["model"], row["metric"]): row for row in csv.DictReader(lines)}
    assert float(rows["kosmos-2", "average_length"]["value"]) == 1.0
    assert float(rows["paligemma-1", "success_at_2"]["value"]) == pytest.approx(4 / 6, abs=1e-5)
    assert float(rows["expert", "average_length"]["ci_high"]) <= 2.0
