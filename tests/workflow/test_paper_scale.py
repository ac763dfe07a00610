"""workflow/scales/paper.yaml: the settings of the published study, its jobs, and the cost of a dry run."""

import json
import os
import re
import subprocess
import sys
from collections import Counter
from pathlib import Path
from types import SimpleNamespace

import pytest
from transformers.models.qwen2_vl.image_processing_pil_qwen2_vl import smart_resize

from vlm4vla.config.layers import read_layers
from vlm4vla.config.stages import RolloutSettings, read_settings, settings_json
from vlm4vla.config.training import Training
from vlm4vla.study.runs import Run
from vlm4vla.study.study import Study
from vlm4vla.training.components.optimisers import rate_factor
from vlm4vla.workflow.jobs import plan

REPOSITORY = Path(__file__).parents[2]
PAPER = "workflow/scales/paper.yaml"
LOW, HIGH = 2e-5, 5e-5
# Warm-up in updates, as in the released code: on CALVIN 0.05 of five epochs of 41,165 updates.
WARM_UP = {"calvin": round(0.05 * 41_165), "bridge": 2500, "libero-10": 250}
AUXILIARY = {
    "vica-332k": 1000,
    "robo2vlm": 2000,
    "bridgevqa": 4000,
    "robopoint": 5000,
    "fast-unfreeze-vision": 4000,
}
QWEN = 6  # backbones whose image processor has bounds
# The settings of the paper for each benchmark, from its sections on training and evaluation.
TRAINING = {  # actions per predicted chunk, global batch, updates
    "calvin": (10, 128, 30_000),
    "bridge": (4, 512, 50_000),
    "libero-10": (4, 512, 50_000),
}
EVALUATION = {  # episodes, maximum of steps, evaluated numbers of executed steps
    "calvin": (1000, 360, [10]),
    "bridge": (24, 60, [1, 2, 4]),
    "libero-10": (50, 520, [2, 4]),
}


@pytest.fixture(scope="module")
def study():
    return Study(read_layers([REPOSITORY / "config.yaml", REPOSITORY / PAPER]))


@pytest.mark.parametrize("benchmark", TRAINING)
def test_training_settings_are_those_of_the_paper(study, benchmark):
    chunk, batch, updates = TRAINING[benchmark]
    for vlm in study.config.backbones:
        settings = json.loads(study.vla_settings(Run(vlm, "none", "full", benchmark, 123)))
        training, optimiser = settings["training"], settings["training"]["optimiser"]
        assert (settings["chunk"], training["batch"], training["steps"]) == (chunk, batch, updates)
        higher = benchmark != "calvin" and vlm in ("paligemma-1", "paligemma-2", "kosmos-2")
        assert optimiser["learning_rate"] == (HIGH if higher else LOW)
        assert optimiser["name"] == "adamw" and optimiser["weight_decay"] == 0 and optimiser["clip"] == 1.0
        assert optimiser["schedule"] == "constant" and optimiser["average"] == 0
        assert optimiser["warmup"] == WARM_UP[benchmark]
        read = Training.model_validate(training)
        rates = [rate_factor(step, updates, read.optimiser) for step in range(WARM_UP[benchmark] + 1)]
        assert [rate < 1 for rate in rates] == [True] * (WARM_UP[benchmark] - 1) + [False] * 2
        assert training["execution"]["precision"] == "bf16" and training["execution"]["processes"] == 8
        assert settings["freeze"] == "none" and settings["initial_weights"] == "backbone"
        head = settings["head"]
        assert head["trunk"] is None and head["features"] == 1024 and head["hidden"] == [1024, 512, 256]
        assert head["gripper_loss_weight"] == 0.01 and head["huber_delta"] == 1.0
        image_changes = (settings["shift"], "augmentation" in settings)
        assert image_changes == ((10, False) if benchmark == "calvin" else (0, True))
    assert study.config.seeds == [123] and study.config.image_size == 224


@pytest.mark.parametrize("benchmark", EVALUATION)
def test_evaluation_settings_are_those_of_the_paper(study, benchmark):
    evaluation = study.config.benchmarks[benchmark].evaluation
    episodes, steps, executed = EVALUATION[benchmark]
    assert (evaluation.episodes, evaluation.max_steps) == (episodes, steps)
    assert sorted(study.horizons(benchmark)) == executed
    simulator = evaluation.simulator
    if benchmark == "calvin":
        assert study.config.benchmarks[benchmark].demonstrations.bounds == (-0.65, 0.65)
        assert simulator.unnormalisation == "range"
    else:
        assert simulator.unnormalisation == "quantile"
    if benchmark == "bridge":  # the task with the eggplant has twice as many steps as the other three
        assert sorted(simulator.tasks.values()) == [60, 60, 60, 120]
        assert simulator.gripper_rule == "two-in-a-row"
    if benchmark == "libero-10":
        assert len(simulator.task_numbers()) == 10 and simulator.idle_steps == 10


