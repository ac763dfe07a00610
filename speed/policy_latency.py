"""Latency of one prediction, and predictions a second in batches: of a policy, and of the policy server.

The backbones have their full size and random weights (full_size.py), in bfloat16 as a released checkpoint is
stored, and the study's images of 224x224 pixels, which Qwen's image processor enlarges to 448x448. All ways
predict from the same images and instructions, after a warm-up, with the preparation of the images included:

- `eager`: `Policy.predict`, as rollouts and the policy server call it.
- `reduce-overhead` and `max-autotune`: the same, with the forward pass compiled by torch.compile in this
  mode. Both modes use CUDA graphs on a GPU. `dynamo` traces the forward pass and computes the graphs as they
  are, which tries the program in seconds on a CPU.

`server` is measured through the product's policy server on the loopback interface (served_policy.py): from
the moment at which a client of vla-eval sends its image to the answer. Only one of `--executed` requests
needs a prediction; the others are answered from its chunk. Latencies are those of requests that need one. It
needs `make env-vla-eval`. The program prints JSON with the name of the device, next to vla-eval's
own stated rate, which is that of another model on another GPU.

    python speed/policy_latency.py [--ways eager reduce-overhead] [--batches 16 64] [BACKBONE ...]
    python speed/policy_latency.py --tiny --requests 5 --batches 4     # a trial on a CPU
"""

from __future__ import annotations

import argparse
import gc
import importlib.util
import json
import time
from typing import Any

import numpy as np
import torch
from full_size import FULL, SIDE, full, tiny
from step_time import PICTURES, TASKS, policy_of, wait

from vlm4vla.conventions.actions import POSE_SIZE
from vlm4vla.policies.policy import Policy

MODES = ("reduce-overhead", "max-autotune", "dynamo")
WARM_UP = 5  # predictions of each shape that are not timed; CUDA graphs are recorded in the first three
COMPARED = 16  # images whose predictions are compared between ways
# vla-eval 0.8.0, tuning guide, table of supply. One of 12 observations needs a prediction there.
VLA_EVAL = {
    "what": "another model: DB-CogACT 7B on one H100-80GB, through vla-eval's own server",
    "batch": 24,
    "observations_a_second": 485.5,
    "actions_a_prediction": 12,
    "predictions_a_second": 40.5,
    "p50_ms_at_batch_1": 18.2,
    "source": "vla-eval 0.8.0, docs/tuning-guide.md",
}
LONGEST = max(TASKS, key=lambda task: len(task.split()))  # one length of text, so one shape a batch


def use_compiled(policy: Policy, mode: str) -> None:
    """Let `policy.predict` compute its forward pass compiled in `mode` (one of MODES)."""
    options = {"backend": "eager"} if mode == "dynamo" else {"mode": mode}
    compiled = torch.compile(policy.head.actions, dynamic=False, **options)

    def actions(*arguments: Any) -> Any:
        torch.compiler.cudagraph_mark_step_begin()  # the last results have been copied to the CPU
        return compiled(*arguments)

    policy.head.actions = actions


def predictions(policy: Policy, images: np.ndarray) -> np.ndarray:
    """Actions (n, chunk, 7) for images (n, H, W, 3) uint8 and one instruction."""
    return policy.predict(images, [LONGEST] * len(images))


def percentiles(seconds: list[float]) -> dict[str, float]:
    """The median and the 95th percentile in milliseconds."""
    p50, p95 = np.percentile(np.array(seconds) * 1e3, [50, 95])
    return {"p50_ms": round(float(p50), 3), "p95_ms": round(float(p95), 3)}


def timed_predictions(
    policy: Policy, images: np.ndarray, batch: int, requests: int, device: torch.device
) -> dict[str, Any]:
    """Time `requests` predictions of `batch` images each, after WARM_UP others."""
    taken = []
    for number in range(WARM_UP + requests):
        ids = (np.arange(batch) + number * batch) % len(images)
        wait(device)
        began = time.perf_counter()
        predictions(policy, images[ids])
        wait(device)
        taken.append(time.perf_counter() - began)
    taken, first = taken[WARM_UP:], taken[:WARM_UP]
    return {
        "predictions": requests,
        **percentiles(taken),
        "predictions_a_second": round(batch * requests / sum(taken), 3),
        "warm_up_seconds": round(sum(first), 2),
    }


def differences(policy: Policy, images: np.ndarray, eager: np.ndarray, batch: int) -> dict[str, float]:
    """How the predictions differ from the eager ones `eager` of single images, in units of the action range.

    `single`: images one by one. `batch`: the first `batch` images at once. `gripper`: the larger share of
    commands that differ. `spread`: how far the eager predictions of different images lie apart, to compare.
    """
    alone = np.concatenate([predictions(policy, image[None]) for image in images])
    apart = {"single": alone - eager, "batch": predictions(policy, images[:batch]) - eager[:batch]}
    found = {name: np.abs(each[..., :POSE_SIZE]).max() for name, each in apart.items()}
    found["gripper"] = max(np.mean(each[..., -1] != 0) for each in apart.values())
    found["spread"] = np.ptp(eager[..., :POSE_SIZE], axis=0).max()
    return {name: float(f"{value:.3g}") for name, value in found.items()}


