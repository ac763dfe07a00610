"""The one training loop, used by pre-training, auxiliary fine-tuning and VLA training.

A run is a fixed number of updates. What happens at update i depends on the seed and i alone (batch, dropout,
augmentation, rate), so a run that was killed goes on from its last checkpoint and ends with the same bytes.
"""

from __future__ import annotations

import time
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import nn

from vlm4vla.config.training import Training
from vlm4vla.core.artefacts import settings_hash
from vlm4vla.core.progress import Progress
from vlm4vla.training.components.checkpoints import Checkpoints, pack, unpack
from vlm4vla.training.components.devices import seed_torch, set_threads, to_device
from vlm4vla.training.components.flat_parameters import FlatParameters
from vlm4vla.training.components.log import LossWindow, TrainLog
from vlm4vla.training.components.optimisers import (
    WeightAverage,
    build_optimisers,
    rate_factor,
    set_rate,
    split_parameters,
)
from vlm4vla.training.components.samples import Samples


def train(
    objective: nn.Module,
    samples: Samples,
    *,
    training: Training,
    seed: int,
    folder: Path,
    identity: Mapping[str, Any],
    title: str,
) -> None:
    """Minimise `objective(batch)`, a scalar; at the end its weights are the averaged ones, in eval mode.

    `folder` receives train.jsonl and checkpoints/. `identity` is everything that the result depends on
    (settings and hashes of inputs): a checkpoint of another identity is discarded. `title` begins each
    line of progress. Raises UserError when the loss or the gradient becomes NaN or infinite: it names the
    update and the batch's ids, and the last good checkpoint stays.

    With `training.execution` distributed/loop.py runs it, on one or several processes; then only the main
    process has the trained weights at the end.
    """
    if training.execution is not None:
        from vlm4vla.training.distributed.loop import train_distributed

        train_distributed(
            objective, samples, training=training, seed=seed, folder=folder, identity=identity, title=title
        )
        return
    from accelerate import Accelerator

    set_threads()
    folder.mkdir(parents=True, exist_ok=True)
    accelerator = Accelerator()
    objective.to(accelerator.device)
    _freeze_unused(objective, samples, accelerator.device)
    flat = FlatParameters(list(split_parameters(objective, training.optimiser.name)))
    optimisers = build_optimisers(flat, training.optimiser)
    average = WeightAverage(flat.weights, training.optimiser.average)
    checkpoints = Checkpoints(folder / "checkpoints", settings_hash(dict(identity)))
    done = 0
    window = LossWindow()
    found = checkpoints.latest()
    if found is not None:
        record, tensors = found
        unpack(tensors, flat, optimisers, average)
        done = record["step"]
        window = LossWindow(record["window_sum"], record["window_count"])
    model = accelerator.prepare(objective)
    model.train()
    log = TrainLog(folder / "train.jsonl", done) if accelerator.is_main_process else None
    progress = Progress(title, training.steps, done)
    began = time.monotonic()
    # Reading a loss waits for an accelerator, not for a CPU.
    check_every = 1 if accelerator.device.type == "cpu" else training.log_every
    for step in range(done, training.steps):
        factor = rate_factor(step, training.steps, training.optimiser)
        set_rate(optimisers, factor)
        random = np.random.default_rng([seed, step])
        seed_torch(int(random.integers(2**62)), accelerator.device)
        ids = samples.ids(step)
        mine = ids[accelerator.process_index :: accelerator.num_processes]
        loss = model(to_device(samples.batch(mine, random), accelerator.device))
        accelerator.backward(loss)
        flat.gather()
        norm = accelerator.clip_grad_norm_([flat.weights], training.optimiser.clip)
        window.pending.append((step, ids, loss.detach(), norm))
        saves = (step + 1) % training.checkpoint_every == 0 or step + 1 == training.steps
        logs = (step + 1) % training.log_every == 0 or step + 1 == training.steps
        if saves or logs or (step + 1) % check_every == 0:
            window.settle(
                folder, checkpoints.last
            )  # before the update: bad gradients never reach the weights
        for optimiser in optimisers:
            optimiser.step()
        average.update(step + 1)
        if logs:
            if log is not None:
                rate = training.optimiser.learning_rate * factor
                log.write(step + 1, training.batch, window.mean, rate, window.norm)
            window.clear()
        if accelerator.is_main_process:
            speed = (step + 1 - done) * training.batch / (time.monotonic() - began)
            progress.update(step + 1, f"loss {window.loss:.4f}, {speed:.0f} samples/s")
            if saves:
                extra = {"window_sum": window.sum, "window_count": window.count}
                checkpoints.save(step + 1, pack(flat, optimisers, average), extra)
    if log is not None:
        log.close()
    accelerator.wait_for_everyone()
    average.apply()
    objective.eval()


def _freeze_unused(objective: nn.Module, samples: Samples, device: torch.device) -> None:
    """Freeze parameters that the objective does not reach (a VLA never uses the output layer).

    Otherwise weight decay would shrink them, and several processes would wait for their gradients.
    """
    objective.train()
    objective(to_device(samples.batch(samples.ids(0), np.random.default_rng(0)), device)).backward()
    for parameter in objective.parameters():
        if parameter.grad is None:
            parameter.requires_grad_(False)
        parameter.grad = None
