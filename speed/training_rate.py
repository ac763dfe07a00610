"""VLA training rate of each backbone in samples per CPU second, compared with its matrix products alone.

The rate is that of the package's training loop, with loading, augmentation, clipping and optimiser, on random
images with the widths of config.yaml. The program also collects the matrix products of one training step
(forward and backward, with attention, each with its own shape) and times them as plain torch products. This
is the floor: no training step with these products can be faster. The program prints JSON.

    python speed/training_rate.py [--config config.yaml] [--steps 40] [BACKBONE ...]
"""

from __future__ import annotations

import argparse
import json
import os
import tempfile
import time
from collections import Counter
from collections.abc import Callable, Sequence
from pathlib import Path

os.environ.setdefault("OMP_NUM_THREADS", "1")

import numpy as np
import torch
import yaml
from torch.utils._python_dispatch import TorchDispatchMode

from vlm4vla.actions.normalisation import Statistics
from vlm4vla.backbones import build
from vlm4vla.backbones.loaded import LoadedBackbone
from vlm4vla.config.config import Config, load_config
from vlm4vla.config.training import Training
from vlm4vla.data.lerobot.reader import DemonstrationSet, read_demonstrations
from vlm4vla.data.lerobot.writer import LeRobotWriter
from vlm4vla.policies.policy import Policy
from vlm4vla.training.batches.actions import ActionBatches, ActionObjective
from vlm4vla.training.loop import train

INSTRUCTION = "put the red block in the drawer"
WARM_UP = 5
Shape = tuple[tuple[int, ...], tuple[int, ...]]


class MatrixProducts(TorchDispatchMode):
    """Counts the matrix products that run inside the `with` statement, by their shapes."""

    def __init__(self) -> None:
        super().__init__()
        self.shapes: Counter[Shape] = Counter()

    def __torch_dispatch__(self, function, types, arguments=(), keywords=None):
        name = function.overloadpacket.__name__
        tensors = [value for value in arguments if isinstance(value, torch.Tensor)]
        if name in ("mm", "bmm"):
            self._count(tensors[0].shape, tensors[1].shape)
        elif name in ("addmm", "baddbmm"):
            self._count(tensors[1].shape, tensors[2].shape)
        elif name == "_scaled_dot_product_flash_attention_for_cpu":
            self._attention(tensors, products=2)  # scores, values
        elif name == "_scaled_dot_product_flash_attention_for_cpu_backward":
            self._attention(tensors[1:], products=5)  # scores again, and the four gradients
        elif name in ("convolution", "convolution_backward"):
            raise NotImplementedError("a convolution is not counted: count it as a matrix product")
        return function(*arguments, **(keywords or {}))

    def _count(self, left: torch.Size, right: torch.Size) -> None:
        self.shapes[tuple(left), tuple(right)] += 1

    def _attention(self, tensors: list[torch.Tensor], products: int) -> None:
        (batch, heads, queries, width), keys = tensors[0].shape, tensors[1].shape[2]
        scores = ((batch * heads, queries, width), (batch * heads, width, keys))
        values = ((batch * heads, queries, keys), (batch * heads, keys, width))
        self.shapes[scores] += products // 2
        self.shapes[values] += products - products // 2

    def flops(self) -> int:
        """The number of multiplications and additions in all products."""
        return sum(2 * int(np.prod(left)) * right[-1] * count for (left, right), count in self.shapes.items())

    def seconds(self, repeats: int = 20) -> float:
        """CPU seconds of the same products alone; operands and results are already in memory."""
        runs = []
        for (left, right), count in self.shapes.items():
            a, b = torch.randn(left), torch.randn(right)
            runs.append((a, b, torch.matmul(a, b), count))
        return best_of(lambda: _products(runs), repeats)


def _products(runs: list[tuple[torch.Tensor, torch.Tensor, torch.Tensor, int]]) -> None:
    with torch.inference_mode():
        for a, b, out, count in runs:
            for _ in range(count):
                torch.matmul(a, b, out=out)


def best_of(work: Callable[[], None], repeats: int) -> float:
    """The smallest CPU seconds of several repeats, which other programs disturb least."""
    times = []
    for _ in range(repeats):
        begin = time.process_time()
        work()
        times.append(time.process_time() - begin)
    return min(times)