def test_only_libero_policies_see_the_centre(study):
    """Training crops 0.9 of the area on Bridge and LIBERO-10. SimplerEnv's policies see the whole image."""
    config = study.config
    assert [name for name in EVALUATION if config.benchmarks[name].evaluation.centre_crop] == ["libero-10"]
    assert config.benchmarks["libero-10"].augmentation.crop == 0.9
    for benchmark in EVALUATION:
        for model in (*config.backbones, *config.experts, "random"):
            run = Run(model, "none", "full", benchmark, 123)
            served = model == "random" or study.is_served_externally(run)
            crops = benchmark == "libero-10" and not served
            rollout = json.loads(study.rollout_settings(run))
            assert rollout["evaluation"].get("centre_crop") == (0.9 if crops else None)
            if not served:
                assert json.loads(study.vla_settings(run)).get("centre_crop") == (0.9 if crops else None)


def test_qwens_images_have_448_pixels(study):
    """The smallest number of pixels in the released code is 28 * 28 * 256."""
    pixels = {name: backbone.pixels for name, backbone in study.config.backbones.items()}
    assert [name for name in pixels if pixels[name]] == [name for name in pixels if name.startswith("qwen")]
    assert sum(bounds is not None for bounds in pixels.values()) == QWEN
    for name, bounds in pixels.items():
        settings = json.loads(study.backbone_settings(SimpleNamespace(vlm=name)))
        assert settings["backbone"].get("pixels") == ({"min": 28 * 28 * 256} if bounds else None)
        factor = 28 if "2.5" in name else 32
        if bounds:
            assert smart_resize(224, 224, factor, bounds.min, 2**24) == (448, 448)
            assert (448 // factor) ** 2 == (256 if "2.5" in name else 196)
            arguments = json.loads(study.lmms_eval_settings(SimpleNamespace(vlm=name, auxiliary="none")))
            assert arguments["arguments"]["min_pixels"] == bounds.min
    task = json.loads(study.auxiliary_settings(SimpleNamespace(vlm="qwen2.5-vl-7b", task="robobrain2")))
    assert task["pixels"] == {"min": 28 * 28 * 256}  # an installed checkpoint has a processor of its own
    task = json.loads(study.auxiliary_settings(SimpleNamespace(vlm="qwen2.5-vl-3b", task="robopoint")))
    assert "pixels" not in task


@pytest.mark.parametrize("task", AUXILIARY)
def test_updates_of_auxiliary_trainings_are_those_of_the_released_code(study, task):
    settings = json.loads(study.auxiliary_settings(SimpleNamespace(vlm="qwen2.5-vl-3b", task=task)))
    assert (settings["training"]["steps"], settings["training"]["batch"]) == (AUXILIARY[task], 128)
    assert settings["training"]["optimiser"]["schedule"] == "cosine"
    assert settings["training"]["execution"]["processes"] == 8


def test_backbones_are_ten_pinned_checkpoints(study):
    backbones = study.config.backbones.values()
    assert len(backbones) == 10
    assert all(re.fullmatch("[0-9a-f]{40}", backbone.revision) for backbone in backbones)
    revision = study.config.backbones["qwen2.5-vl-3b"].revision
    assert revision == "c747f21f03e7d0792c30766310bd7d8de17eeeb3"  # that of the released code
    assert not study.needs_questions()


def test_the_jobs_are_counted(study):
    """The numbers are counted by hand from the tables. A run of several tables counts once."""
    main = 10 * 3 + 3 * 3  # backbones and expert VLAs on three benchmarks
    freeze = 3 * 2 * 2  # two frozen modules on two benchmarks
    scratch = 3 * 3
    auxiliary = (3 + 4) * 3 + 2 * 2  # fine-tuned, three seeds; not fine-tuned, two more seeds
    fast = 2 * 2 + 1  # without the runs of table main
    runs = main + freeze + scratch + auxiliary + fast
    served = 2  # OpenVLA's own server on two benchmarks
    executed = 10 * 2 + 10  # other numbers of steps on Bridge, and on LIBERO-10
    random = 3
    calvin = 10 + 3 + 6 + 3 + auxiliary + 1
    bridge = 10 + 3 + 6 + 3 + fast + 1 + 20
    libero = 10 + 3 + 3 + 1 + 10
    shards = 8 * calvin + 4 * bridge + 8 * libero
    assert calvin + bridge + libero == runs + executed + random
    assert Counter(job.stage for job in plan(study).values()) == {
        "backbone": 10,
        "capability": 10 + 7 + 2,
        "auxiliary_data": 7 + 1,  # both forms of FAST share one dataset
        "auxiliary": 7 + 2,
        "demonstrations": 3,
        "vla": runs - served,
        "rollout": runs + random + executed + shards,
        "table": 8,
        "report": 3,
    }


# Run a command, and print its CPU seconds and its peak memory in kB as the last line. The process of the test
# had other children.
PEAK = """
import resource, subprocess, sys
status = subprocess.run(sys.argv[1:]).returncode
used = resource.getrusage(resource.RUSAGE_CHILDREN)
print(used.ru_utime + used.ru_stime, used.ru_maxrss, file=sys.stderr)
sys.exit(status)
"""


@pytest.mark.workflow
@pytest.mark.exhaustive
def test_five_seeds_are_planned_in_thirty_cpu_seconds_and_two_gigabytes(tmp_path):
    command = [sys.executable, "-c", PEAK, sys.executable, "-m", "snakemake", "--dry-run"]
    command += ["--configfile", PAPER, "--config", f"results={tmp_path}", "seeds=[1,2,3,4,5]"]
    path = os.pathsep.join((str(Path(sys.executable).parent), os.environ["PATH"]))
    done = subprocess.run(
        command, cwd=REPOSITORY, env=os.environ | {"PATH": path}, capture_output=True, text=True, timeout=300
    )
    assert done.returncode == 0, done.stderr
    config = read_layers([REPOSITORY / "config.yaml", REPOSITORY / PAPER])
    study = Study(config.model_copy(update={"seeds": [1, 2, 3, 4, 5], "results": str(tmp_path)}))
    planned = Counter(re.findall(r"^Job \d+: ([a-z]+)", done.stdout, re.MULTILINE))
    expected = Counter(job.stage for job in plan(study).values())
    assert planned["vla"] == expected["vla"] == 5 * (88 - 25) + 25 + 2  # a table's own seeds stay
    assert planned["rollout"] == expected["rollout"] > 3000
    seconds, memory = map(float, done.stderr.splitlines()[-1].split())
    assert seconds < 30  # speed/dry_run.py measures it beside another build
    assert memory < 2e6
    # the dry run prints a missing dataset as a note and continues
    assert (
        "note: a run would stop with this error: config.yaml: benchmarks.calvin.demonstrations" in done.stderr
    )


def test_settings_of_thousands_of_rollouts_are_valid_and_come_from_few_checked_models(study, monkeypatch):
    """Pydantic checked and wrote each of them; a dry run with five seeds spent seconds on this."""
    fresh, made = Study(study.config), []
    monkeypatch.setattr(
        "vlm4vla.study.settings.RolloutSettings", lambda **values: made.append(1) or RolloutSettings(**values)
    )
    rollouts = [job for job in plan(fresh).values() if job.stage == "rollout"]
    assert len(rollouts) > 600
    assert not made  # a plan alone needs no settings of rollouts
    for job in rollouts:
        settings = read_settings(job.write_settings(), RolloutSettings)
        assert settings_json(settings) == job.write_settings()
        assert (settings.backbone, settings.variant) == (job.wildcards["vlm"], job.wildcards["variant"])
        assert settings.seed == int(job.wildcards["seed"])
        assert settings.shard == (int(job.wildcards["shard"]) if "shard" in job.wildcards else None)
        horizon = job.wildcards["executed"].removeprefix("-executed")
        if horizon:
            assert settings.evaluation.execution_horizon == int(horizon)
        run = Run(settings.backbone, "none", settings.variant, settings.benchmark, settings.seed)
        own = settings.backbone != "random" and not study.is_served_externally(run)
        crop = study.config.benchmarks[settings.benchmark].evaluation.centre_crop
        assert settings.evaluation.centre_crop == (crop if own else None)
    assert 0 < len(made) < 20
