"""How processes share a batch, which settings are refused, and the JSON without `execution`."""

import itertools

import pytest
from pydantic import ValidationError

from vlm4vla.config.execution import Execution, micro_batches
from vlm4vla.config.training import Optimiser, Training


def training(batch=128, optimiser=None, **execution):
    optimiser = Optimiser(**({"learning_rate": 1e-4} | (optimiser or {})))
    return Training(steps=1, batch=batch, optimiser=optimiser, execution=Execution(**execution))


def test_the_micro_batches_add_up_to_the_batch():
    found = 0
    for batch, processes, size in itertools.product(range(1, 33), range(1, 9), (None, 1, 2, 3, 4, 8)):
        unit = processes * (size or 1)
        if batch % unit:
            with pytest.raises(ValueError):
                micro_batches(batch, processes, size)
            continue
        each, times = micro_batches(batch, processes, size)
        assert each * times * processes == batch and each == (size or each)
        found += 1
    assert found > 200


@pytest.mark.parametrize(
    "batch, processes, size, message",
    [
        (
            128,
            3,
            None,
            "3 processes cannot share a batch of 128: write batch 126 or 129, or processes 2 or 4",
        ),
        (
            128,
            3,
            8,
            "3 processes cannot share a batch of 128 in micro-batches of 8: write batch 120 or 144, "
            "or processes 2 or 4",
        ),
        (
            512,
            8,
            24,
            "8 processes cannot share a batch of 512 in micro-batches of 24: write batch 384 or 576, "
            "or micro_batch 16 or 32",
        ),
        (4, 8, None, "8 processes cannot share a batch of 4: write batch 8, or processes 4"),
    ],
)
def test_the_message_has_the_nearest_possible_numbers(batch, processes, size, message):
    with pytest.raises(ValueError) as caught:
        micro_batches(batch, processes, size)
    assert str(caught.value) == message


def test_proposed_numbers_are_possible():
    for batch, processes, size in itertools.product(range(1, 65), range(1, 9), (None, 2, 3, 5)):
        if batch % (processes * (size or 1)) == 0:
            continue
        with pytest.raises(ValueError) as caught:
            micro_batches(batch, processes, size)
        for fix in str(caught.value).split(": write ")[1].split(", or "):
            key, *numbers = fix.replace(" or ", " ").split()
            for number in map(int, numbers):
                changed = {"batch": batch, "processes": processes, "micro_batch": size} | {key: number}
                micro_batches(**changed)


@pytest.mark.parametrize(
    "changes, message",
    [
        ({"processes": 2}, "strategy single has one process"),
        ({"strategy": "ddp", "processes": 3}, "write batch 126 or 129, or processes 2 or 4"),
        (
            {"strategy": "ddp", "processes": 3, "nodes": 2},
            "2 nodes cannot share 3 processes evenly: write processes 2 or 4",
        ),
        ({"strategy": "ddp", "hosts": ["a", "b"]}, "hosts lists 2 machines, but nodes is 1"),
        ({"trackers": ["wandb", "wandb"]}, "repeats a name"),
        ({"strategy": "fsdp2", "optimiser": {"name": "muon"}}, "optimiser muon needs whole matrices"),
        ({"strategy": "zero2", "optimiser": {"average": 0.9}}, "zero2 cannot average the weights"),
    ],
)
def test_settings_that_cannot_run_are_refused(changes, message):
    with pytest.raises(ValidationError) as caught:
        training(**changes)
    assert message in str(caught.value)


def test_the_json_of_a_training_without_execution_has_no_such_key():
    plain = Training(steps=1, batch=2, optimiser=Optimiser(learning_rate=1e-4))
    assert set(plain.model_dump(mode="json")) == {
        "steps",
        "batch",
        "optimiser",
        "checkpoint_every",
        "log_every",
    }
    several = training(strategy="ddp", processes=2)
    written = several.model_dump(mode="json")
    assert written["execution"]["processes"] == 2
    assert Training.model_validate(written) == several