def demonstrations(folder: Path, image_size: int, episodes: int = 40, length: int = 25) -> DemonstrationSet:
    """Write random images and actions in the package's own format, and read them."""
    random = np.random.default_rng(0)
    with LeRobotWriter(folder, fps=10, robot_type="none", image_size=image_size) as writer:
        for _ in range(episodes):
            images = random.integers(0, 256, (length, image_size, image_size, 3), dtype=np.uint8)
            states = random.normal(size=(length, 8)).astype(np.float32)
            actions = random.uniform(-1, 1, (length, 7)).astype(np.float32)
            actions[:, 6] = random.choice([-1.0, 1.0], length)
            writer.add_episode(images, states, actions, INSTRUCTION)
    return read_demonstrations(folder)


def timed_steps(
    fresh: Callable[[], tuple[ActionObjective, ActionBatches]], settings: Training, steps: int, title: str
) -> tuple[float, float]:
    """Seconds and CPU seconds of `steps` updates of the training loop, without its start and its end.

    `fresh`: makes the objective and its batches anew for each of three trainings.
    """

    def seconds(count: int) -> tuple[float, float]:
        objective, batches = fresh()
        training = Training(
            **settings.model_dump()
            | {"steps": count, "checkpoint_every": 10 * (count + 1), "log_every": 10 * (count + 1)}
        )
        with tempfile.TemporaryDirectory() as folder:
            wall, cpu = time.perf_counter(), time.process_time()
            train(
                objective, batches, training=training, seed=0, folder=Path(folder), identity={}, title=title
            )
            return time.perf_counter() - wall, time.process_time() - cpu

    seconds(1)  # the first use of kernels is slow
    short, long = seconds(WARM_UP), seconds(WARM_UP + steps)
    wall, cpu = (after - before for after, before in zip(long, short, strict=True))
    return wall, cpu


def measure(
    config: Config,
    name: str,
    frames: DemonstrationSet,
    steps: int,
    prepare: Callable[[LoadedBackbone], LoadedBackbone] = lambda backbone: backbone,
    words: Sequence[str] = (),
) -> dict[str, float | str | int]:
    """The rate and the floor of one backbone, with the study's settings of VLA training.

    `prepare`: changes the backbone first. `words`: further words of its tokenizer.
    """
    settings = config.benchmarks["calvin"]
    statistics = Statistics.from_stats(frames.stats, settings.normalisation, "calvin")
    words = sorted({*INSTRUCTION.split(), *words})

    def fresh() -> tuple[ActionObjective, ActionBatches]:
        loaded = prepare(build(config.backbones[name], name, words, config.image_size, 0))
        policy = Policy.create(loaded, config.head, settings.chunk, "calvin", statistics, 0)
        batches = ActionBatches(
            policy,
            frames,
            shift=settings.shift,
            colour=settings.colour_jitter,
            batch=config.vla.batch,
            seed=0,
        )
        return ActionObjective(policy), batches

    wall, cpu = timed_steps(fresh, config.vla, steps, name)
    objective, batches = fresh()
    objective.train()
    batch = batches.batch(batches.ids(0), np.random.default_rng(0))
    with MatrixProducts() as products:
        objective(batch).backward()
    floor = products.seconds()
    samples = steps * config.vla.batch
    return {
        "family": config.backbones[name].family,
        "parameters": sum(parameter.numel() for parameter in objective.parameters()),
        "samples_per_cpu_second": round(samples / cpu, 1),
        "samples_per_wall_second": round(samples / wall, 1),
        "milliseconds_a_step": round(1000 * cpu / steps, 2),
        "matrix_milliseconds_a_step": round(1000 * floor, 2),
        "matrix_floor_samples_per_cpu_second": round(config.vla.batch / floor, 1),
        "share_of_floor": round(floor / (cpu / steps), 3),
        "matrix_gflop_a_step": round(products.flops() / 1e9, 3),
    }


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("backbones", nargs="*", help="names in the config (default: all tiny backbones)")
    parser.add_argument("--config", type=Path, default=Path("config.yaml"))
    parser.add_argument("--steps", type=int, default=40, help="number of timed training steps")
    arguments = parser.parse_args()
    torch.set_num_threads(1)
    config = load_config(yaml.safe_load(arguments.config.read_text()), str(arguments.config))
    names = arguments.backbones or [name for name, each in config.backbones.items() if each.tiny]
    with tempfile.TemporaryDirectory() as folder:
        frames = demonstrations(Path(folder), config.image_size)
        rates = {name: measure(config, name, frames, arguments.steps) for name in names}
    print(
        json.dumps(
            {"batch": config.vla.batch, "threads": 1, "steps": arguments.steps, "backbones": rates}, indent=2
        )
    )


if __name__ == "__main__":
    main()
