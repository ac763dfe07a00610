"""VLA training on one GPU: step time, samples per second, memory, utilisation, and a plain step to compare.

The backbones have their full size, random weights and the study's images of 224x224, which Qwen's image
processor enlarges to 448x448 (full_size.py). `ours` is the package's own update: micro-batches prepared
ahead, sharding, padding-free attention if the family allows it, AdamW. `plain` is plain_step.py: logits for
every token, every sample prepared alone inside the step. Both run in the same process, on the same images and
prompts. The program prints JSON with the name of the device.

Utilisation is model FLOPs over the dense bfloat16 peak of the device. The model FLOPs are those of the
forward pass of one sample without padding and without logits, times three for the backward pass, times
samples per second. Repeated work and padding do not count. If the peak of the device is not listed, it is
measured with a matrix product. `tokens_a_step` counts the tokens of the text model in one update, without
padding, as each way prepares them; `equal_tokens` says that both counts are equal.

    python speed/step_time.py [--batch 32] [--micro-batch 8] [--steps 10] [BACKBONE ...]
    python speed/step_time.py --tiny      # a trial on a CPU, in a minute
"""

from __future__ import annotations

import argparse
import gc
import json
import time
from collections.abc import Callable
from typing import Any

import numpy as np
import torch
from full_size import FULL, SIDE, full, tiny
from plain_step import PlainStep
from torch.utils.flop_counter import FlopCounterMode

from vlm4vla.actions.normalisation import Statistics
from vlm4vla.backbones.loaded import LoadedBackbone
from vlm4vla.config.execution import Execution
from vlm4vla.config.policies import MlpHeadSettings
from vlm4vla.config.training import Optimiser, Training
from vlm4vla.policies.policy import Policy
from vlm4vla.training.batches.actions import ActionObjective, random_shift
from vlm4vla.training.components.devices import to_device
from vlm4vla.training.distributed.loop import accumulate_gradients, strategy_class
from vlm4vla.training.distributed.micro_batches import MicroBatches, Prefetcher
from vlm4vla.training.distributed.model_options import model_options
from vlm4vla.training.distributed.processes import ProcessGroup

TASKS = [
    "take the red block and rotate it to the right",
    "push the sliding door to the left side",
    "put the white mug on the plate and put the chocolate pudding to the right of the plate",
    "open the drawer",
    "turn on the light bulb",
    "put both moka pots on the stove",
]
CHUNK = 10
PICTURES = 64  # number of different images
# Dense bfloat16 peaks in FLOP/s, by a part of the device's name (NVIDIA's data sheets).
PEAKS = {"H200": 989e12, "H100 PCIe": 756e12, "H100": 989e12, "A100": 312e12, "L40S": 362e12, "4090": 165e12}


class Pictures:
    """Random images and prompts in memory, with the methods of the package's samples."""

    def __init__(self, policy: Policy, side: int, batch: int):
        random = np.random.default_rng(0)
        self.backbone, self.batch_size = policy.backbone, batch
        self.images = random.integers(0, 256, (PICTURES, side, side, 3), dtype=np.uint8)
        self.pose = torch.from_numpy(random.uniform(-1, 1, (PICTURES, CHUNK, 6)).astype(np.float32))

    def ids(self, step: int) -> np.ndarray:
        return (np.arange(self.batch_size) + step * self.batch_size) % PICTURES

    def tasks(self, ids: np.ndarray) -> list[str]:
        return [TASKS[number % len(TASKS)] for number in ids]

    def targets(self, ids: np.ndarray) -> dict[str, torch.Tensor]:
        ones = torch.ones(len(ids), CHUNK)
        return {"pose": self.pose[torch.from_numpy(ids)], "gripper": ones, "mask": ones}

    def batch(self, ids: np.ndarray, random: np.random.Generator) -> Any:
        prompts = [self.backbone.prompt_ids(task) for task in self.tasks(ids)]
        return self.backbone.batch(prompts, random_shift(self.images[ids], 10, random)), self.targets(ids)


def policy_of(backbone: LoadedBackbone, device: torch.device, small: bool) -> Policy:
    """The study's policy on `backbone`: one query, and a head with the study's widths (or `small` ones)."""
    widths = {"features": 16, "hidden": [16]} if small else {"features": 1024, "hidden": [1024, 512, 256]}
    bounds = np.full(6, -1, np.float32), np.full(6, 1, np.float32)
    with torch.device(device):
        head = MlpHeadSettings(**widths, gripper_loss_weight=0.01)
        return Policy.create(backbone, head, CHUNK, "calvin", Statistics("range", "calvin", *bounds), 0)


def flops_a_sample(policy: Policy, samples: Pictures, device: torch.device) -> float:
    """FLOPs of a forward and a backward pass: the mean over prompts, each alone and so without padding."""
    policy.to(device)
    counts = []
    for number in range(len(TASKS)):
        inputs, targets = samples.batch(np.array([number]), np.random.default_rng(0))
        counter = FlopCounterMode(display=False)
        with counter:  # not under no_grad: some weights are themselves the input of a module
            policy.loss(to_device(inputs, device), to_device(targets, device))
        counts.append(3 * counter.get_total_flops())
    return float(np.mean(counts))


