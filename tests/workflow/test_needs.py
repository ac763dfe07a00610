"""What a job asks for: GPUs where there is a real model, more memory and time at each attempt."""

from __future__ import annotations

from pathlib import Path
from types import SimpleNamespace

import pytest
import yaml

from vlm4vla.config.config import load_config
from vlm4vla.study.runs import Run
from vlm4vla.study.study import Study
from vlm4vla.workflow.resources import Needs, of_training, scaled

CONFIG = Path(__file__).parents[2] / "config.yaml"
NAMES = ("gpu", "nodes", "mpi", "tasks", "tasks_per_gpu")


@pytest.fixture
def raw() -> dict:
    return yaml.safe_load(CONFIG.read_text())


def asked(needs: Needs, wildcards: SimpleNamespace | Run) -> dict[str, dict[str, int | str | None]]:
    """All resources of all kinds of jobs of one VLM."""
    kinds = {"vla": needs.of_vla, "auxiliary": needs.of_auxiliary, "inference": needs.of_inference}
    return {kind: {name: of(name)(wildcards) for name in NAMES} for kind, of in kinds.items()}


def of(vlm: str, task: str = "robopoint") -> SimpleNamespace:
    return SimpleNamespace(vlm=vlm, task=task, variant="full", benchmark="bridge")


def test_no_job_of_the_embedded_study_asks_for_gpus(raw):
    study = Study(load_config(raw))
    needs = Needs(study)
    vlms = {(run.vlm, run.auxiliary) for table in study.tables() for run in study.cells(table)}
    assert len(vlms) > 20
    for vlm, task in vlms:
        kinds = asked(needs, of(vlm, task))
        assert all(value is None for resources in kinds.values() for value in resources.values())


def test_checkpoints_ask_for_gpus_and_so_does_an_expert_on_one(raw):
    raw["backbones"]["paligemma-1"] = {"family": "paligemma", "parameters_b": 2.9, "checkpoint": "there"}
    raw["auxiliary"]["tasks"]["robobrain2"] = {"checkpoint": "there"}
    needs = Needs(Study(load_config(raw)))
    one = {"gpu": 1, "nodes": 1, "mpi": None, "tasks": None, "tasks_per_gpu": None}
    for vlm in ("paligemma-1", "pi0"):
        for task in ("robopoint", "robo2vlm", "robobrain2", "fast-freeze-vision"):
            assert asked(needs, of(vlm, task)) == {"vla": one, "auxiliary": one, "inference": one}, (
                vlm,
                task,
            )
    for vlm in ("kosmos-2", "openvla"):
        kinds = asked(needs, of(vlm))
        assert all(value is None for resources in kinds.values() for value in resources.values())


def test_a_gpu_a_process():
    assert of_training(SimpleNamespace(execution=None)) == {"gpu": 1, "nodes": 1}
    eight = SimpleNamespace(execution=SimpleNamespace(processes=8, nodes=1))
    assert of_training(eight) == {"gpu": 8, "nodes": 1}


def test_several_nodes_are_one_job_with_a_task_each():
    large = of_training(SimpleNamespace(execution=SimpleNamespace(processes=16, nodes=2)))
    assert large == {"gpu": 16, "nodes": 2, "mpi": "srun", "tasks": 2, "tasks_per_gpu": 0}


def test_more_at_each_attempt():
    memory = scaled(2500)
    assert [memory(None, attempt=attempt) for attempt in (1, 2, 3)] == [2500, 5000, 7500]
