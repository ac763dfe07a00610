"""One cell as a small table: the row that no table of the study holds."""

import csv

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
    assert f"{100 * frame['success'].mean():.1f} [" in text
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
