"""Small trainings in several processes: each process runs this file.

python several_processes.py '[["FOLDER", {"execution": {"strategy": "ddp", ...}, ...}], ...]'
"""

import json
import os
import signal
import sys
from pathlib import Path

import numpy as np
import torch
from torch import nn

from vlm4vla.config.execution import Execution
from vlm4vla.config.training import Optimiser, Training
from vlm4vla.core.errors import UserError
from vlm4vla.training.distributed import launch
from vlm4vla.training.distributed.processes import USER_ERROR_STATUS, is_main, rank
from vlm4vla.training.loop import train

BATCH = 8
STEPS = 12


class Block(nn.Module):
    def __init__(self, width):
        super().__init__()
        self.norm = nn.LayerNorm(width)
        self.inner = nn.Linear(width, width)

    def forward(self, x):
        return x + torch.tanh(self.inner(self.norm(x)))


class Network(nn.Module):
    """Masked regression: a batch's loss is the mean over its unmasked rows; every sample has at least one."""

    def __init__(self, dropout=0.0):
        super().__init__()
        torch.manual_seed(0)
        self.first = nn.Linear(5, 7)  # 7 rows: of two processes, one holds 4 and one 3
        self.blocks = nn.ModuleList(Block(7) for _ in range(3))
        self.drop = nn.Dropout(dropout)
        self.last = nn.Linear(7, 1)  # one row: the second of two processes holds none
        self.unused = nn.Linear(3, 3)

    def forward(self, batch):
        inputs, targets, mask = batch
        hidden = self.first(inputs)
        for block in self.blocks:
            hidden = self.drop(block(hidden))
        errors = (self.last(hidden).squeeze(-1) - targets).square()
        return (errors * mask).sum() / mask.sum().clamp(min=1)

    @staticmethod
    def terms(batch):
        return batch[2].sum()


class Rows:
    """64 samples of three rows each.

    `noise`: scale of the noise added to each batch. `poison`: id of a sample whose targets are NaN. `die`:
    step and rank at which a process kills itself.
    """

    def __init__(self, *, poison=None, die=None, noise=0.0):
        random = np.random.default_rng(0)
        self.inputs = random.normal(size=(64, 3, 5)).astype(np.float32)
        self.targets = random.normal(size=(64, 3)).astype(np.float32)
        self.mask = (np.arange(3) < random.integers(1, 4, size=(64, 1))).astype(np.float32)
        self.noise, self.die = noise, die
        if poison is not None:
            self.targets[poison] = np.nan

    def ids(self, step):
        if self.die is not None and step == self.die["step"] and rank() == self.die["rank"]:
            os.kill(os.getpid(), signal.SIGKILL)
        return (np.arange(BATCH) + BATCH * step) % 64

    def batch(self, ids, random):
        inputs = self.inputs[ids] + self.noise * random.normal(size=self.inputs[ids].shape)
        arrays = (inputs.astype(np.float32), self.targets[ids], self.mask[ids])
        return tuple(map(torch.from_numpy, arrays))


def settings(execution, steps=STEPS, every=4, **optimiser):
    optimiser = {"learning_rate": 0.02, "clip": 0.5, "average": 0.8, "weight_decay": 0.1} | optimiser
    return Training(
        steps=steps,
        batch=BATCH,
        optimiser=Optimiser(**optimiser),
        checkpoint_every=every,
        log_every=1,
        execution=execution,
    )


def train_once(folder, *, execution, optimiser=None, rows=None, dropout=0.0, **changes):
    """Train in this process, alone or as one of several. The main process writes the weights at the end."""
    execution = Execution(**execution)
    folder.mkdir(parents=True, exist_ok=True)
    model = Network(dropout)
    train(
        model,
        Rows(**(rows or {})),
        training=settings(execution, **changes, **(optimiser or {})),
        seed=1,
        folder=folder,
        identity={"settings": {"training": {"execution": execution.model_dump(mode="json")}}},
        title="test",
    )
    if is_main():
        np.savez(folder / "weights.npz", **{n: p.detach().numpy() for n, p in model.named_parameters()})


def train_in_processes(folder, jobs, processes=2):
    """Run trainings one after another in the same processes. Raises the launcher's errors.

    `jobs`: the name of each training's folder, and the arguments of `train_once`.
    """
    folder.mkdir(parents=True, exist_ok=True)
    arguments = json.dumps([[str(folder / name), options] for name, options in jobs.items()])
    execution = Execution(strategy="ddp", processes=processes)
    launch.run([sys.executable, __file__, arguments], execution, folder)


def curve(folder):
    """Return (steps, 2): the loss and the gradient norm of each step."""
    lines = [json.loads(line) for line in (folder / "train.jsonl").read_text().splitlines()]
    return np.array([(line["loss"], line["gradient_norm"]) for line in lines])


def weights(folder):
    with np.load(folder / "weights.npz") as arrays:
        return dict(arrays)


if __name__ == "__main__":
    try:
        for name, arguments in json.loads(sys.argv[1]):
            train_once(Path(name), **arguments)
    except UserError as error:
        print(f"error: {error}", file=sys.stderr)
        sys.exit(USER_ERROR_STATUS)