def peak(device: torch.device, name: str) -> tuple[float, str]:
    """The peak in bfloat16 in FLOP/s, and the source of the number."""
    for part, value in PEAKS.items():
        if part in name:
            return value, "data sheet"
    side = 8192 if device.type == "cuda" else 1024
    a, b = (torch.randn(side, side, device=device, dtype=torch.bfloat16) for _ in range(2))
    seconds = timed(lambda: a @ b, 3, device)
    return 2 * side**3 / seconds, "a timed matrix product"


def real_tokens(inputs: dict[str, Any]) -> int:
    """Tokens of the text model for prepared inputs, with each sample's query and without padding."""
    mask = inputs["attention_mask"]
    return int(mask.sum()) + len(mask)


def timed(work: Callable[[], Any], times: int, device: torch.device) -> float:
    """Mean seconds of one call of `work`, after a first call that is not counted."""
    work()
    wait(device)
    began = time.perf_counter()
    for _ in range(times):
        work()
    wait(device)
    return (time.perf_counter() - began) / times


def wait(device: torch.device) -> None:
    if device.type == "cuda":
        torch.cuda.synchronize(device)


def result(
    seconds: float, batch: int, flops: float, peak_flops: float, device: torch.device
) -> dict[str, Any]:
    memory = torch.cuda.max_memory_allocated(device) / 2**30 if device.type == "cuda" else None
    return {
        "seconds_a_step": round(seconds, 4),
        "samples_per_second": round(batch / seconds, 4),
        "peak_memory_gib": memory and round(memory, 2),
        "model_flops_utilisation": round(flops * batch / seconds / peak_flops, 5),
    }


def kernels(update: Callable[[], Any], device: torch.device) -> dict[str, Any]:
    """For one update, the share of time in which the GPU computes, and the forty longest kernels in ms."""
    activity, name = torch.profiler.ProfilerActivity.CUDA, "self_device_time_total"
    if device.type == "cpu":
        activity, name = torch.profiler.ProfilerActivity.CPU, "self_cpu_time_total"
    with torch.profiler.profile(activities=[activity]) as profile:
        began = time.perf_counter()
        update()
        wait(device)
        seconds = time.perf_counter() - began
    spent = sorted(
        ((getattr(each, name) / 1e3, each) for each in profile.key_averages()), key=lambda x: -x[0]
    )
    longest = {f"{each.key[:90]} x{each.count}": round(took, 2) for took, each in spent[:40]}
    busy = sum(took for took, _ in spent) / 1e3 / seconds
    return {"seconds": round(seconds, 4), "busy": round(busy, 4), "milliseconds": longest}


def ours(
    policy: Policy, samples: Pictures, training: Training, steps: int, profile: dict[str, Any] | None = None
) -> tuple[float, float, int]:
    """(seconds per step, last loss, tokens per step) of the package's update.

    `profile` gets `kernels` of another update.
    """
    objective, execution = ActionObjective(policy), training.execution
    group = ProcessGroup(execution)
    size = execution.micro_batch
    batches = MicroBatches(samples, objective, seed=0, size=size, group=group)
    with model_options(objective, execution):
        strategy = strategy_class(execution, group)(
            objective,
            training,
            group,
            lambda model: model(to_device(batches.probe_batch(), group.device)).float(),
        )
        done = 0
        with Prefetcher(batches.update, 0, steps + 3) as ahead:

            def update() -> None:
                nonlocal done, loss, tokens
                micro_batches = ahead.get(done).micro_batches
                if not tokens:
                    tokens = sum(real_tokens(each.batch[0]) for each in micro_batches)
                loss = accumulate_gradients(strategy, micro_batches, group)
                strategy.gradient_norm()
                strategy.step(done + 1, 1.0)
                done += 1

            loss, tokens = torch.zeros(()), 0
            update()  # compiles for one length of text; the next update compiles for any length
            seconds = timed(update, steps, group.device)
            if profile is not None:
                profile |= kernels(update, group.device)
    return seconds, float(loss), tokens


