"""VLA training rate of checkpoints: CPU seconds of an update, with the frames and the batch of the study.

The rate is that of the package's training loop with AdamW, on random images of the size of config.yaml, which
the checkpoint's processor resizes. The program prints JSON.

    python speed/checkpoint_rate.py [--config config.yaml] [--steps 5] [--freeze vision] FOLDER ...
"""

from __future__ import annotations

import argparse
import json
import os
import tempfile
from pathlib import Path

os.environ.setdefault("OMP_NUM_THREADS", "1")

import torch
import yaml
from training_rate import INSTRUCTION, demonstrations, timed_steps

from vlm4vla.actions.normalisation import Statistics
from vlm4vla.backbones import load
from vlm4vla.config.config import Config, load_config
from vlm4vla.config.training import Optimiser
from vlm4vla.data.lerobot.reader import DemonstrationSet
from vlm4vla.policies.policy import Policy
from vlm4vla.training.batches.actions import ActionBatches, ActionObjective

RATE = 3e-4


def measure(
    folder: Path, config: Config, frames: DemonstrationSet, steps: int, freeze: str
) -> dict[str, float | int | str]:
    """The rate of the checkpoint in `folder`."""
    settings = config.benchmarks["calvin"]
    statistics = Statistics.from_stats(frames.stats, settings.normalisation, "calvin")

    def fresh() -> tuple[ActionObjective, ActionBatches]:
        policy = Policy.create(load(folder), config.head, settings.chunk, "calvin", statistics, 0)
        policy.freeze(freeze)
        batches = ActionBatches(
            policy,
            frames,
            shift=settings.shift,
            colour=settings.colour_jitter,
            batch=config.vla.batch,
            seed=0,
        )
        return ActionObjective(policy), batches

    training = config.vla.model_copy(update={"optimiser": Optimiser(learning_rate=RATE, average=0.99)})
    _, cpu = timed_steps(fresh, training, steps, folder.name)
    policy = fresh()[0].policy
    return {
        "parameters": sum(parameter.numel() for parameter in policy.parameters()),
        "image_size": policy.backbone.image_size,
        "image_tokens": policy.backbone.adapter.image_tokens,
        "prompt_tokens": len(policy.backbone.prompt_ids(INSTRUCTION)),
        "freeze": freeze,
        "cpu_seconds_an_update": round(cpu / steps, 3),
        "samples_per_cpu_second": round(steps * config.vla.batch / cpu, 1),
    }


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("folders", nargs="+", type=Path, metavar="FOLDER", help="checkpoints")
    parser.add_argument("--config", type=Path, default=Path("config.yaml"))
    parser.add_argument("--steps", type=int, default=5, help="number of timed updates")
    parser.add_argument("--freeze", choices=("none", "vision", "embedding"), default="none")
    arguments = parser.parse_args()
    torch.set_num_threads(1)
    config = load_config(yaml.safe_load(arguments.config.read_text()), str(arguments.config))
    with tempfile.TemporaryDirectory() as folder:
        frames = demonstrations(Path(folder), config.image_size)
        rates = {
            str(each): measure(each, config, frames, arguments.steps, arguments.freeze)
            for each in arguments.folders
        }
    print(
        json.dumps(
            {"batch": config.vla.batch, "threads": 1, "steps": arguments.steps, "checkpoints": rates},
            indent=2,
        )
    )


if __name__ == "__main__":
    main()
