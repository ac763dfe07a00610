"""Training on one or several processes, for real backbones: what `train` does when `execution` is set.

An update's batch lies in micro-batches, which go round the processes and are accumulated. Each counts by the
number of terms that its loss is the mean of, so the update is that of the whole batch in one piece. A run
goes on from its last checkpoint on any number of processes, under any strategy.
"""

from __future__ import annotations

import time
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch
from torch import nn

from vlm4vla.config.execution import Execution, micro_batches
from vlm4vla.config.training import Training
from vlm4vla.core.artefacts import settings_hash
from vlm4vla.core.errors import UserError
from vlm4vla.core.progress import Progress
from vlm4vla.training.components.devices import seed_torch, to_device
from vlm4vla.training.components.log import LossWindow, TrainLog
from vlm4vla.training.components.optimisers import rate_factor
from vlm4vla.training.components.trackers import Trackers, check_trackers
from vlm4vla.training.distributed.checkpoints import ShardedCheckpoints
from vlm4vla.training.distributed.micro_batches import Ahead, MicroBatch, MicroBatches
from vlm4vla.training.distributed.model_options import model_options
from vlm4vla.training.distributed.processes import Group


def train_distributed(
    objective: nn.Module,
    samples: Any,
    *,
    training: Training,
    seed: int,
    folder: Path,
    identity: Mapping[str, Any],
    title: str,
) -> None:
    """`vlm4vla.training.loop.train` as `training.execution` says.

    At the end the main process's `objective` has the averaged weights, on the CPU, in eval mode. Under fsdp2
    the other processes' has not. Raises UserError, in every process, when the loss or the gradient is not
    finite, when processes cannot share the batch, and when a package that is asked for is missing.
    """
    from vlm4vla.training.components.devices import set_threads

    set_threads()
    execution = training.execution
    check_trackers(execution.trackers)
    group = Group(execution)
    try:
        size, _ = micro_batches(training.batch, group.world, execution.micro_batch)
    except ValueError as error:
        raise UserError(f"execution: {error}") from None
    folder.mkdir(parents=True, exist_ok=True)
    main = group.rank == 0
    settings = training.model_dump(mode="json")
    trackers = Trackers(execution.trackers if main else (), folder, title, settings)
    batches = MicroBatches(samples, objective, seed=seed, size=size, group=group)
    checkpoints = ShardedCheckpoints(
        folder / "checkpoints", settings_hash(lasting({"run": dict(identity)})), group
    )
    # Reading a loss waits for an accelerator, not for a CPU.
    check_every = 1 if group.device.type == "cpu" else training.log_every
    with model_options(objective, execution):
        strategy = strategy_of(execution, group)(
            objective, training, group, lambda model: model(to_device(batches.first(), group.device)).float()
        )
        done, window = 0, LossWindow()
        found = checkpoints.latest()
        if found is not None:
            record, tensors = found
            strategy.restore(tensors, record["step"])
            done, window = record["step"], LossWindow(record["window_sum"], record["window_count"])
        log = TrainLog(folder / "train.jsonl", done) if main else None
        progress = Progress(title, training.steps, done)
        began = time.monotonic()
        with Ahead(batches.of, done, training.steps) as ahead:
            for step in range(done, training.steps):
                factor = rate_factor(step, training.steps, training.optimiser)
                update = ahead.take(step)
                loss = accumulate_gradients(strategy, update.blocks, group)
                window.pending.append((step, update.ids, loss, strategy.gradient_norm()))
                saves = (step + 1) % training.checkpoint_every == 0 or step + 1 == training.steps
                logs = (step + 1) % training.log_every == 0 or step + 1 == training.steps
                if saves or logs or (step + 1) % check_every == 0:
                    window.settle(folder, checkpoints.last)  # before bad gradients reach the weights
                strategy.step(step + 1, factor)
                if logs:
                    if main:
                        rate = training.optimiser.learning_rate * factor
                        line = log.write(step + 1, training.batch, window.mean, rate, window.norm)
                        trackers.log(line, step + 1)
                    window.clear()
                if main:
                    speed = (step + 1 - done) * training.batch / (time.monotonic() - began)
                    progress.update(step + 1, f"loss {window.loss:.4f}, {speed:.0f} samples/s")
                if saves:
                    extra = {"window_sum": window.sum, "window_count": window.count}
                    checkpoints.save(step + 1, strategy.state(), extra)
        if main:
            log.close()
        trackers.close()
        strategy.finish()
    group.wait()


def accumulate_gradients(strategy: Any, blocks: list[MicroBatch], group: Group) -> torch.Tensor:
    """Accumulate the gradient of the whole batch's loss; returns that loss, the same in every process."""
    terms = torch.tensor([sum(block.terms for block in blocks)], device=group.device)
    total = group.sum(terms).clamp(min=1.0)
    summed = torch.zeros(1, device=group.device)
    for number, block in enumerate(blocks):
        seed_torch(block.seed, group.device)
        # Processes' gradients are averaged: times their number, they are summed.
        factor = block.terms * group.world / total
        last = number + 1 == len(blocks)
        loss = strategy.accumulate(to_device(block.batch, group.device), factor.squeeze(), last)
        summed += block.terms * loss
    return (group.sum(summed) / total).squeeze()


def strategy_of(execution: Execution, group: Group) -> Any:
    """The class that trains as `execution` says on the processes of `group`."""
    if execution.strategy == "zero2":
        from vlm4vla.training.distributed.zero2 import Zero2

        return Zero2
    from vlm4vla.training.distributed.strategies import Alone, FullySharded, Replicated

    if execution.strategy != "fsdp2":
        return Replicated
    return Alone if group.world == 1 and execution.precision == "bf16" else FullySharded


def lasting(identity: Any) -> Any:
    """`identity` without what a run may change on its way: of `execution` only its precision stays."""
    if isinstance(identity, Mapping):
        return {
            key: {"precision": value["precision"]}
            if key == "execution" and isinstance(value, Mapping)
            else lasting(value)
            for key, value in identity.items()
        }
    return [lasting(value) for value in identity] if isinstance(identity, (list, tuple)) else identity
