"""What a job asks for: GPUs where there is a real model, more memory and time at each attempt."""

from __future__ import annotations

from pathlib import Path
from types import SimpleNamespace

import pytest
import yaml

from vlm4vla.config import load_config
from vlm4vla.needs import Needs, of_execution, scaled
from vlm4vla.study import Run, Study

CONFIG = Path(__file__).parents[1] / "config.yaml"


@pytest.fixture
def raw() -> dict:
    return yaml.safe_load(CONFIG.read_text())


def every(study: Study) -> list[int | None]:
    """GPUs and nodes of every job of the study that may have some."""
    needs = Needs(study)
    runs = [run for table in study.tables() for run in study.cells(table)]
    vlms = [
        SimpleNamespace(vlm=vlm, task=task) for table in study.tables() for vlm, task in study.vlms(table)
    ]
    tuned = [vlm for vlm in vlms if vlm.task != "none"]
    return [
        *(job(run) for run in runs for job in (needs.vla_gpus, needs.vla_nodes, needs.rollout_gpus)),
        *(needs.capability_gpus(vlm) for vlm in vlms),
        *(job(vlm) for vlm in tuned for job in (needs.auxiliary_gpus, needs.auxiliary_nodes)),
    ]


def test_no_job_of_the_embedded_study_asks_for_gpus(raw):
    asked = every(Study(load_config(raw)))
    assert len(asked) > 100 and set(asked) == {None}


def test_checkpoints_ask_for_gpus_and_so_does_an_expert_on_one(raw):
    raw["backbones"]["paligemma-1"] = {"family": "paligemma", "parameters_b": 2.9, "checkpoint": "there"}
    raw["auxiliary"]["tasks"]["robobrain2"] = {"checkpoint": "there"}
    needs = Needs(Study(load_config(raw)))
    for vlm, wanted in (("paligemma-1", 1), ("pi0", 1), ("kosmos-2", None), ("openvla", None)):
        run = Run(vlm, "none", "full", "bridge", 0)
        assert (needs.vla_gpus(run), needs.vla_nodes(run), needs.rollout_gpus(run)) == (wanted,) * 3, vlm
    assert needs.capability_gpus(SimpleNamespace(vlm="paligemma-1")) == 1
    for task in ("robopoint", "robo2vlm", "robobrain2", "fast-freeze-vision"):
        real, tiny = (SimpleNamespace(vlm=vlm, task=task) for vlm in ("paligemma-1", "kosmos-2"))
        assert (needs.auxiliary_gpus(real), needs.auxiliary_nodes(real)) == (1, 1), task
        assert (needs.auxiliary_gpus(tiny), needs.auxiliary_nodes(tiny)) == (None, None), task


def test_a_gpu_a_process(raw):
    training = load_config(raw).vla
    assert (of_execution(training, "processes"), of_execution(training, "nodes")) == (1, 1)
    large = SimpleNamespace(execution=SimpleNamespace(processes=16, nodes=2))
    assert (of_execution(large, "processes"), of_execution(large, "nodes")) == (16, 2)
    assert of_execution(SimpleNamespace(execution=None), "processes") == 1


def test_more_at_each_attempt():
    memory = scaled(2500)
    assert [memory(None, attempt=attempt) for attempt in (1, 2, 3)] == [2500, 5000, 7500]
