"""The cost of a job agrees with numbers that these tests compute in another way."""

import dataclasses
import json
from pathlib import Path

import pytest

from vlm4vla.config.backbones import PixelBounds
from vlm4vla.config.config import load_config
from vlm4vla.config.layers import read_layers
from vlm4vla.study.runs import Run
from vlm4vla.study.study import Study
from vlm4vla.workflow.estimate import assumptions as assumed
from vlm4vla.workflow.estimate.cluster import Cluster
from vlm4vla.workflow.estimate.models import model_of
from vlm4vla.workflow.estimate.rates import Rate, Rates
from vlm4vla.workflow.estimate.work import ASSUMED, FLOPS, MEASURED, MEASURED_MEAN, Estimator
from vlm4vla.workflow.jobs import plan

CONFIG = Path(__file__).parents[3] / "config.yaml"
QWEN = "Qwen/Qwen2.5-VL-3B-Instruct"
FULL = Run("qwen2.5-vl-3b", "none", "full", "calvin", 0)
EIGHT = Cluster(128, 8, "h100")


def work_of(study, path, cluster=EIGHT, rates=(), **how):
    return Estimator(study.config, cluster, Rates(list(rates)), **how).work(plan(study)[path])


def test_training_needs_six_flops_per_weight_and_token(paper):
    """30k steps of 128 samples, with 64 image tokens after merging, 256 patches and 40 text tokens.

    The language model's matrices have 2.77 billion weights, the encoder's 0.63 billion. The 0.31 billion in
    the embedding are not multiplied, the 0.04 billion in the merger less often. Attention is under 2 %.
    """
    work = work_of(paper, paper.vla_path(FULL))
    tokens = 64 + 40
    flops = 6 * (2.774e9 * tokens + 0.629e9 * 256 + 0.037e9 * 64) * 30000 * 128
    assert work.source == FLOPS and work.gpus == 8
    assert work.seconds == pytest.approx(assumed.START + flops / (8 * 989e12 * 0.4), rel=0.03)
    assert work.kept == pytest.approx(4 * 3.7546e9, rel=1e-3)  # float32, because it has no `execution`
    job = plan(paper)[paper.vla_path(FULL)]
    training = job.settings["training"] | {"execution": {"processes": 8}}
    changed = json.dumps(job.settings | {"training": training})
    job = dataclasses.replace(job, write_settings=lambda: changed)
    sharded = Estimator(paper.config, EIGHT, Rates([])).work(job)
    assert sharded.kept == pytest.approx(work.kept / 2) and sharded.scratch > work.scratch


def test_gpu_hours_do_not_depend_on_the_number_of_gpus(paper):
    one, eight = (work_of(paper, paper.vla_path(FULL), Cluster(16 * n, n, "a100")) for n in (1, 8))
    assert one.seconds - assumed.START == pytest.approx(8 * (eight.seconds - assumed.START))


def test_time_is_inverse_to_the_utilisation(paper):
    slow, fast = (work_of(paper, paper.vla_path(FULL), mfu=mfu) for mfu in (0.2, 0.6))
    assert slow.seconds - assumed.START == pytest.approx(3 * (fast.seconds - assumed.START))


def test_a_frozen_encoder_saves_its_backward_pass(paper):
    full, frozen = (
        work_of(paper, paper.vla_path(Run("qwen2.5-vl-3b", "none", variant, "calvin", 0)))
        for variant in ("full", "freeze-vision")
    )
    shape = model_of(paper.config.backbones["qwen2.5-vl-3b"], 224).shape
    spared = (2 * shape.vision_forward() - 2 * shape.patch_weights * 256) * 30000 * 128 / (8 * 989e12 * 0.4)
    assert full.seconds - frozen.seconds == pytest.approx(spared)


