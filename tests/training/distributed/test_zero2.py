"""DeepSpeed's configuration as accelerate reads it; trainings, if the package is installed."""

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


def test_the_configuration_is_of_stage_2_and_adds_up_to_the_batch():
    config = zero2_config(training(processes=8, micro_batch=16, precision="bf16", clip=0.5), 8)
    read = HfDeepSpeedConfig(config)
    assert read.is_zero2() and not read.is_offload() and read.is_true("bf16.enabled")
    assert read.is_false("fp16.enabled") and read.get_value("gradient_clipping") == 0.5
    assert read.get_value("train_batch_size") == 512
    assert read.get_value("train_micro_batch_size_per_gpu") == 16
    assert read.get_value("gradient_accumulation_steps") == 4  # 16 * 4 * 8 = 512
    assert read.get_value("zero_allow_untested_optimizer") is True  # the optimiser is torch's AdamW


def test_the_configuration_follows_the_actual_number_of_processes():
    settings = training(processes=8, micro_batch=16)
    for processes, times in ((1, 32), (4, 8), (32, 1)):
        assert zero2_config(settings, processes)["gradient_accumulation_steps"] == times
    assert HfDeepSpeedConfig(zero2_config(settings, 8)).is_false("bf16.enabled")


@pytest.mark.skipif(INSTALLED, reason="deepspeed is installed")
def test_the_package_is_required(tmp_path):
    with pytest.raises(UserError) as caught:
        small.train_once(tmp_path, execution={"strategy": "zero2"}, optimiser={"average": 0})
    assert str(caught.value) == (
        "execution.strategy: zero2 needs the package deepspeed, which is not installed: "
        "`pip install deepspeed`, or write `strategy: fsdp2`"
    )


NO_AVERAGE = {"optimiser": {"average": 0}}
TWO = {"execution": {"strategy": "zero2", "processes": 2, "micro_batch": 2}, **NO_AVERAGE}
KILLED = {"rows": {"die": {"step": 9, "rank": 1}}}  # after the checkpoint of step 8


@pytest.fixture(scope="module")
def single(tmp_path_factory):
    folder = tmp_path_factory.mktemp("zero2") / "single"
    small.train_once(folder, execution={}, **NO_AVERAGE)
    return folder


def same(folder, single):
    for name, value in small.weights(single).items():
        assert value == pytest.approx(small.weights(folder)[name], rel=1e-4, abs=1e-5)
    losses = small.curve(single)[:, 0], small.curve(folder)[:, 0]
    assert losses[0] == pytest.approx(losses[1], rel=1e-4)


@pytest.mark.skipif(not INSTALLED, reason="deepspeed is not installed")
def test_two_processes_follow_one(tmp_path, single):
    small.train_in_processes(tmp_path, {"zero2": TWO})
    same(tmp_path / "zero2", single)


@pytest.mark.skipif(not INSTALLED, reason="deepspeed is not installed")
@pytest.mark.parametrize("in_one_process", [True, False])
def test_a_killed_run_resumes(tmp_path, single, in_one_process):
    """Under ZeRO-2 again, or under another strategy on another number of processes."""
    with pytest.raises(UserError, match="was killed by SIGKILL"):
        small.train_in_processes(tmp_path, {"killed": TWO | KILLED})
    assert (tmp_path / "killed" / "checkpoints").exists()
    if in_one_process:
        small.train_once(tmp_path / "killed", execution={}, **NO_AVERAGE)
    else:
        small.train_in_processes(tmp_path, {"killed": TWO})
    same(tmp_path / "killed", single)


@pytest.mark.skipif(not INSTALLED, reason="deepspeed is not installed")
def test_a_run_of_another_strategy_resumes_under_zero2(tmp_path, single):
    sharded = {"execution": {"strategy": "fsdp2", "processes": 2, "micro_batch": 2}, **NO_AVERAGE}
    with pytest.raises(UserError, match="was killed by SIGKILL"):
        small.train_in_processes(tmp_path, {"killed": sharded | KILLED})
    small.train_in_processes(tmp_path, {"killed": TWO})
    same(tmp_path / "killed", single)
