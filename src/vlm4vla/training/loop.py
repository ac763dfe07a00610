"""The training loop of pre-training, auxiliary fine-tuning and VLA training.

A run has a fixed number of updates. Everything that happens at update i (batch, dropout, augmentation,
learning rate) depends on the seed and on i alone. So a killed run resumes from its last checkpoint and ends
with the same bytes.
"""

from __future__ import annotations

import math
import time
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
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
    freeze_unused,
    rate_factor,
    set_rate,
    split_parameters,
)
from vlm4vla.training.components.precision import convert_half
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
    """Minimise the scalar `objective(batch)`. At the end, `objective` has the averaged weights, in eval mode.

    `folder` receives train.jsonl and checkpoints/. `identity` is everything that the result depends on
    (settings and hashes of inputs): a checkpoint of another identity is discarded. `title` begins each
    progress line. bfloat16 and float16 weights are converted to float32 first. Raises UserError if the loss
    or the gradient becomes NaN or infinite: the message names the update and the ids of its batch, and the
    last good checkpoint is kept.

    If `training.execution` is set, distributed/loop.py runs the training, on one or several processes. Then
    only the main process has the trained weights at the end.
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
    convert_half(objective, title)
    objective.to(accelerator.device)
    objective.train()
    first_batch = samples.batch(samples.ids(0), np.random.default_rng(0))
    objective(to_device(first_batch, accelerator.device)).backward()
    freeze_unused(objective)
    flat = FlatParameters(list(split_parameters(objective, training.optimiser.name)))
    optimisers = build_optimisers(flat.optimiser_parts(), training.optimiser)
    average = WeightAverage([flat.weights], training.optimiser.average)
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
    # Reading a loss from a GPU waits for the GPU; on a CPU there is nothing to wait for.
    check_every = 1 if accelerator.device.type == "cpu" else training.log_every
    for step in range(done, training.steps):
        factor = rate_factor(step, training.steps, training.optimiser)
        set_rate(optimisers, factor)
        random = np.random.default_rng([seed, step])
        seed_torch(int(random.integers(2**62)), accelerator.device)
        ids = samples.ids(step)
        own_ids = ids[accelerator.process_index :: accelerator.num_processes]
        loss = model(to_device(samples.batch(own_ids, random), accelerator.device))
        accelerator.backward(loss)
        flat.gather_gradients()
        norm = accelerator.clip_grad_norm_([flat.weights], training.optimiser.clip or math.inf)
        window.pending.append((step, ids, loss.detach(), norm))
        saves = (step + 1) % training.checkpoint_every == 0 or step + 1 == training.steps
        logs = (step + 1) % training.log_every == 0 or step + 1 == training.steps
        if saves or logs or (step + 1) % check_every == 0:
            # Before the update, so that a bad gradient does not reach the weights.
            window.read_pending(folder, checkpoints.last)
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
