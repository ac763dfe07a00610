"""Success by task against a loop over the records."""

from collections import Counter

import numpy as np
import pandas as pd
import synthetic_study as made

from vlm4vla.analysis.by_task import attempts_by_task
from vlm4vla.conventions.episodes import SEPARATOR
from vlm4vla.evaluation import records
from vlm4vla.report.figures.tasks import draw_tasks


def chains():
    frame = made.episodes("kosmos-2", "full", "calvin", 0.7)
    rng = np.random.default_rng(0)
    names = ["open", "close", "push", "lift", "press", "turn", "slide"]
    frame["task"] = [SEPARATOR.join(rng.permutation(names)[:5]) for _ in range(len(frame))]
    return frame


def test_separator_is_the_rollouts_own():
    assert SEPARATOR == records.SEPARATOR


def test_chains_count_what_was_tried():
    frame = pd.concat([chains(), chains().assign(model="paligemma-1", solved=5)])
    tried, solved = Counter(), Counter()
    for _, row in frame.iterrows():
        for place, task in enumerate(row["task"].split(SEPARATOR)):
            if place <= row["solved"]:
                tried[row["model"], task] += 1
                solved[row["model"], task] += place < row["solved"]
    table = attempts_by_task(frame)
    assert {(row.model, row.task): row.tried for row in table.itertuples()} == tried
    assert {(row.model, row.task): row.solved for row in table.itertuples()} == {
        key: solved[key] for key in tried
    }


def test_single_instructions_and_no_record():
    frame = made.episodes("kosmos-2", "full", "bridge", 0.5)
    table = attempts_by_task(frame).set_index("task")
    for task, own in frame.groupby("task"):
        assert (table.loc[task, "tried"], table.loc[task, "solved"]) == (len(own), own["success"].sum())
    assert attempts_by_task(frame[:0]).empty


def test_figure_names_gaps(tmp_path):
    labels = {("kosmos-2", "full"): "Kosmos-2", ("absent", "full"): "absent"}
    found = {"calvin": attempts_by_task(chains())}
    draw_tasks(found, labels, ["calvin", "bridge"], "smoke", tmp_path / "tasks")
    assert (tmp_path / "tasks.png").stat().st_size > 5000
    assert (tmp_path / "tasks.pdf").read_bytes().startswith(b"%PDF")