def test_a_measured_gpu_rate_is_preferred(paper):
    rates = [Rate("vla", QWEN, "sample", 0.01, device="h100")]
    work = work_of(paper, paper.vla_path(FULL), rates=rates)
    assert work.source == MEASURED
    assert work.seconds == pytest.approx(assumed.START + 30000 * 128 * 0.01 / 8)
    assert work_of(paper, paper.vla_path(FULL), Cluster(8, 8, "a100"), rates).source == FLOPS


def test_a_rate_counts_for_its_own_image_size_only(paper):
    """The rates of speed/rates.json were measured with the processors' own sizes."""
    backbones = dict(paper.config.backbones)
    backbones[FULL.model] = backbones[FULL.model].model_copy(update={"pixels": PixelBounds(min=200704)})
    large = Study(paper.config.model_copy(update={"backbones": backbones}))
    path = large.vla_path(FULL)
    small_rate, large_rate = (
        Rate("vla", kind, "sample", seconds, device="h100")
        for kind, seconds in ((QWEN, 0.01), (f"{QWEN}/pixels-200704", 0.03))
    )
    assert work_of(large, path, rates=[small_rate]).source == FLOPS
    assert work_of(paper, path, rates=[large_rate]).source == FLOPS
    both = [work_of(study, path, rates=[small_rate, large_rate]) for study in (paper, large)]
    assert [work.source for work in both] == [MEASURED] * 2
    assert [work.seconds - assumed.START for work in both] == pytest.approx(
        [30000 * 128 * seconds / 8 for seconds in (0.01, 0.03)]
    )


def test_time_of_a_download_is_proportional_to_its_bytes(paper):
    work = work_of(paper, paper.backbone_path("qwen2.5-vl-3b"))
    assert work.source == ASSUMED and work.gpus == 0
    assert work.seconds == pytest.approx(2 * 3.7546e9 / assumed.DOWNLOAD, rel=1e-3)


def test_without_gpus_the_cores_train(paper):
    work = work_of(paper, paper.vla_path(FULL), Cluster(64))
    assert (work.gpus, work.cores) == (0, 64) and "mfu" not in work.assumes


def test_a_tiny_study_from_measured_rates(study):
    run = Run("kosmos-2", "none", "full", "bridge", 0)
    rates = [
        Rate("vla", "kosmos-2/mlp/none", "sample", 0.002, start=5, megabytes=3),
        Rate("rollout", "bridge/mlp/kosmos-2", "episode", 0.5, start=4),
        Rate("demonstrations", "bridge", "episode", 0.01),
    ]
    trained = work_of(study, study.vla_path(run), Cluster(2), rates)
    assert (trained.source, trained.gpus, trained.cores) == (MEASURED, 0, 1)
    assert trained.seconds == pytest.approx(5 + 0.002 * study.config.vla.steps * study.config.vla.batch)
    assert trained.kept == 3e6
    rolled = work_of(study, study.episodes_path(run), Cluster(2), rates)
    assert rolled.seconds == pytest.approx(4 + 0.5 * 4 * 24)  # four tasks with 24 initial states each
    other = work_of(study, study.demonstrations_path("calvin"), Cluster(2), rates)
    assert other.source == MEASURED_MEAN


def test_a_tiny_study_without_rates(study):
    run = Run("kosmos-2", "none", "full", "bridge", 0)
    trained = work_of(study, study.vla_path(run), Cluster(2))
    assert trained.source == FLOPS and 10 < trained.seconds < 1000


def test_every_job_has_a_cost(study, paper):
    for each, cluster in ((study, Cluster(2)), (paper, EIGHT), (paper, Cluster(2))):
        estimator = Estimator(each.config, cluster, Rates([]))
        for job in plan(each).values():
            work = estimator.work(job)
            assert work.seconds >= 0 and work.cores >= 1, job.output


