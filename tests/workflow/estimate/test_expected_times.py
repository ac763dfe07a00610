"""What the run's log expects of Snakemake's jobs."""

from __future__ import annotations

from types import SimpleNamespace

import pytest

from vlm4vla.study.runs import Run
from vlm4vla.workflow.estimate import expected_times
from vlm4vla.workflow.estimate.expected_times import expect_jobs, seconds
from vlm4vla.workflow.estimate.rates import Rate, Rates
from vlm4vla.workflow.jobs import Maker

RATES = Rates([Rate("vla", "qwen3_vl/mlp/none", "sample", 0.001, start=10.0)])


def test_a_trainings_samples_at_the_measured_rate(study):
    run = Run("qwen3-vl-2b", "none", "full", "calvin", 0)
    training = study.training(run)
    expected = 10 + 0.001 * training.steps * training.batch
    assert seconds(Maker(study), RATES, [study.vla_path(run)]) == pytest.approx(expected)


def test_what_was_not_measured_is_not_known(study):
    assert seconds(Maker(study), RATES, [study.questions_path()]) is None
    assert seconds(Maker(study), RATES, ["logs/x.log"]) is None


def test_rates_of_tiny_backbones_say_nothing_of_checkpoints(study):
    backbone = study.config.backbones["qwen3-vl-2b"]
    real = backbone.model_copy(update={"tiny": None, "checkpoint": "Qwen/Qwen3-VL-2B-Instruct"})
    backbones = study.config.backbones | {"qwen3-vl-2b": real}
    study.config = study.config.model_copy(update={"backbones": backbones})
    run = Run("qwen3-vl-2b", "none", "full", "calvin", 0)
    assert seconds(Maker(study), RATES, [study.vla_path(run)]) is None


def test_every_job_of_a_whole_run_is_known_by_the_repositorys_rates(study, monkeypatch):
    """The file of rates in speed/ knows every stage of the embedded study."""
    monkeypatch.setattr(expected_times, "EXPECTED", {})
    jobs = [SimpleNamespace(rule=SimpleNamespace(name=path), output=[path]) for path in study.declared()]
    numbers = {id(job): number for number, job in enumerate(jobs)}
    expect_jobs(study, SimpleNamespace(needrun_jobs=lambda: jobs, jobid=lambda job: numbers[id(job)]))
    known = expected_times.EXPECTED
    assert len(known) == len(jobs)
    assert all(taken and taken > 0 for _, taken in known.values()), [r for r, t in known.values() if not t]
