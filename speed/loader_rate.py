"""Samples a second of the loader of data sets on disk: alone, by number of workers, and beside training.

A data set of videos is made (or taken, with --index): smooth moving pictures, H.264 with a keyframe at every
second frame, as the converters write them. The loader draws shuffled frames, decodes, resizes and augments
them as on Bridge. Beside training: updates of a tiny backbone on the same samples, with the seconds that each
update waited for its pictures; or, with --step-seconds, a step that only takes that long, as a large model on
an accelerator does. Prints JSON.

    python speed/loader_rate.py [--workers 0 1 2] [--updates 12] [--batch 64] [--step-seconds 0.5]
"""

from __future__ import annotations

import argparse
import json
import os
import resource
import tempfile
import time
from pathlib import Path

os.environ.setdefault("OMP_NUM_THREADS", "1")

import numpy as np

from vlm4vla.config.benchmarks import Augmentation
from vlm4vla.config.demonstrations import Demonstrations
from vlm4vla.config.stages import DemonstrationsSettings
from vlm4vla.data.demonstrations.frame_index import open_index
from vlm4vla.data.demonstrations.picture_pool import PictureMaker, PicturePool
from vlm4vla.data.lerobot.writer import LeRobotWriter
from vlm4vla.stages.demonstrations_dataset import run as take
from vlm4vla.training.components.samples import ShuffledIds

AUGMENTATION = Augmentation(crop=0.9, brightness=0.2, contrast=0.2, saturation=0.2, hue=0.05)
AHEAD = 2
INSTRUCTION = "put the carrot on the plate"