def plain(
    policy: Policy, samples: Pictures, training: Training, size: int, steps: int, device: torch.device
) -> tuple[float, float, int]:
    """(seconds per step, last loss, tokens per step) of the plain step in micro-batches of `size` samples."""
    optimiser = training.optimiser
    step = PlainStep(policy, device, optimiser.learning_rate, optimiser.clip, bf16=True)
    done, loss = 0, torch.zeros(())

    def update() -> None:
        nonlocal done, loss
        whole = samples.ids(done)
        for ids in np.split(whole, len(whole) // size):
            micro_batch = samples.images[ids], samples.tasks(ids), samples.targets(ids)
            loss = step.accumulate(*micro_batch, len(ids) / len(whole))
        step.finish()
        done += 1

    ids = samples.ids(0)
    tokens = real_tokens(step.prepare(samples.images[ids], samples.tasks(ids)))
    return timed(update, steps, device), float(loss), tokens


def measure(
    name: str, options: argparse.Namespace, device: torch.device, peak_flops: float
) -> dict[str, Any]:
    """Measure both implementations on one backbone."""
    words = sorted({word for task in TASKS for word in task.split()})
    found: dict[str, Any] = {}
    for way in ("ours", "plain"):
        backbone = tiny(name, words) if options.tiny else full(name, words, device)
        backbone.model.to(device)
        attention = "flash_attention_2" if backbone.adapter.plainly_causal else "sdpa"
        execution = Execution(
            strategy="fsdp2",
            micro_batch=options.micro_batch,
            precision="bf16",
            attention=attention,
            gradient_checkpointing=options.gradient_checkpointing,
            compile=not options.no_compile,
        )
        training = Training(
            steps=options.steps,
            batch=options.batch,
            optimiser=Optimiser(learning_rate=2e-5),
            execution=execution,
        )
        policy = policy_of(backbone, device, options.tiny)
        samples = Pictures(policy, backbone.image_size if options.tiny else SIDE, options.batch)
        if way == "ours":
            found["family"] = backbone.adapter.family
            found["parameters"] = sum(parameter.numel() for parameter in policy.parameters())
            found["image_size"] = backbone.image_size
            flops = flops_a_sample(policy, samples, device)
            found["gflop_a_sample"] = round(flops / 1e9, 3)
        if device.type == "cuda":
            torch.cuda.reset_peak_memory_stats(device)
        steps = options.steps if way == "ours" else max(1, options.steps // 2)
        try:
            if way == "ours":
                profile: dict[str, Any] | None = {} if options.kernels else None
                seconds, loss, tokens = ours(policy, samples, training, steps, profile)
                settings = {
                    "attention": attention,
                    "strategy": execution.strategy,
                    "compile": execution.compile,
                }
                settings |= {"kernels": profile} if profile else {}
            else:
                size = options.plain_micro_batch
                seconds, loss, tokens = plain(policy, samples, training, size, steps, device)
                settings = {"logits": "of every token", "micro_batch": size}
            settings |= {"tokens_a_step": tokens, "loss": loss}
            found[way] = result(seconds, options.batch, flops, peak_flops, device) | settings
        except torch.cuda.OutOfMemoryError:
            found[way] = {"error": "out of memory: lower --micro-batch, or use --gradient-checkpointing"}
        del policy, samples, backbone
        gc.collect()
        if device.type == "cuda":
            torch.cuda.empty_cache()
    if all("samples_per_second" in found[way] for way in ("ours", "plain")):
        rates = found["ours"]["samples_per_second"], found["plain"]["samples_per_second"]
        found["times_as_fast"] = round(rates[0] / rates[1], 3)
        found["equal_tokens"] = found["ours"]["tokens_a_step"] == found["plain"]["tokens_a_step"]
    return found


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("backbones", nargs="*", choices=[[], *FULL], help="default: all of full_size.py")
    parser.add_argument("--batch", type=int, default=32, help="samples per update")
    parser.add_argument("--micro-batch", type=int, default=8, help="samples computed at once")
    parser.add_argument(
        "--plain-micro-batch", type=int, help="micro-batch of the plain step, which needs more memory"
    )
    parser.add_argument("--steps", type=int, default=10, help="number of timed updates of ours")
    parser.add_argument("--gradient-checkpointing", action="store_true")
    parser.add_argument("--no-compile", action="store_true", help="ours without torch.compile")
    parser.add_argument(
        "--kernels", action="store_true", help="print the kernels that take most of the time of our update"
    )
    parser.add_argument("--tiny", action="store_true", help="tiny backbones, which also run on a CPU")
    options = parser.parse_args()
    device = torch.device("cuda" if torch.cuda.is_available() else "cpu")
    name = torch.cuda.get_device_name(device) if device.type == "cuda" else "CPU"
    options.plain_micro_batch = options.plain_micro_batch or options.micro_batch
    for option in ("micro_batch", "plain_micro_batch"):
        if options.batch % (size := getattr(options, option)):
            parser.error(f"--batch {options.batch} is not a multiple of --{option.replace('_', '-')} {size}")
    if device.type == "cpu" and not options.tiny:
        parser.error("full-size backbones need a GPU: write --tiny for a trial on this CPU")
    peak_flops, source = peak(device, name)
    record = {
        "device": name,
        "peak_tflops": round(peak_flops / 1e12, 6),
        "peak_is": source,
        "torch": torch.__version__,
        "tiny": options.tiny,
        "batch": options.batch,
        "micro_batch": options.micro_batch,
        "steps": options.steps,
        "backbones": {each: measure(each, options, device, peak_flops) for each in options.backbones or FULL},
    }
    print(json.dumps(record, indent=2))


if __name__ == "__main__":
    main()
