"""The comparison of two synthetic studies, cell by cell."""

from __future__ import annotations

import csv
from pathlib import Path

import numpy as np
import pyarrow.parquet as pq
import pytest
import synthetic_study as made
from scipy.stats import binomtest, boschloo_exact

from vlm4vla import cli
from vlm4vla.analysis.multiplicity import holm
from vlm4vla.conventions.episodes import STOP, Stop
from vlm4vla.report.comparison.studies import compare_studies
from vlm4vla.study.results_folder import Results


def study(root: Path, skill: float, models=("kosmos-2", "paligemma-1"), noise: int = 0, **how) -> Path:
    """Write rollouts of `models` on CALVIN and Bridge to `root`."""
    for model in models:
        for benchmark in ("calvin", "bridge"):
            made.write_episodes(root, made.episodes(model, "full", benchmark, skill, noise=noise, **how))
    return root


def compared(first: Path, second: Path):
    return compare_studies(Results(first), Results(second))


def outcomes(root: Path, benchmark: str, model: str = "kosmos-2") -> np.ndarray:
    import pandas as pd

    path = root / f"rollouts/{model}/none/full/{benchmark}/seed0/episodes.parquet"
    return pd.read_parquet(path)["success"].to_numpy()


def test_same_states_are_paired(tmp_path):
    one, other = study(tmp_path / "a", 0.5), study(tmp_path / "b", 0.6, noise=1)
    found = compared(one, other).differences
    assert len(found) == 4 and not any(each.why_unpaired for each in found)
    bridge = next(each for each in found if each.cell[:3] == ("kosmos-2", "full", "bridge"))
    a, b = outcomes(one, "bridge"), outcomes(other, "bridge")
    assert bridge.difference == pytest.approx(b.mean() - a.mean())
    wins, losses = int((b & ~a).sum()), int((a & ~b).sum())
    assert bridge.test == "McNemar"
    assert bridge.p_value == pytest.approx(binomtest(wins, wins + losses).pvalue)
    assert [each.adjusted for each in found] == pytest.approx(holm([each.p_value for each in found]))


def test_order_of_episodes_does_not_matter(tmp_path):
    one = study(tmp_path / "a", 0.5)
    other = tmp_path / "b"
    for model in ("kosmos-2", "paligemma-1"):
        for benchmark in ("calvin", "bridge"):
            frame = made.episodes(model, "full", benchmark, 0.5)
            made.write_episodes(other, frame.assign(episode=frame["episode"].to_numpy()[::-1]))
    found = compared(one, other).differences
    assert all(each.difference == 0 and each.p_value == 1 and not each.why_unpaired for each in found)
    assert all(each.same_checkpoint for each in found)


@pytest.mark.parametrize(
    ("change", "why"),
    [
        ({"count": 60}, "the number of initial states differs"),
        ({"rollout_seed": 6}, "the initial states differ"),
        ({"protocol": "another"}, "the protocol differs"),
        ({"execution_horizon": 1}, "execution_horizon differs"),
        ({"scale": "smoke"}, "scale differs (embedded in A, smoke in B)"),
    ],
)
def test_different_states_or_protocols_are_not_paired(tmp_path, change, why):
    one, other = study(tmp_path / "a", 0.5), study(tmp_path / "b", 0.65, noise=1, **change)
    found = compared(one, other).differences
    assert all(why in each.why_unpaired for each in found)
    bridge = next(each for each in found if each.cell[:3] == ("kosmos-2", "full", "bridge"))
    a, b = outcomes(one, "bridge"), outcomes(other, "bridge")
    table = [[b.sum(), a.sum()], [(~b).sum(), (~a).sum()]]
    assert bridge.test == "Boschloo"
    assert bridge.p_value == pytest.approx(boschloo_exact(table, n=128).pvalue, rel=1e-4)
    calvin = next(each for each in found if each.cell.benchmark == "calvin")
    assert calvin.test == "permutation" and calvin.ci_low < calvin.difference < calvin.ci_high


def test_all_training_seeds_of_both_studies_count(tmp_path):
    one, other = tmp_path / "a", tmp_path / "b"
    frames = {}
    for root, seeds in ((one, (0, 1)), (other, (1, 2, 3))):
        for seed in seeds:
            frame = made.episodes("kosmos-2", "full", "bridge", 0.5, seed=seed)
            made.write_episodes(root, frame)
            frames.setdefault(root, []).append(frame["success"].mean())
    (found,) = compared(one, other).differences
    assert found.covers_seeds and (found.first.seeds, found.second.seeds) == (2, 3)
    assert found.difference == pytest.approx(np.mean(frames[other]) - np.mean(frames[one]))


def seeded(root: Path, seeds: tuple[int, ...], fail: tuple[int, ...] = (), model="kosmos-2") -> Path:
    """Rollouts on Bridge, where the training runs `fail` never succeed."""
    for seed in seeds:
        frame = made.episodes(model, "full", "bridge", 0.0 if seed in fail else 0.6, seed=seed)
        made.write_episodes(root, frame.assign(checkpoint=f"{root.name}-{seed}"))
    return root


def test_a_difference_that_one_failed_training_run_makes_is_not_significant(tmp_path):
    """One of three runs in A fails. The difference is certain for these policies, but not for the recipes."""
    one, other = seeded(tmp_path / "a", (0, 1, 2), fail=(1,)), seeded(tmp_path / "b", (0, 1, 2))
    (found,) = compared(one, other).differences
    assert found.covers_seeds and found.difference > 0.1
    assert found.p_value > 0.05 and found.ci_low < 0 < found.ci_high
    # The same policies twice have no variance between training runs.
    (same,) = compared(one, one).differences
    assert same.same_checkpoint and not same.covers_seeds and same.p_value == 1