def test_an_unknown_checkpoint_has_the_shape_of_its_family(raw):
    raw["backbones"]["kosmos-2"] = {
        "family": "qwen3_vl",
        "parameters_b": 32.0,
        "checkpoint": "lab/unknown",
        "revision": "0" * 40,
    }
    study = Study(load_config(raw))
    model = model_of(study.config.backbones["kosmos-2"], 224)
    assert model.parameters == pytest.approx(32e9) and "Qwen3-VL-8B" in model.source
    run = Run("kosmos-2", "none", "full", "bridge", 0)
    assert "shape" in work_of(study, study.vla_path(run)).assumes


def test_shape_from_the_config_of_a_folder(paper, tmp_path):
    from vlm4vla.workflow.estimate.published_configs import published_configs

    published = published_configs()["google/paligemma-3b-pt-224"]
    (tmp_path / "config.json").write_text(json.dumps(published.config))
    (tmp_path / "preprocessor_config.json").write_text(json.dumps({"size": published.processor}))
    backbone = paper.config.backbones["qwen2.5-vl-3b"].model_copy(
        update={"checkpoint": str(tmp_path), "revision": None, "family": "paligemma"}
    )
    model = model_of(backbone, 224)
    assert model.parameters == published.parameters and model.source == str(tmp_path)


def test_settings_decide_the_number_of_gpus(paper):
    job = plan(paper)[paper.vla_path(FULL)]
    training = job.settings["training"] | {"execution": {"processes": 4}}
    changed = json.dumps(job.settings | {"training": training})
    job = dataclasses.replace(job, write_settings=lambda: changed)
    assert Estimator(paper.config, EIGHT, Rates([])).work(job).gpus == 4


@pytest.fixture
def metaworld() -> Study:
    """The policies of the ten tiny backbones on the real MetaWorld, for 20 states of ten tasks."""
    return Study(read_layers([CONFIG, CONFIG.parent / "workflow" / "scales" / "metaworld.yaml"]))


def test_the_real_simulator_costs_more_than_embedded_episodes(metaworld):
    """200 episodes of 200 steps, at 60 steps a second on one core, and what the policy computes."""
    jobs = list(plan(metaworld).values())
    names = {"vlm": "qwen2.5-vl-3b", "variant": "full", "shard": "0", "seed": "0"}
    [shard] = [job for job in jobs if names.items() <= job.wildcards.items()]
    [random] = [job for job in jobs if job.wildcards.get("vlm") == "random" and "shard" in job.wildcards]
    [recorded] = [
        job for job in jobs if job.stage == "demonstrations" and job.wildcards["benchmark"] == "metaworld"
    ]

    embedded = [Rate("rollout", "bridge/mlp/qwen2_5_vl", "episode", 0.1)]
    embedded += [
        Rate("rollout", "bridge/random", "episode", 0.1),
        Rate("demonstrations", "bridge", "episode", 0.1),
    ]
    estimator = Estimator(metaworld.config, Cluster(1), Rates(embedded))
    policy, reference, demonstrations = (estimator.work(job) for job in (shard, random, recorded))
    assert {work.source for work in (policy, reference, demonstrations)} == {ASSUMED}
    assert reference.seconds == pytest.approx(200 * 200 / 60)
    assert reference.seconds < policy.seconds < 2 * reference.seconds
    assert demonstrations.seconds == pytest.approx(500 * 200 / 60)

    measured = [Rate("rollout", "metaworld simulator/mlp/qwen2_5_vl", "episode", 0.9, start=2.0)]
    measured += [Rate("rollout", "metaworld simulator/random", "episode", 0.7)]
    measured += [Rate("demonstrations", "metaworld simulator", "episode", 1.4)]
    estimator = Estimator(metaworld.config, Cluster(1), Rates([*embedded, *measured]))
    policy, reference, demonstrations = (estimator.work(job) for job in (shard, random, recorded))
    assert {work.source for work in (policy, reference, demonstrations)} == {MEASURED}
    assert policy.seconds == pytest.approx(2 + 200 * 0.9)
    assert (reference.seconds, demonstrations.seconds) == pytest.approx((140, 700))
