"""One cell as a small table: the row that no table of the study holds."""

import csv
import json

import pytest
import synthetic_study as made

from vlm4vla.analysis.intervals import wilson
from vlm4vla.config.stages import CellSettings
from vlm4vla.core.errors import UserError
from vlm4vla.stages.cell import run


def settings(**changes):
    cell = {"model": "kosmos-2", "auxiliary": "none", "variant": "full", "benchmark": "bridge"}
    return CellSettings(study="embedded", scale="embedded", seeds=[0], **cell | changes)


def read(path):
    with path.open(newline="") as handle:
        return {row["metric"]: row for row in csv.DictReader(handle)}


def test_row_of_a_cell(tmp_path):
    frame = made.episodes("kosmos-2", "full", "bridge", 0.6)
    records = made.write_episodes(tmp_path, frame)
    output = tmp_path / "cells" / "bridge.csv"
    run(settings(), episodes=[records], capability=[], auxiliary=[], output=output)
    row = read(output)["success_rate"]
    assert float(row["value"]) == pytest.approx(frame["success"].mean(), abs=1e-5)
    low, high = wilson(int(frame["success"].sum()), len(frame))
    assert (float(row["ci_low"]), float(row["ci_high"])) == pytest.approx((low, high), abs=1e-5)
    assert (row["model"], row["auxiliary"], row["episodes"], row["seeds"]) == ("kosmos-2", "none", "96", "1")
    text = output.with_suffix(".md").read_text()
    assert "Kosmos-2" in text and "Bridge (embedded)" in text and "Scale: embedded" in text
    assert f"{100 * frame['success'].mean():.1f}\u00a0[" in text
    assert output.with_suffix(".tex").read_text().count("tabular") == 2


def test_row_of_a_fine_tuned_cell(tmp_path):
    """With the task's own score and the capability before and after."""
    task = "robopoint"
    frame = made.episodes("qwen2.5-vl-3b", "full", "calvin", 0.6, auxiliary=task)
    records = made.write_episodes(tmp_path, frame)
    folder = next(p for p in made.write_own_scores(tmp_path) if p.parent.name == task)
    capability = [
        path
        for path in made.write_tuned_capability(tmp_path)
        if path.parent.name == "qwen2.5-vl-3b" and path.stem in (task, "none")
    ]
    output = tmp_path / "cells" / "calvin.csv"
    run(
        settings(model="qwen2.5-vl-3b", auxiliary=task, benchmark="calvin"),
        episodes=[records],
        capability=capability,
        auxiliary=[folder],
        output=output,
    )
    rows = read(output)
    assert float(rows["average_length"]["value"]) == pytest.approx(frame["solved"].mean(), abs=1e-5)
    assert float(rows["auxiliary_score_before"]["value"]) == 0.2
    assert float(rows["auxiliary_score_after"]["value"]) == 0.8
    assert float(rows["capability_overall"]["value"]) > 0
    assert "clearly rose" in output.with_suffix(".md").read_text()


def test_records_of_another_study_are_refused(tmp_path):
    records = made.write_episodes(tmp_path, made.episodes("kosmos-2", "full", "bridge", 0.6, study="other"))
    with pytest.raises(UserError, match="study is 'other'"):
        run(settings(), episodes=[records], capability=[], auxiliary=[], output=tmp_path / "bridge.csv")


def _rollout(root, changed=None, count=None, **record):
    """A rollout of kosmos-2 on bridge in its folder, with changed rows, a part of them, or another record."""
    frame = made.episodes("kosmos-2", "full", "bridge", 0.6).head(count)
    folder = root / "rollouts/kosmos-2/none/full/bridge/seed0"
    folder.mkdir(parents=True)
    frame.assign(**changed or {}).to_parquet(folder / "episodes.parquet", index=False)
    own = {"episodes": 96, "checkpoint": frame["checkpoint"][0], "mean_solved": frame["solved"].mean()}
    (folder / "provenance.json").write_text(json.dumps(own | record))
    return folder / "episodes.parquet"


def test_records_in_their_folder(tmp_path):
    output = tmp_path / "bridge.csv"
    run(settings(), episodes=[_rollout(tmp_path)], capability=[], auxiliary=[], output=output)
    assert read(output)["success_rate"]["episodes"] == "96"


@pytest.mark.parametrize(
    ("rollout", "message"),
    [
        ({"count": 48}, "has 48 episodes, but .*has 96"),
        ({"episodes": 48}, "has 96 episodes, but .*has 48"),
        ({"episodes": "96"}, "has 96 episodes, but .*has '96'"),
        ({"checkpoint": "another"}, "its checkpoint is .*but .*has another"),
        ({"mean_solved": 0.25}, "its mean of solved is .*but .*has 0.25"),
        ({"mean_solved": []}, "not a provenance record"),
        ({"mean_solved": 10**400}, "not a provenance record"),
        ({"files": {"episodes.parquet": "0" * 64}}, "changed since the rollout wrote it"),
        ({"changed": {"model": "kosmos-3"}}, "model is 'kosmos-3', but the folder is that of 'kosmos-2'"),
        ({"changed": {"variant": "scratch"}}, "variant is 'scratch', but the folder is that of 'full'"),
        ({"changed": {"benchmark": "calvin"}}, "benchmark is 'calvin', but the folder is that of 'bridge'"),
        ({"changed": {"seed": 1}}, "seed is 1, but the folder is that of 0"),
    ],
)
def test_records_that_are_not_those_of_their_rollout(tmp_path, rollout, message):
    episodes = _rollout(tmp_path, **rollout)
    with pytest.raises(UserError, match=message) as error:
        run(settings(), episodes=[episodes], capability=[], auxiliary=[], output=tmp_path / "bridge.csv")
    assert "\n" not in str(error.value) and not (tmp_path / "bridge.csv").exists()
