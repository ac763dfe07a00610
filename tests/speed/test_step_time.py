"""speed/step_time.py with tiny backbones; its plain step has the same loss as the package's step."""

import json
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import torch

from vlm4vla.workflow.estimate.published_configs import published_configs

SPEED = Path(__file__).parents[2] / "speed"


@pytest.fixture(autouse=True)
def programs(monkeypatch):
    monkeypatch.syspath_prepend(str(SPEED))


@pytest.mark.exhaustive  # the compiler builds C++
def test_output_has_both_implementations_and_the_device():
    command = [sys.executable, "step_time.py", "--tiny", "--steps", "1", "--batch", "4", "--micro-batch", "2"]
    done = subprocess.run(
        [*command, "--kernels", "qwen2.5-vl-3b"], cwd=SPEED, capture_output=True, text=True, timeout=850
    )
    assert done.returncode == 0, done.stderr
    record = json.loads(done.stdout)
    assert record["device"] and record["tiny"] is True and record["peak_tflops"] > 0
    [found] = record["backbones"].values()
    for way in ("ours", "plain"):
        assert found[way]["samples_per_second"] > 0 and np.isfinite(found[way]["loss"])
        rate, flops = found[way]["samples_per_second"], found["gflop_a_sample"] * 1e9
        used = rate * flops / record["peak_tflops"] / 1e12
        assert found[way]["model_flops_utilisation"] == pytest.approx(used, rel=0.1, abs=2e-4)
    assert found["ours"]["attention"] == "flash_attention_2"
    kernels = found["ours"]["kernels"]
    longest = list(kernels["milliseconds"].values())
    assert longest == sorted(longest, reverse=True) and any("mm" in name for name in kernels["milliseconds"])
    assert sum(longest) / 1e3 <= 1.05 * kernels["busy"] * kernels["seconds"]
    rates = [found[way]["samples_per_second"] for way in ("ours", "plain")]
    assert found["times_as_fast"] == pytest.approx(rates[0] / rates[1], rel=0.01)
    from full_size import tiny
    from step_time import TASKS

    backbone = tiny("qwen2.5-vl-3b", sorted({word for task in TASKS for word in task.split()}))
    prompts = [len(backbone.prompt_ids(task)) for task in TASKS[:4]]
    assert found["equal_tokens"] and found["ours"]["tokens_a_step"] == sum(prompts) + 4  # four queries


@pytest.mark.parametrize("name", ["qwen2.5-vl-3b", "qwen3-vl-2b", "paligemma-1", "kosmos-2"])
def test_plain_step_has_the_same_loss_and_logits_for_every_token(name):
    from full_size import tiny
    from plain_step import PlainStep
    from step_time import TASKS, Pictures, policy_of

    from vlm4vla.training.batches.actions import ActionObjective

    device = torch.device("cpu")
    policy = policy_of(tiny(name, sorted({word for task in TASKS for word in task.split()})), device, True)
    samples = Pictures(policy, 64, 4)
    ids = np.arange(4)
    targets = samples.targets(ids)
    prompts = [policy.backbone.prompt_ids(task) for task in samples.tasks(ids)]
    with torch.no_grad():
        ours = ActionObjective(policy)((policy.backbone.batch(prompts, samples.images[ids]), targets))
    step = PlainStep(policy, device, 0.0, 1.0, bf16=False)
    plain = step.accumulate(samples.images[ids], samples.tasks(ids), targets, 1.0)
    assert float(plain) == pytest.approx(float(ours), rel=1e-4)
    longest = max(map(len, prompts)) + 1
    assert step.logits_shape[:2] == (4, longest) and step.logits_shape[2] >= len(policy.backbone.tokenizer)


@pytest.mark.parametrize(("name", "tokens"), [("qwen2.5-vl-3b", 256), ("qwen3-vl-2b", 196)])
def test_full_size_qwen_reads_448_pixels(name, tokens):
    """On torch's meta device, which needs no memory for the weights."""
    from full_size import full

    backbone = full(name, ["go"], torch.device("meta"))
    assert backbone.image_size == 448 and backbone.adapter.image_tokens == tokens
    stated = {each.study: each.parameters for each in published_configs().values()}[name]
    assert sum(parameter.numel() for parameter in backbone.model.parameters()) == stated


def test_flops_of_a_sample_are_near_those_of_its_matrix_products():
    from full_size import tiny
    from step_time import TASKS, Pictures, flops_a_sample, policy_of

    device = torch.device("cpu")
    policy = policy_of(tiny("paligemma-1", sorted({w for t in TASKS for w in t.split()})), device, True)
    found = flops_a_sample(policy, Pictures(policy, 64, 1), device)
    text, vision = policy.model.model.language_model, policy.model.model.vision_tower
    tokens = np.mean([len(policy.backbone.prompt_ids(task)) + 1 for task in TASKS])
    products = 6 * tokens * sum(p.numel() for p in text.layers.parameters() if p.ndim == 2)
    products += 6 * 16 * sum(p.numel() for p in vision.parameters() if p.ndim == 2)
    # Positions of the last layer that nothing reads are not computed. Attention is not in `products`.
    assert 0.7 * products < found < 1.4 * products


def test_full_size_without_a_gpu_is_refused():
    if torch.cuda.is_available():
        pytest.skip("this machine has a GPU")
    done = subprocess.run(
        [sys.executable, "step_time.py"], cwd=SPEED, capture_output=True, text=True, timeout=850
    )
    assert done.returncode == 2 and "write --tiny" in done.stderr
