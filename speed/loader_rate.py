"""Samples per second of the loader of datasets on disk, by number of workers: alone and during training.

The program writes a dataset of videos, or uses an existing index (--index). The videos show smooth moving
images, in H.264 with a keyframe at every second frame, as the converters write them. The loader shuffles the
frames, and decodes, resizes and augments them as on Bridge. During training, updates of a tiny backbone use
the same samples, and the program measures how long each update waits for its images. With --step-seconds, it
also measures next to a step that only sleeps for that time, in place of a large model on an accelerator. The
program prints JSON.

With --lerobot, it only compares this loader with LeRobot's own loader in one process each: whole epochs in
random order over a dataset that LeRobot writes (AV1), resized, in samples per CPU second. It measures this
loader without kept frames, and in each epoch from the first one, which decodes and keeps them.

    python speed/loader_rate.py [--workers 0 1 2] [--updates 12] [--batch 64] [--step-seconds 0.5]
    python speed/loader_rate.py --lerobot .venv-lerobot/bin/python [--video-backend torchcodec] [--epochs 5]
"""

from __future__ import annotations

import argparse
import json
import os
import resource
import subprocess
import tempfile
import time
from pathlib import Path

os.environ.setdefault("OMP_NUM_THREADS", "1")

import numpy as np

from vlm4vla.config.benchmarks import Augmentation
from vlm4vla.config.demonstrations import Demonstrations
from vlm4vla.config.stages import DemonstrationsSettings
from vlm4vla.data.demonstrations.decoded_pictures import FOLDER, KEPT_GB
from vlm4vla.data.demonstrations.frame_index import FramePictures, open_index
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


def epoch_rates(index: Path, epochs: int, augmentation: Augmentation | None = None) -> list[float]:
    """Samples per CPU second in each of several epochs in random order, in this process."""
    frames = open_index(index)
    maker = PictureMaker(index, frames.image_size, 0, augmentation, 0)
    rates = []
    with PicturePool(maker, workers=0, room=0) as pool:
        for epoch in range(epochs):
            order = np.random.default_rng(epoch).permutation(len(frames))
            began = time.process_time()
            for step, start in enumerate(range(0, len(order), 64)):
                pool.get(step, order[start : start + 64])
            rates.append(round(len(order) / (time.process_time() - began), 1))
    return rates


def beside_lerobot(python: Path, arguments: argparse.Namespace) -> dict[str, object]:
    """The rates of both loaders on one dataset that LeRobot wrote, and whether their pictures are equal."""
    program = Path(__file__).with_name("lerobot_loader.py")
    environment = {name: value for name, value in os.environ.items() if not name.startswith("PYTHON")}

    def lerobot(*words: object) -> str:
        command = [str(python), str(program), *map(str, words)]
        done = subprocess.run(
            command, env=environment | {"HF_HUB_OFFLINE": "1"}, check=True, stdout=subprocess.PIPE, text=True
        )
        return done.stdout.splitlines()[-1] if done.stdout else ""

    size, epochs = arguments.size, arguments.epochs
    with tempfile.TemporaryDirectory() as name:
        folder, pictures = Path(name), Path(name) / "pictures.npz"
        lerobot("write", folder / "set", arguments.side, arguments.episodes, arguments.length)
        index = index_dataset(folder / "set", folder / "index", size)
        words = ("rate", folder / "set", size, arguments.video_backend, min(epochs, 2), pictures)
        theirs = json.loads(lerobot(*words))
        with np.load(pictures) as saved:
            look = FramePictures(open_index(index))
            ours = [look.original(row) for row in saved["rows"]]
            equal = bool((np.stack(ours) == saved["pictures"].transpose(0, 2, 3, 1)).all())
            look.close()
        before = os.environ.get(KEPT_GB)
        os.environ[KEPT_GB] = "0"
        decoding = epoch_rates(index, min(epochs, 2))
        os.environ[KEPT_GB] = before or "20"
        kept = epoch_rates(index, epochs)
        bytes_a_frame = sum(file.stat().st_blocks * 512 for file in (index / FOLDER).iterdir())
        cropped = epoch_rates(index, min(epochs, 3), Augmentation(crop=0.9))
        with np.load(pictures) as saved:  # they are kept in full size now
            look = FramePictures(open_index(index), keep=True)
            ours = [look.original(row) for row in saved["rows"]]
            equal &= bool((np.stack(ours) == saved["pictures"].transpose(0, 2, 3, 1)).all())
            look.close()
        frames = len(open_index(index))
    mean = round(epochs / sum(1 / rate for rate in kept), 1)
    best = max(theirs["samples_a_cpu_second"])
    return {
        "frames": frames,
        "theirs": theirs,
        "pictures_equal": equal,
        "without_kept_frames": decoding,
        "in_each_epoch": kept,
        "mean_of_epochs": mean,
        "in_each_epoch_with_a_random_crop": cropped,
        "kept_bytes_a_frame": bytes_a_frame // frames,
        "times_lerobot": {
            "without_kept_frames": round(max(decoding) / best, 2),
            "first_epoch": round(kept[0] / best, 2),
            "mean_of_epochs": round(mean / best, 2),
            "later_epochs": round(max(kept[1:] or kept) / best, 2),
            "later_epochs_with_a_random_crop": round(max(cropped[1:] or cropped) / best, 2),
        },
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
    parser.add_argument("--lerobot", type=Path, help="Python of LeRobot's environment: compare both loaders")
    parser.add_argument("--video-backend", default="pyav", help="of LeRobot: pyav or torchcodec")
    parser.add_argument("--epochs", type=int, default=5, help="of the comparison with LeRobot")
    arguments = parser.parse_args()
    if arguments.lerobot is not None:
        print(json.dumps(beside_lerobot(arguments.lerobot, arguments), indent=2))
        return
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
