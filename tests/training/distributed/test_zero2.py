"""DeepSpeed's configuration, as accelerate reads it; a training with it where the package is installed."""

import importlib.util

import pytest
import several_processes as small
from accelerate.utils.deepspeed import HfDeepSpeedConfig

from vlm4vla.config.execution import Execution
from vlm4vla.config.training import Optimiser, Training
from vlm4vla.core.errors import UserError
from vlm4vla.training.distributed.zero2 import zero2_config

INSTALLED = importlib.util.find_spec("deepspeed") is not None


def training(batch=512, clip=1.0, **execution):
    return Training(
        steps=1,
        batch=batch,
        optimiser=Optimiser(learning_rate=1e-4, clip=clip),
        execution=Execution(strategy="zero2", **execution),
    )


def test_the_configuration_is_of_stage_2_and_makes_up_the_batch():
    config = zero2_config(training(processes=8, micro_batch=16, precision="bf16", clip=0.5), 8)
    read = HfDeepSpeedConfig(config)
    assert read.is_zero2() and not read.is_offload() and read.is_true("bf16.enabled")
    assert read.is_false("fp16.enabled") and read.get_value("gradient_clipping") == 0.5
    assert read.get_value("train_batch_size") == 512
    assert read.get_value("train_micro_batch_size_per_gpu") == 16
    assert read.get_value("gradient_accumulation_steps") == 4  # 16 * 4 * 8 = 512
    assert read.get_value("zero_allow_untested_optimizer") is True  # the optimiser is torch's AdamW


def test_the_configuration_follows_the_processes_that_there_are():
    asked = training(processes=8, micro_batch=16)
    for processes, times in ((1, 32), (4, 8), (32, 1)):
        assert zero2_config(asked, processes)["gradient_accumulation_steps"] == times
    assert HfDeepSpeedConfig(zero2_config(asked, 8)).is_false("bf16.enabled")


@pytest.mark.skipif(INSTALLED, reason="deepspeed is installed")
def test_without_the_package_one_line_says_so(tmp_path):
    with pytest.raises(UserError) as caught:
        small.one(tmp_path, execution={"strategy": "zero2"}, optimiser={"average": 0})
    assert str(caught.value) == (
        "execution.strategy: zero2 needs the package deepspeed, which is not installed: "
        "`pip install deepspeed`, or write `strategy: fsdp2`"
    )


PLAIN = {"optimiser": {"average": 0}}
TWO = {"execution": {"strategy": "zero2", "processes": 2, "micro_batch": 2}, **PLAIN}
KILLED = {"rows": {"die": {"step": 9, "rank": 1}}}  # after the checkpoint of step 8


@pytest.fixture(scope="module")
def alone(tmp_path_factory):
    folder = tmp_path_factory.mktemp("zero2") / "alone"
    small.one(folder, execution={}, **PLAIN)
    return folder


def same(folder, alone):
    for name, value in small.weights(alone).items():
        assert value == pytest.approx(small.weights(folder)[name], rel=1e-4, abs=1e-5)
    losses = small.curve(alone)[:, 0], small.curve(folder)[:, 0]
    assert losses[0] == pytest.approx(losses[1], rel=1e-4)


@pytest.mark.skipif(not INSTALLED, reason="deepspeed is not installed")
def test_two_processes_follow_one(tmp_path, alone):
    small.together(tmp_path, {"zero2": TWO})
    same(tmp_path / "zero2", alone)


@pytest.mark.skipif(not INSTALLED, reason="deepspeed is not installed")
@pytest.mark.parametrize("goes_on_in_one_process", [True, False])
def test_killed_it_goes_on(tmp_path, alone, goes_on_in_one_process):
    """Under ZeRO-2 again, or under another strategy on another number of processes."""
    with pytest.raises(UserError, match="was ended by SIGKILL"):
        small.together(tmp_path, {"killed": TWO | KILLED})
    assert (tmp_path / "killed" / "checkpoints").exists()
    if goes_on_in_one_process:
        small.one(tmp_path / "killed", execution={}, **PLAIN)
    else:
        small.together(tmp_path, {"killed": TWO})
    same(tmp_path / "killed", alone)


@pytest.mark.skipif(not INSTALLED, reason="deepspeed is not installed")
def test_another_strategys_checkpoint_goes_on_under_it(tmp_path, alone):
    sharded = {"execution": {"strategy": "fsdp2", "processes": 2, "micro_batch": 2}, **PLAIN}
    with pytest.raises(UserError, match="was ended by SIGKILL"):
        small.together(tmp_path, {"killed": sharded | KILLED})
    small.together(tmp_path, {"killed": TWO})
    same(tmp_path / "killed", alone)
