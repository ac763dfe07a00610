"""The resources of jobs: GPUs for checkpoints only, and more memory and time at each attempt."""

from __future__ import annotations

from pathlib import Path
from types import SimpleNamespace

import pytest
from fast_yaml import load_yaml

from vlm4vla.config.config import load_config
from vlm4vla.study.study import Study
from vlm4vla.workflow.resources import JobResources, scaled, training_resources

CONFIG = Path(__file__).parents[2] / "config.yaml"
NAMES = ("gpu", "nodes", "mpi", "tasks", "tasks_per_gpu")


@pytest.fixture
def raw() -> dict:
    return load_yaml(CONFIG.read_text())


def all_resources(
    resources: JobResources, vlm: str, task: str = "robopoint"
) -> dict[str, dict[str, int | str | None]]:
    """All resources of all kinds of jobs of one VLM."""
    wildcards = SimpleNamespace(
        vlm=vlm, task=task, auxiliary=task, variant="full", benchmark="bridge", seed="0"
    )
    kinds = {
        "vla": resources.for_vla,
        "auxiliary": resources.for_auxiliary,
        "inference": resources.for_inference,
    }
    return {kind: {name: method(name)(wildcards) for name in NAMES} for kind, method in kinds.items()}


def test_jobs_of_the_embedded_study_request_no_gpu(raw):
    study = Study(load_config(raw))
    resources = JobResources(study)
    vlms = {(run.model, run.auxiliary) for table in study.tables() for run in study.cells(table)}
    assert len(vlms) > 20
    for vlm, task in vlms:
        kinds = all_resources(resources, vlm, task)
        assert all(value is None for values in kinds.values() for value in values.values())


def test_jobs_of_checkpoints_and_of_expert_vlas_on_them_request_gpus(raw):
    raw["backbones"]["paligemma-1"] = {"family": "paligemma", "parameters_b": 2.9, "checkpoint": "there"}
    raw["auxiliary"]["tasks"]["robobrain2"] = {"checkpoint": "there"}
    resources = JobResources(Study(load_config(raw)))
    one = {"gpu": 1, "nodes": 1, "mpi": None, "tasks": None, "tasks_per_gpu": None}
    for vlm in ("paligemma-1", "pi0"):
        for task in ("robopoint", "robo2vlm", "robobrain2", "fast-freeze-vision"):
            kinds = all_resources(resources, vlm, task)
            assert kinds == {"vla": one, "auxiliary": one, "inference": one}, (vlm, task)
    for vlm in ("kosmos-2", "openvla"):
        kinds = all_resources(resources, vlm)
        assert all(value is None for values in kinds.values() for value in values.values())


def test_one_gpu_per_process():
    assert training_resources(SimpleNamespace(execution=None)) == {"gpu": 1, "nodes": 1}
    eight = SimpleNamespace(execution=SimpleNamespace(processes=8, nodes=1))
    assert training_resources(eight) == {"gpu": 8, "nodes": 1}


def test_a_training_on_several_nodes_is_one_job_with_one_task_per_node():
    large = training_resources(SimpleNamespace(execution=SimpleNamespace(processes=16, nodes=2)))
    assert large == {"gpu": 16, "nodes": 2, "mpi": "srun", "tasks": 2, "tasks_per_gpu": 0}


def test_each_attempt_gets_more():
    memory = scaled(2500)
    assert [memory(None, attempt=attempt) for attempt in (1, 2, 3)] == [2500, 5000, 7500]
