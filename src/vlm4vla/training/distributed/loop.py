"""Training on one or several processes, for real backbones: what `train` does when `execution` is set.

An update's batch is split into micro-batches, which are dealt to the processes in turn and accumulated. Each
micro-batch is weighted by the number of terms that its loss averages, so the update equals that of the whole
batch in one piece. A run can resume from its last checkpoint with any number of processes, under any
strategy.
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
from vlm4vla.training.components.devices import seed_torch, set_threads, to_device
from vlm4vla.training.components.log import LossWindow, TrainLog
from vlm4vla.training.components.optimisers import rate_factor
from vlm4vla.training.components.samples import Samples
from vlm4vla.training.components.trackers import Trackers, check_trackers
from vlm4vla.training.distributed.checkpoints import ShardedCheckpoints
from vlm4vla.training.distributed.micro_batches import MicroBatch, MicroBatches, Prefetcher
from vlm4vla.training.distributed.model_options import model_options
from vlm4vla.training.distributed.processes import ProcessGroup


def train_distributed(
    objective: nn.Module,
    samples: Samples,
    *,
    training: Training,
    seed: int,
    folder: Path,
    identity: Mapping[str, Any],
    title: str,
) -> None:
    """Do what `vlm4vla.training.loop.train` does, in the way that `training.execution` says.

    At the end, the main process's `objective` has the averaged weights, on the CPU, in eval mode. Under fsdp2
    the objective of every other process is no longer usable. Raises UserError, in every process, if the loss
    or the gradient is not finite, if the processes cannot share the batch, or if a required package is
    missing.
    """
    set_threads()
    execution = training.execution
    check_trackers(execution.trackers)
    group = ProcessGroup(execution)
    try:
        size, _ = micro_batches(training.batch, group.world_size, execution.micro_batch)
    except ValueError as error:
        raise UserError(f"execution: {error}") from None
    folder.mkdir(parents=True, exist_ok=True)
    main = group.rank == 0
    batches = MicroBatches(samples, objective, seed=seed, size=size, group=group)
    run_hash = settings_hash(checkpoint_identity({"run": dict(identity)}))
    checkpoints = ShardedCheckpoints(folder / "checkpoints", run_hash, group)
    # Reading a loss from a GPU waits for the GPU; on a CPU there is nothing to wait for.
    check_every = 1 if group.device.type == "cpu" else training.log_every

    def probe(model: nn.Module) -> torch.Tensor:
        return model(to_device(batches.probe_batch(), group.device)).float()

    with model_options(objective, execution):
        strategy = strategy_class(execution, group)(objective, training, group, probe)
        done, window = 0, LossWindow()
        found = checkpoints.latest()
        if found is not None:
            record, tensors = found
            strategy.restore(tensors, record["step"])
            done, window = record["step"], LossWindow(record["window_sum"], record["window_count"])
        log = TrainLog(folder / "train.jsonl", done) if main else None
        # A training that was killed after its last update has nothing to log.
        names = execution.trackers if main and done < training.steps else ()
        settings = training.model_dump(mode="json")
        trackers = Trackers(names, folder, title, settings, identity=run_hash, done=done)
        progress = Progress(title, training.steps, done)
        began = time.monotonic()
        with Prefetcher(batches.update, done, training.steps) as updates:
            for step in range(done, training.steps):
                factor = rate_factor(step, training.steps, training.optimiser)
                update = updates.get(step)
                loss = accumulate_gradients(strategy, update.micro_batches, group)
                window.pending.append((step, update.ids, loss, strategy.gradient_norm()))
                saves = (step + 1) % training.checkpoint_every == 0 or step + 1 == training.steps
                logs = (step + 1) % training.log_every == 0 or step + 1 == training.steps
                if saves or logs or (step + 1) % check_every == 0:
                    # Before the update, so that a bad gradient does not reach the weights.
                    window.read_pending(folder, checkpoints.last)
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


def accumulate_gradients(strategy: Any, batches: list[MicroBatch], group: ProcessGroup) -> torch.Tensor:
    """Accumulate the gradient of the whole batch's loss. Return that loss, the same in every process."""
    terms = torch.tensor([sum(batch.terms for batch in batches)], device=group.device)
    total = group.sum(terms).clamp(min=1.0)
    weighted_sum = torch.zeros(1, device=group.device)
    for index, batch in enumerate(batches):
        seed_torch(batch.seed, group.device)
        # The gradients of the processes are averaged; times the number of processes, that is their sum.
        factor = batch.terms * group.world_size / total
        last = index + 1 == len(batches)
        loss = strategy.accumulate(to_device(batch.batch, group.device), factor.squeeze(), last)
        weighted_sum += batch.terms * loss
    return (group.sum(weighted_sum) / total).squeeze()


def strategy_class(execution: Execution, group: ProcessGroup) -> Any:
    """Return the class that trains with `execution.strategy` on the processes of `group`."""
    if execution.strategy == "zero2":
        from vlm4vla.training.distributed.zero2 import Zero2

        return Zero2
    from vlm4vla.training.distributed.strategies import FullySharded, Replicated, SingleProcess

    if execution.strategy != "fsdp2":
        return Replicated
    return SingleProcess if group.world_size == 1 and execution.precision == "bf16" else FullySharded


def checkpoint_identity(identity: Any) -> Any:
    """Return `identity` without the settings that may change when a run resumes.

    Of each `execution`, only its precision is kept.
    """
    if isinstance(identity, Mapping):
        return {
            key: {"precision": value["precision"]}
            if key == "execution" and isinstance(value, Mapping)
            else checkpoint_identity(value)
            for key, value in identity.items()
        }
    if isinstance(identity, (list, tuple)):
        return [checkpoint_identity(value) for value in identity]
    return identity
