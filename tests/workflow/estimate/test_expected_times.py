"""The expected times of Snakemake's jobs in the run's log."""

from __future__ import annotations

from types import SimpleNamespace

import pytest

from vlm4vla.study.runs import Run
from vlm4vla.workflow.estimate import expected_times
from vlm4vla.workflow.estimate.expected_times import expect_jobs, expected_seconds
from vlm4vla.workflow.estimate.rates import Rate, Rates
from vlm4vla.workflow.jobs import JobIndex

RATES = Rates([Rate("vla", "qwen3_vl/mlp/none", "sample", 0.001, start=10.0)])


def test_time_of_a_training_is_its_samples_at_the_measured_rate(study):
    run = Run("qwen3-vl-2b", "none", "full", "calvin", 0)
    training = study.training(run)
    expected = 10 + 0.001 * training.steps * training.batch
    assert expected_seconds(JobIndex(study), RATES, [study.vla_path(run)]) == pytest.approx(expected)


def test_without_a_measured_rate_the_time_is_unknown(study):
    assert expected_seconds(JobIndex(study), RATES, [study.questions_path()]) is None
    assert expected_seconds(JobIndex(study), RATES, ["logs/x.log"]) is None


def test_rates_of_tiny_backbones_do_not_apply_to_checkpoints(study):
    backbone = study.config.backbones["qwen3-vl-2b"]
    real = backbone.model_copy(update={"tiny": None, "checkpoint": "Qwen/Qwen3-VL-2B-Instruct"})
    backbones = study.config.backbones | {"qwen3-vl-2b": real}
    study.config = study.config.model_copy(update={"backbones": backbones})
    run = Run("qwen3-vl-2b", "none", "full", "calvin", 0)
    assert expected_seconds(JobIndex(study), RATES, [study.vla_path(run)]) is None


def test_the_repositorys_rates_cover_every_job_of_a_run(study, monkeypatch):
    """The file of rates in speed/ has every stage of the embedded study."""
    monkeypatch.setattr(expected_times, "EXPECTED", {})
    jobs = [SimpleNamespace(rule=SimpleNamespace(name=path), output=[path]) for path in study.declared()]
    numbers = {id(job): number for number, job in enumerate(jobs)}
    expect_jobs(study, SimpleNamespace(needrun_jobs=lambda: jobs, jobid=lambda job: numbers[id(job)]))
    expected = expected_times.EXPECTED
    assert len(expected) == len(jobs)
    assert not [rule for rule, seconds in expected.values() if not seconds or seconds < 0]