def measure_way(
    policy: Policy, way: str, images: np.ndarray, options: argparse.Namespace, device: torch.device
) -> dict[str, Any]:
    """Measure one way: single predictions, batches, and both through the server."""
    found: dict[str, Any] = {}
    for batch in (1, *options.batches):
        requests = options.requests if batch == 1 else max(options.requests // 4, 2)
        found[f"batch_{batch}"] = timed_predictions(policy, images, batch, requests, device)
    if importlib.util.find_spec("vla_eval") is None:
        found["server"] = "not measured: vla-eval is missing: run `make env-vla-eval`"
        return found
    from served_policy import measure_server

    found["server"] = {}
    for batch in (1, *options.batches):
        answered = measure_server(
            policy,
            LONGEST,
            clients=batch,
            executed=min(options.executed, policy.chunk),
            predictions=max(options.requests // (1 if batch == 1 else 4), 2),
            warm_up=WARM_UP,
            size=images.shape[1],
            side=options.camera,
            fixed_batch=way != "eager",
        )
        latencies = percentiles(answered.pop("latencies"))
        rate = answered["observations_a_second"] / VLA_EVAL["observations_a_second"]
        found["server"][f"batch_{batch}"] = {**latencies, **answered, "times_vla_eval": round(rate, 3)}
    return found


def measure(name: str, options: argparse.Namespace, device: torch.device) -> dict[str, Any]:
    """Measure all ways on one backbone."""
    words = sorted({word for task in TASKS for word in task.split()})
    found: dict[str, Any] = {}
    eager: np.ndarray | None = None
    for way in options.ways:
        torch.manual_seed(0)  # all ways have the same weights
        backbone = tiny(name, words) if options.tiny else full(name, words, device)
        if not options.tiny:
            backbone.model.to(torch.bfloat16)
        policy = policy_of(backbone, device, options.tiny).to(device).eval()
        side = backbone.image_size if options.tiny else SIDE
        images = np.random.default_rng(0).integers(0, 256, (PICTURES, side, side, 3), dtype=np.uint8)
        if eager is None:
            found |= {"family": backbone.adapter.family, "image_size": backbone.image_size}
            found["parameters"] = sum(parameter.numel() for parameter in policy.parameters())
            found["type"] = str(backbone.model.dtype).removeprefix("torch.")
            found["actions_a_prediction"] = policy.chunk
            eager = np.concatenate([predictions(policy, image[None]) for image in images[:COMPARED]])
        if way != "eager":
            use_compiled(policy, way)
        try:
            found[way] = measure_way(policy, way, images, options, device)
            batch = min([each for each in options.batches if each <= COMPARED], default=1)
            found[way]["differences"] = differences(policy, images[:COMPARED], eager, batch)
        except torch.cuda.OutOfMemoryError:
            found[way] = {"error": "out of memory: write smaller --batches"}
        del policy, backbone
        gc.collect()
        torch.compiler.reset()  # frees the CUDA graphs
        if device.type == "cuda":
            torch.cuda.empty_cache()
    return found


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("backbones", nargs="*", choices=[[], *FULL], help="default: qwen2.5-vl-3b")
    parser.add_argument("--ways", nargs="+", choices=("eager", *MODES), help="default: eager reduce-overhead")
    parser.add_argument("--batches", nargs="*", type=int, default=[16, 64], help="batches besides one image")
    parser.add_argument("--requests", type=int, default=200, help="timed predictions; a quarter for a batch")
    parser.add_argument("--executed", type=int, default=10, help="actions that a client executes of a chunk")
    parser.add_argument("--camera", type=int, default=256, help="pixels of the images that clients send")
    parser.add_argument("--tiny", action="store_true", help="tiny backbones, which also run on a CPU")
    options = parser.parse_args()
    device = torch.device("cuda" if torch.cuda.is_available() else "cpu")
    if device.type == "cpu" and not options.tiny:
        parser.error("full-size backbones need a GPU: write --tiny for a trial on this CPU")
    if min([1, options.requests, options.executed, *options.batches]) < 1:
        parser.error("--batches, --requests and --executed are at least 1")
    options.ways = options.ways or (["eager"] if options.tiny else ["eager", "reduce-overhead"])
    record = {
        "device": torch.cuda.get_device_name(device) if device.type == "cuda" else "CPU",
        "torch": torch.__version__,
        "tiny": options.tiny,
        "executed": options.executed,
        "vla_eval": VLA_EVAL,
        "backbones": {
            name: measure(name, options, device) for name in options.backbones or ["qwen2.5-vl-3b"]
        },
    }
    print(json.dumps(record, indent=2))


if __name__ == "__main__":
    main()
