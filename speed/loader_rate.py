"""Samples per second of the loader of datasets on disk, by number of workers: alone and during training.

The program writes a dataset of videos, or uses an existing index (--index). The videos show smooth moving
images, in H.264 with a keyframe at every second frame, as the converters write them. The loader shuffles the
frames, and decodes, resizes and augments them as on Bridge. During training, updates of a tiny backbone use
the same samples, and the program measures how long each update waits for its images. With --step-seconds, it
also measures next to a step that only sleeps for that time, in place of a large model on an accelerator. The
program prints JSON.

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
from vlm4vla.stages.demonstrations_dataset import run as write_index
from vlm4vla.training.components.samples import ShuffledIds

AUGMENTATION = Augmentation(crop=0.9, brightness=0.2, contrast=0.2, saturation=0.2, hue=0.05)
AHEAD = 2  # updates whose images are prepared ahead
INSTRUCTION = "put the carrot on the plate"


def write_dataset(folder: Path, side: int, episodes: int, length: int) -> Path:
    """Write a dataset of videos with `side` x `side` pixels in which something moves; return its folder."""
    random = np.random.default_rng(0)
    rows, columns = np.mgrid[0:side, 0:side]
    options = {"fps": 5, "robot_type": "none", "pictures": "video", "episodes_per_file": 10}
    with LeRobotWriter(folder, image_size=side, **options) as writer:
        for _ in range(episodes):
            base = (np.stack([rows, columns, rows + columns], -1) * 120 // side).astype(np.uint8)
            images = np.repeat(base[None], length, axis=0)
            for frame, (down, right) in enumerate(random.integers(0, side * 3 // 4, (length, 2))):
                images[frame, down : down + side // 4, right : right + side // 4] = random.integers(0, 255, 3)
            actions = random.uniform(-1, 1, (length, 7))
            actions[:, 6] = random.choice([0.0, 1.0], length)
            writer.add_episode(images, random.normal(size=(length, 8)), actions, INSTRUCTION)
    return folder


def index_dataset(dataset: Path, folder: Path, size: int) -> Path:
    """Write the index of a dataset, for images of `size` x `size` pixels, to `folder`; return `folder`."""
    source = Demonstrations(dataset=str(dataset))
    write_index(
        DemonstrationsSettings(benchmark="bridge", demonstrations=source, image_size=size), output=folder
    )
    return folder


def measure(index: Path, workers: int, batch: int, updates: int, step_seconds: float) -> dict[str, float]:
    """The rate over `updates` after the first, and the mean time that an update waits for its images.

    Between two batches, the program sleeps for `step_seconds`.
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
            pool.keep_updates(step, step + AHEAD)
            pool.get(step, ids.at(step))
            for ahead in range(step + 1, step + 1 + AHEAD):
                pool.prefetch(ahead, ids.at(ahead))
            waited.append(time.perf_counter() - begin)
            time.sleep(step_seconds)
        seconds = time.perf_counter() - began
    return {
        "samples_per_second": round(updates * batch / seconds, 1),
        "waited_seconds_an_update": round(float(np.mean(waited[1:])), 4),
    }


def during_training(index: Path, workers: int, batch: int, updates: int) -> dict[str, float]:
    """The rate of training a tiny backbone on the index, and the share of time that it waits for images."""
    import torch

    from vlm4vla.actions.normalisation import Statistics
    from vlm4vla.backbones import build
    from vlm4vla.config.backbones import Backbone, TinySize
    from vlm4vla.config.policies import MlpHeadSettings
    from vlm4vla.config.training import Optimiser, Training
    from vlm4vla.policies.policy import Policy
    from vlm4vla.training.batches.actions import ActionObjective, StreamedBatches
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
    waited, begins, batch_of = [], [], samples._pool.get

    def timed(step: int, rows: np.ndarray) -> np.ndarray:
        begins.append(time.perf_counter())
        pictures = batch_of(step, rows)
        waited.append(time.perf_counter() - begins[-1])
        return pictures

    samples._pool.get = timed
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
    # The first two batches are the trial run and the first update. The last update's end is not seen.
    seconds = begins[-1] - begins[2]
    return {
        "samples_per_second": round(batch * (len(begins) - 3) / seconds, 1),
        "share_of_time_waiting": round(sum(waited[2:-1]) / seconds, 4),
    }


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--index", type=Path, help="folder that the stage demonstrations made from a dataset")
    parser.add_argument("--workers", type=int, nargs="+", default=[0, 1, 2])
    parser.add_argument("--updates", type=int, default=12)
    parser.add_argument("--batch", type=int, default=64)
    parser.add_argument("--side", type=int, default=256, help="width of the written images in pixels")
    parser.add_argument("--size", type=int, default=224, help="width of the resized images in pixels")
    parser.add_argument("--episodes", type=int, default=60)
    parser.add_argument("--length", type=int, default=40)
    parser.add_argument("--step-seconds", type=float, default=0.0, help="duration of a simulated step")
    parser.add_argument("--no-training", action="store_true", help="do not train a tiny backbone")
    arguments = parser.parse_args()
    with tempfile.TemporaryDirectory() as name:
        folder, index = Path(name), arguments.index
        if index is None:
            dataset = write_dataset(folder / "set", arguments.side, arguments.episodes, arguments.length)
            index = index_dataset(dataset, folder / "index", arguments.size)
        size = (arguments.batch, arguments.updates)
        alone = {count: measure(index, count, *size, 0.0) for count in arguments.workers}
        report = {
            "cpus": len(os.sched_getaffinity(0)),
            "frames": len(open_index(index)),
            "batch": arguments.batch,
            "alone": alone,
        }
        seconds = arguments.step_seconds
        if seconds:
            steps = {count: measure(index, count, *size, seconds) for count in arguments.workers}
            report |= {"step_seconds": seconds, "beside_a_step_of_that_length": steps}
        if not arguments.no_training:
            report["beside_tiny_training"] = {
                count: during_training(index, count, *size) for count in arguments.workers
            }
    usage = resource.getrusage(resource.RUSAGE_CHILDREN).ru_maxrss
    report["largest_worker_mib"] = round(usage / 1024, 1)
    print(json.dumps(report, indent=2))


if __name__ == "__main__":
    main()