def comparison_of(tmp_path, capsys, first: Path, second: Path) -> str:
    assert cli.main(["compare", str(first), str(second)]) == 0
    return " ".join(capsys.readouterr().out.split())


def test_the_caption_says_which_intervals_cover_training_runs(tmp_path, capsys):
    single, another = seeded(tmp_path / "a", (0,)), seeded(tmp_path / "b", (0,))
    text = comparison_of(tmp_path, capsys, single, another)
    assert "test of B minus A do not cover the variance between training runs" in text
    assert "5 % level after Holm's correction, for these trained policies" in text
    assert "columns A and B" not in text
    three, others = seeded(tmp_path / "c", (0, 1, 2)), seeded(tmp_path / "d", (0, 1, 2))
    text = comparison_of(tmp_path, capsys, three, others)
    assert "The intervals in the columns A and B cover the variance between training runs." in text
    assert "In all cells, the interval and the test of B minus A cover it, too." in text
    assert "Holm's correction, over training seeds and initial states)" in text
    assert "not cover" not in text
    # One training run against three.
    text = comparison_of(tmp_path, capsys, single, three)
    assert "The intervals of scores with several training seeds in the columns A and B cover" in text
    assert "The interval and the test of B minus A do not cover it: two runs" in text
    # A second backbone with one training run in one folder.
    seeded(three, (0, 1, 2), model="paligemma-1")
    seeded(others, (0,), model="paligemma-1")
    text = comparison_of(tmp_path, capsys, three, others)
    assert "In 1 of 2 cells, the interval and the test of B minus A cover it, too. In 1 of 2 cells" in text
    assert "in 1 over training seeds and initial states, in the others for these trained policies" in text
    # The same checkpoints.
    text = comparison_of(tmp_path, capsys, single, single)
    assert "Rollouts of the same checkpoint differ by the rollouts alone." in text and "not cover" not in text


def test_cells_of_one_study_only_are_named(tmp_path, capsys):
    one = study(tmp_path / "a", 0.5, models=("kosmos-2", "paligemma-1"))
    other = study(tmp_path / "b", 0.5, models=("kosmos-2", "qwen3-vl-2b"))
    assert cli.main(["compare", str(one), str(other), "--output", str(tmp_path / "c.md")]) == 0
    text = (tmp_path / "c.md").read_text()
    assert "PaliGemma-1, all trained on Bridge in B" in text
    assert "Qwen3-VL-2B, all trained on CALVIN in A" in text
    with (tmp_path / "c.csv").open(newline="") as handle:
        rows = list(csv.DictReader(handle))
    assert sorted(row["only_in"] for row in rows) == ["", "", "A", "A", "B", "B"]
    assert not (tmp_path / "c.tex").exists()


def test_without_output_the_table_is_printed(tmp_path, capsys):
    one = study(tmp_path / "a", 0.5)
    assert cli.main(["compare", str(one), str(one)]) == 0
    printed = capsys.readouterr().out
    assert printed.startswith("# Two studies")
    assert "4 cells are from rollouts of the same checkpoint in both folders" in printed


def test_user_errors_are_one_line(tmp_path, capsys):
    one = study(tmp_path / "a", 0.5, models=("kosmos-2",))
    other = study(tmp_path / "b", 0.5, models=("paligemma-1",))
    (tmp_path / "empty" / "rollouts").mkdir(parents=True)
    for arguments, message in (
        ([one, tmp_path / "nowhere"], "no such folder"),
        ([one, tmp_path / "empty"], "no episodes.parquet under rollouts/"),
        ([one, other], "no cell is in both"),
        ([one, one, "--output", tmp_path / "c.txt"], "ends in .csv or .md"),
    ):
        assert cli.main(["compare", *map(str, arguments)]) == 1
        error = capsys.readouterr().err
        assert message in error and error.count("\n") == 1


def test_a_rollout_that_stopped_early_is_tested_sequentially(tmp_path):
    one, other = study(tmp_path / "a", 0.2), study(tmp_path / "b", 0.8, noise=1)
    path = other / "rollouts/kosmos-2/none/full/bridge/seed0/episodes.parquet"
    rows = pq.read_table(path)
    stop = Stop("random", "none", "full", 0, 0.05, 8, tuple(range(96)), 24, "higher", "decided", 20)
    pq.write_table(rows[:24].replace_schema_metadata({STOP: stop.to_json()}), path)
    found = compared(one, other).differences
    [bridge] = [each for each in found if each.cell[:3] == ("kosmos-2", "full", "bridge")]
    assert (bridge.test, bridge.why_unpaired) == ("sequential sign-flip", "")
    assert bridge.p_value <= 0.05 and bridge.second.episodes == bridge.first.episodes == 24
    changed = rows[:24].set_column(rows.column_names.index("max_steps"), "max_steps", [[61] * 24])
    pq.write_table(changed.replace_schema_metadata({STOP: stop.to_json()}), path)
    [bridge] = [each for each in compared(one, other).differences if each.cell[:3] == bridge.cell[:3]]
    assert (bridge.test, bridge.p_value) == ("not tested: could stop early", 1.0) and bridge.why_unpaired
