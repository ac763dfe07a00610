"""An estimate counts the jobs that Snakemake plans."""

import re
import subprocess
import sys
from collections import Counter
from pathlib import Path

import pytest

from vlm4vla.config.config import load_config
from vlm4vla.config.layers import read_layers
from vlm4vla.core.errors import UserError
from vlm4vla.study.study import Study
from vlm4vla.workflow.jobs import plan

REPOSITORY = Path(__file__).parents[3]
STAGES = {"auxiliary data": "auxiliary_data"}


def planned_by_snakemake(folder: Path, targets: list[str], layers: list[str]) -> Counter:
    """The number of jobs of each stage in a dry run, by the beginning of the jobs' messages."""
    options = ["--configfile", *layers] if layers else []
    done = subprocess.run(
        [sys.executable, "-m", "snakemake", "--dry-run", *targets, *options, "--config", f"results={folder}"],
        cwd=REPOSITORY,
        capture_output=True,
        text=True,
        timeout=600,
    )
    assert done.returncode == 0, done.stderr
    words = re.findall(r"^Job \d+: ([^:]*):", done.stdout, re.MULTILINE)
    return Counter(STAGES.get(word, word) for word in words)


def planned_by_estimate(folder: Path, targets: list[str], layers: list[str]) -> Counter:
    config = read_layers([REPOSITORY / name for name in ("config.yaml", *layers)])
    study = Study(config.model_copy(update={"results": str(folder)}))
    return Counter(job.stage for job in plan(study, targets).values())


@pytest.mark.workflow
@pytest.mark.parametrize(
    ("targets", "layers"),
    [
        ([], []),
        ([], ["workflow/scales/smoke.yaml"]),
        (["table_auxiliary", "table_fast_injection"], []),
        (["published"], []),
        (["correlation", "{root}/cells/kosmos-2/robopoint/full/bridge.md"], []),
        (["{root}/capability/kosmos-2/vica-332k.json"], []),
        (["{root}/vla/pi0/none/full/bridge/seed3/provenance.json"], []),
    ],
)
def test_the_same_jobs(tmp_path, targets, layers):
    targets = [target.format(root=f"{tmp_path}/embedded") for target in targets]
    assert planned_by_estimate(tmp_path, targets, layers) == planned_by_snakemake(tmp_path, targets, layers)


def test_each_job_is_planned_once_and_after_its_inputs(study):
    jobs = plan(study)
    done = set()
    for output, job in jobs.items():
        assert job.output == output and set(job.inputs) <= done
        done.add(output)
    assert Counter(job.stage for job in jobs.values())["vla"] == 90


def test_five_seeds_are_planned_in_seconds(raw):
    jobs = plan(Study(load_config(raw | {"seeds": [0, 1, 2, 3, 4]})))
    assert Counter(job.stage for job in jobs.values())["vla"] > 300


def test_jobs_have_the_settings_of_their_stages(study):
    run = study.cells("main")[0]
    job = plan(study, ["table_main"])[study.vla_path(run)]
    assert run.benchmark == "calvin"  # has a training of its own
    assert job.settings["training"]["steps"] == study.config.benchmarks["calvin"].training.steps
    assert job.inputs == (study.backbone_path(run.model), study.demonstrations_path(run.benchmark))


@pytest.mark.parametrize(
    "target", ["table_mian", "vla/kosmos-2/none/full", "vla/kosmos-2/none/full/bridge/x"]
)
def test_unknown_targets(study, target):
    target = f"{study.root}/{target}" if "/" in target else target
    with pytest.raises(UserError, match="target"):
        plan(study, [target])