def write_set(folder: Path, side: int, episodes: int, length: int) -> Path:
    """A data set of videos `side` pixels a side in which something moves."""
    random = np.random.default_rng(0)
    rows, columns = np.mgrid[0:side, 0:side]
    how = {"fps": 5, "robot_type": "none", "image_size": side, "pictures": "video", "episodes_per_file": 10}
    with LeRobotWriter(folder, **how) as writer:
        for _ in range(episodes):
            base = (np.stack([rows, columns, rows + columns], -1) * 120 // side).astype(np.uint8)
            images = np.repeat(base[None], length, axis=0)
            for frame, (down, right) in enumerate(random.integers(0, side * 3 // 4, (length, 2))):
                images[frame, down : down + side // 4, right : right + side // 4] = random.integers(0, 255, 3)
            actions = random.uniform(-1, 1, (length, 7))
            actions[:, 6] = random.choice([0.0, 1.0], length)
            writer.add_episode(images, random.normal(size=(length, 8)), actions, INSTRUCTION)
    return folder


def index_set(dataset: Path, folder: Path, size: int) -> Path:
    """The index of a data set, for pictures of `size` pixels a side."""
    wanted = Demonstrations(dataset=str(dataset))
    take(DemonstrationsSettings(benchmark="bridge", demonstrations=wanted, image_size=size), output=folder)
    return folder


def measure(index: Path, workers: int, batch: int, updates: int, step_seconds: float) -> dict[str, float]:
    """Rate over `updates` after the first, and what the loader's user waited for in each.

    With `step_seconds`, something else than the loader takes that long between two batches.
    """
    frames = open_index(index)
    ids = ShuffledIds(len(frames), batch, 0)
    maker = PictureMaker(index, frames.image_size, 0, AUGMENTATION, 0)
    with PicturePool(maker, workers=workers, room=(AHEAD + 1) * batch) as pool:
        waited = []
        for step in range(updates + 1):
            if step == 1:
                began = time.perf_counter()
            begin = time.perf_counter()
            pool.drop_before(step, step + AHEAD)
            pool.take(step, ids.at(step))
            for ahead in range(step + 1, step + 1 + AHEAD):
                pool.want(ahead, ids.at(ahead))
            waited.append(time.perf_counter() - begin)
            time.sleep(step_seconds)
        seconds = time.perf_counter() - began
    return {
        "samples_per_second": round(updates * batch / seconds, 1),
        "waited_seconds_an_update": round(float(np.mean(waited[1:])), 4),
    }


def beside_training(index: Path, workers: int, batch: int, updates: int) -> dict[str, float]:
    """Rate of training a tiny backbone on the index, and the share of time in which it waits for pictures."""
    import torch

    from vlm4vla.actions.normalisation import Statistics
    from vlm4vla.backbones import build
    from vlm4vla.config.backbones import Backbone, TinySize
    from vlm4vla.config.heads import MlpHeadSettings
    from vlm4vla.config.training import Optimiser, Training
    from vlm4vla.policies.policy import Policy
    from vlm4vla.training.batches.actions import ActionObjective
    from vlm4vla.training.batches.streamed import StreamedBatches
    from vlm4vla.training.loop import train

    torch.set_num_threads(1)
    frames = open_index(index)
    statistics = Statistics.from_stats(frames.stats, "quantile", "bridge")
    tiny = Backbone(family="paligemma", parameters_b=1, tiny=TinySize(), pretraining="none")
    loaded = build(tiny, "tiny", sorted(set(INSTRUCTION.split())), frames.image_size, 0)
    head = MlpHeadSettings(features=64, hidden=[64], gripper_loss_weight=0.01)
    policy = Policy.create(loaded, head, 4, "bridge", statistics, 0)
    samples = StreamedBatches(
        policy, frames, shift=0, augmentation=AUGMENTATION, batch=batch, seed=0, workers=workers
    )
    waited, begins, batch_of = [], [], samples._pool.take

    def timed(step: int, rows: np.ndarray) -> np.ndarray:
        begins.append(time.perf_counter())
        pictures = batch_of(step, rows)
        waited.append(time.perf_counter() - begins[-1])
        return pictures

    samples._pool.take = timed
    training = Training(
        steps=updates + 1,
        batch=batch,
        optimiser=Optimiser(learning_rate=1e-3),
        checkpoint_every=updates + 1,
        log_every=updates + 1,
    )
    with tempfile.TemporaryDirectory() as folder:
        train(
            ActionObjective(policy),
            samples,
            training=training,
            seed=0,
            folder=Path(folder),
            identity={},
            title="loader rate",
        )
    samples.close()
    # The first two batches are the trial run and the first update; the last update's end is not seen.
    seconds = begins[-1] - begins[2]
    return {
        "samples_per_second": round(batch * (len(begins) - 3) / seconds, 1),
        "share_of_time_waiting": round(sum(waited[2:-1]) / seconds, 4),
    }


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--index", type=Path, help="what the stage demonstrations made of a data set")
    parser.add_argument("--workers", type=int, nargs="+", default=[0, 1, 2])
    parser.add_argument("--updates", type=int, default=12)
    parser.add_argument("--batch", type=int, default=64)
    parser.add_argument("--side", type=int, default=256, help="pixels of the made pictures, before resizing")
    parser.add_argument("--size", type=int, default=224, help="pixels that pictures are resized to")
    parser.add_argument("--episodes", type=int, default=60)
    parser.add_argument("--length", type=int, default=40)
    parser.add_argument("--step-seconds", type=float, default=0.0, help="of a step beside the loader")
    parser.add_argument("--no-training", action="store_true", help="do not train a tiny backbone beside it")
    wanted = parser.parse_args()
    with tempfile.TemporaryDirectory() as name:
        folder, index = Path(name), wanted.index
        if index is None:
            made = write_set(folder / "set", wanted.side, wanted.episodes, wanted.length)
            index = index_set(made, folder / "index", wanted.size)
        how = (wanted.batch, wanted.updates)
        alone = {count: measure(index, count, *how, 0.0) for count in wanted.workers}
        report = {
            "cpus": len(os.sched_getaffinity(0)),
            "frames": len(open_index(index)),
            "batch": wanted.batch,
            "alone": alone,
        }
        if wanted.step_seconds:
            steps = {count: measure(index, count, *how, wanted.step_seconds) for count in wanted.workers}
            report |= {"step_seconds": wanted.step_seconds, "beside_a_step_of_that_length": steps}
        if not wanted.no_training:
            report["beside_tiny_training"] = {
                count: beside_training(index, count, *how) for count in wanted.workers
            }
    usage = resource.getrusage(resource.RUSAGE_CHILDREN).ru_maxrss
    report["largest_worker_mib"] = round(usage / 1024, 1)
    print(json.dumps(report, indent=2))


if __name__ == "__main__":
    main()
