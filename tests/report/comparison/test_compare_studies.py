"""The comparison of two synthetic studies, cell by cell."""

from __future__ import annotations

import csv
from pathlib import Path

import numpy as np
import pytest
import synthetic_study as made
from scipy.stats import binomtest, boschloo_exact

from vlm4vla import cli
from vlm4vla.analysis.multiplicity import holm
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
    assert found.test == "sign-flip" and (found.first.seeds, found.second.seeds) == (2, 3)
    assert found.difference == pytest.approx(np.mean(frames[other]) - np.mean(frames[one]))


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
