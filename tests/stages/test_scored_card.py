"""The stage rollout writes the scores on the model card of its policy."""

from __future__ import annotations

import csv
import json
import os
from pathlib import Path

import numpy as np
import pyarrow.parquet as pq
import pytest
from huggingface_hub import ModelCard
from scipy.stats import binomtest
from tiny_backbones import make
from vla_settings import settings

from vlm4vla.actions.normalisation import Statistics
from vlm4vla.config.policies import MlpHeadSettings
from vlm4vla.config.stages import CellSettings, RolloutSettings
from vlm4vla.core.artefacts import checkpoint_hash, write_json
from vlm4vla.policies.policy import Policy
from vlm4vla.stages import cell, rollout
from vlm4vla.stages.scored_card import write_scores

RUN = Path("tiny", "none", "full", "bridge", "seed0")


def write_policy(root: Path, seed: int = 0) -> Path:
    folder = root / "vla" / RUN
    bounds = np.full(6, -1, dtype=np.float32), np.full(6, 1, dtype=np.float32)
    head = MlpHeadSettings(features=16, hidden=[16], gripper_loss_weight=0.1)
    backbone = make("paligemma", seed)
    Policy.create(backbone, head, 3, "bridge", Statistics("range", "bridge", *bounds), 0).save(folder)
    (folder / "README.md").write_text("a card without scores\n")
    write_json(root / "backbones" / "tiny" / "provenance.json", {"stage": "backbone", "settings": {}})
    record = {
        "stage": "vla",
        "settings": settings(benchmark="bridge", seed=0).model_dump(mode="json"),
        "inputs": {"backbone": {"path": "results/elsewhere/backbones/tiny/provenance.json"}},
    }
    write_json(folder / "provenance.json", record)
    return folder


def rollout_settings(**changes) -> RolloutSettings:
    values = {
        "policy": "vla", "backbone": "tiny", "variant": "full", "benchmark": "bridge", "seed": 0,
        "evaluation": {"episodes": 1, "max_steps": 2, "execution_horizon": 2, "videos": 0},
        "image_size": 64, "study": "s", "scale": "smoke",
    }  # fmt: skip
    return RolloutSettings.model_validate(values | changes)


@pytest.fixture
def root(tmp_path):
    return tmp_path / "results" / "s"


def test_the_card_has_the_scores_that_the_cells_table_has(root, tmp_path):
    folder, output = write_policy(root), root / "rollouts" / RUN
    rollout.run(rollout_settings(), vla=folder, output=output)
    rows = pq.read_table(output / "episodes.parquet")
    solved, episodes = sum(rows["success"].to_pylist()), rows.num_rows
    low, high = binomtest(solved, episodes).proportion_ci(method="wilson")
    card = ModelCard.load(folder / "README.md")
    (result,) = card.data.eval_results
    assert result.metric_value == solved / episodes and result.metric_args["episodes"] == episodes
    assert result.metric_args["ci_low"] == pytest.approx(low, abs=1e-9)
    assert result.metric_args["ci_high"] == pytest.approx(high, abs=1e-9)
    assert f"{100 * low:.1f} % to {100 * high:.1f} % | {episodes} |" in card.text
    assert "pre-trained on generated questions" in card.text  # the inputs are found where they are now
    wanted = CellSettings(
        model="tiny", variant="full", benchmark="bridge", auxiliary="none", seeds=[0], study="s",
        scale="smoke",
    )  # fmt: skip
    cell.run(
        wanted, episodes=[output / "episodes.parquet"], capability=[], auxiliary=[], output=tmp_path / "c.csv"
    )
    with (tmp_path / "c.csv").open(newline="") as handle:
        (row,) = csv.DictReader(handle)
    in_table = [float(row[key]) for key in ("value", "ci_low", "ci_high")]  # with six digits
    on_card = [result.metric_value, result.metric_args["ci_low"], result.metric_args["ci_high"]]
    assert on_card == pytest.approx(in_table, abs=1e-6)


def test_other_policies_and_horizons_leave_the_card(root):
    folder, output = write_policy(root), root / "rollouts" / RUN
    rollout.run(rollout_settings(), vla=folder, output=output)
    written = (folder / "README.md").read_bytes()
    checkpoint = checkpoint_hash(folder)
    write_scores(folder, output.with_name("seed0-executed1") / "episodes.parquet", checkpoint)
    assert (folder / "README.md").read_bytes() == written
    write_scores(folder, output / "episodes.parquet", "0" * 64)  # records of an earlier training
    assert "its scores are not known" in (folder / "README.md").read_text()
    write_scores(None, output / "episodes.parquet", checkpoint)
    (folder / "README.md").unlink()
    write_scores(folder, output / "episodes.parquet", checkpoint)
    assert not (folder / "README.md").exists()
    assert json.loads((output / "provenance.json").read_text())["checkpoint"] == checkpoint


def test_a_card_that_cannot_be_written_does_not_fail_the_rollout(root, monkeypatch, capsys):
    folder, output = write_policy(root), root / "rollouts" / RUN
    real = os.replace

    def full(source, target, **options):
        if Path(target).name == "README.md":
            raise OSError(28, "No space left on device", str(target))
        return real(source, target, **options)

    monkeypatch.setattr(os, "replace", full)
    rollout.run(rollout_settings(), vla=folder, output=output)
    assert (output / "provenance.json").is_file()
    assert "README.md: cannot be written" in capsys.readouterr().out
