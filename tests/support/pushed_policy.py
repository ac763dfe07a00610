"""A small policy at its place in a results folder, and a table with its scores."""

from __future__ import annotations

import numpy as np
from tiny_backbones import make
from vla_settings import settings

from vlm4vla.actions.normalisation import Statistics
from vlm4vla.config.policies import MlpHeadSettings
from vlm4vla.core.artefacts import file_hash, files_of, write_json
from vlm4vla.policies.policy import Policy


def write_policy(root, seed=0):
    """A policy at its place in a results folder, as the stage vla leaves it."""
    folder = root / "vla" / "tiny" / "none" / "full" / "bridge" / "seed0"
    bounds = np.full(6, -1, dtype=np.float32), np.full(6, 1, dtype=np.float32)
    head = MlpHeadSettings(features=16, hidden=[16], gripper_loss_weight=0.1)
    backbone = make("paligemma", seed)
    policy = Policy.create(backbone, head, 3, "bridge", Statistics("range", "bridge", *bounds), 0)
    policy.save(folder)
    (folder / "README.md").write_text("an older card\n")
    (folder / "train.jsonl").write_text('{"step": 1}\n')
    (folder / ".lock").touch()
    (folder / "checkpoints").mkdir(exist_ok=True)
    (folder / "checkpoints" / "old.safetensors").write_bytes(b"x")
    write_json(root / "backbones" / "tiny" / "provenance.json", {"stage": "backbone", "settings": {}})
    record = {
        "stage": "vla",
        "settings": settings(benchmark="bridge", seed=0).model_dump(mode="json"),
        "inputs": {"backbone": {"path": "results/other/backbones/tiny/provenance.json"}},
        "outputs": {
            str(path.relative_to(folder)): file_hash(path)
            for path in [*files_of(folder / "backbone", "*.safetensors"), folder / "policy.safetensors"]
        },
    }
    write_json(folder / "provenance.json", record)
    return folder


def write_table(root, seeds=(0,), seed_count=1):
    record = {
        "model": "tiny", "variant": "full", "benchmark": "bridge", "auxiliary": "none",
        "metric": "success_rate", "value": 0.52, "ci_low": 0.42, "ci_high": 0.61, "episodes": 96,
        "seeds": seed_count,
    }  # fmt: skip
    others = [record | {"variant": "scratch", "value": 0.9}, record | {"benchmark": "calvin", "value": 0.8}]
    write_json(
        root / "analysis" / "main.json",
        {"settings": {"scale": "embedded", "seeds": list(seeds)}, "records": [*others, record]},
    )
