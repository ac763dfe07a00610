"""How processes share a batch, what configuration refuses, and that old settings keep their JSON."""

import itertools

import pytest
from pydantic import ValidationError

from vlm4vla.config.execution import Execution, micro_batches
from vlm4vla.config.training import Optimiser, Training


def training(batch=128, optimiser=None, **execution):
    optimiser = Optimiser(**({"learning_rate": 1e-4} | (optimiser or {})))
    return Training(steps=1, batch=batch, optimiser=optimiser, execution=Execution(**execution))


def test_every_share_makes_up_the_batch():
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
    "batch, processes, size, said",
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
def test_an_indivisible_batch_names_the_nearest_possible(batch, processes, size, said):
    with pytest.raises(ValueError) as caught:
        micro_batches(batch, processes, size)
    assert str(caught.value) == said


def test_what_is_proposed_is_possible():
    for batch, processes, size in itertools.product(range(1, 65), range(1, 9), (None, 2, 3, 5)):
        if batch % (processes * (size or 1)) == 0:
            continue
        with pytest.raises(ValueError) as caught:
            micro_batches(batch, processes, size)
        for way in str(caught.value).split(": write ")[1].split(", or "):
            key, *numbers = way.replace(" or ", " ").split()
            for number in map(int, numbers):
                changed = {"batch": batch, "processes": processes, "micro_batch": size} | {key: number}
                micro_batches(**changed)


@pytest.mark.parametrize(
    "changes, said",
    [
        ({"processes": 2}, "strategy single has one process"),
        ({"strategy": "ddp", "processes": 3}, "write batch 126 or 129, or processes 2 or 4"),
        (
            {"strategy": "ddp", "processes": 3, "nodes": 2},
            "2 nodes cannot share 3 processes evenly: write processes 2 or 4",
        ),
        ({"strategy": "ddp", "hosts": ["a", "b"]}, "hosts names 2 machines, nodes is 1"),
        ({"trackers": ["wandb", "wandb"]}, "repeats a name"),
        ({"strategy": "fsdp2", "optimiser": {"name": "muon"}}, "optimiser muon needs whole matrices"),
        ({"strategy": "zero2", "optimiser": {"average": 0.9}}, "no average can be taken"),
    ],
)
def test_what_cannot_run_is_refused(changes, said):
    with pytest.raises(ValidationError) as caught:
        training(**changes)
    assert said in str(caught.value)


def test_a_training_without_execution_keeps_its_json():
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
