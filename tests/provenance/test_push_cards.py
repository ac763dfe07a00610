"""The cards of pushed policies: whose scores they show."""

from __future__ import annotations

import json
import shutil

import pyarrow as pa
import pytest
from huggingface_hub import ModelCard
from pushed_policy import write_policy, write_table
from scipy.stats import binomtest

from vlm4vla.conventions.episodes import SCHEMA
from vlm4vla.core.artefacts import checkpoint_hash, write_json
from vlm4vla.evaluation import records
from vlm4vla.provenance.push_parcels import parcel


@pytest.fixture
def policy(tmp_path):
    return write_policy(tmp_path / "results" / "study")


def test_the_scores_of_another_seed_are_not_shown(policy, tmp_path, capsys):
    root = tmp_path / "results" / "study"
    write_table(root, seeds=(1, 2))
    assert "its scores are not known" in parcel(policy, "me/x", None).texts["README.md"]
    write_table(root, seeds=(0, 1), seed_count=2)
    assert "the mean over 2 policies" in parcel(policy, "me/x", None).texts["README.md"]
    shutil.move(policy, tmp_path / "moved")
    assert "its scores are not known" in parcel(tmp_path / "moved", "me/x", None).texts["README.md"]


def test_the_scores_are_those_of_the_policys_own_rollout(policy, tmp_path):
    """A table can be older than the policy, and its numbers can be means over seeds."""
    root = tmp_path / "results" / "study"
    write_table(root, seeds=(0, 1), seed_count=2)
    values = {
        "study": "study", "scale": "embedded", "benchmark": "bridge", "model": "tiny", "auxiliary": "none",
        "variant": "full", "seed": 0, "task": "carrot", "instruction": "put the carrot on the plate",
        "rollout_seed": 0, "checkpoint": checkpoint_hash(policy), "execution_horizon": 2, "max_steps": 40,
        "steps": 40, "protocol": "p",
    }  # fmt: skip
    rows = [
        values
        | {"episode": number, "initial_state": number, "success": number < 3, "solved": int(number < 3)}
        for number in range(8)
    ]
    folder = root / "rollouts" / "tiny" / "none" / "full" / "bridge" / "seed0"
    records.write(folder / "episodes.parquet", pa.Table.from_pylist(rows, SCHEMA))
    text = parcel(policy, "me/x", None).texts["README.md"]
    low, high = binomtest(3, 8).proportion_ci(method="wilson")
    assert f"| success_rate | 37.5 % | {100 * low:.1f} % to {100 * high:.1f} % | 8 |" in text
    assert "the mean over" not in text
    write_policy(root, seed=1)  # trained again, and not rolled out since
    assert "the mean over 2 policies" in parcel(policy, "me/x", None).texts["README.md"]


def test_a_policy_of_an_earlier_version_can_be_sent(policy):
    record = json.loads((policy / "policy.json").read_text())
    del record["interface"]
    write_json(policy / "policy.json", record)
    card = ModelCard(parcel(policy, "me/x", None).texts["README.md"])
    assert "policy.act(image" in card.text and card.data.library_name == "vlm4vla"
