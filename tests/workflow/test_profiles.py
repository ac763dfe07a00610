"""The cluster profiles: what they say fits the rules and the partitions, and a retry asks for more."""

from __future__ import annotations

import re
from pathlib import Path
from types import SimpleNamespace

import pytest
import yaml
from snakemake.resources import Resources

REPOSITORY = Path(__file__).parents[2]
PROFILES = REPOSITORY / "workflow" / "profiles"
RULES = set(re.findall(r"^rule (\w+):", "".join(map(Path.read_text, REPOSITORY.glob("rules/*.smk"))), re.M))
GPU_STAGES = {"auxiliary", "capability", "vla", "rollout", "reference"}
WILDCARDS = [
    SimpleNamespace(vlm=vlm, benchmark=benchmark, task="robopoint")
    for vlm in ("kosmos-2", "qwen3-vl-30b-a3b")
    for benchmark in ("calvin", "bridge")
]


def read(name: str) -> dict:
    return yaml.safe_load((PROFILES / name).read_text())


PAPER = read("paper/profile.yaml")
PARTITIONS = read("slurm/partitions.yaml")["partitions"]


def value(rule: str, name: str, wildcards: SimpleNamespace, attempt: int) -> object:
    """A resource of the paper profile, as Snakemake evaluates it for a job."""
    written = PAPER["set-resources"][rule][name]
    [resource] = Resources.parse([f"{name}={written}"], allow_expressions=True).values()
    return resource.evaluate(
        wildcards,
        input=[],
        attempt=attempt,
        threads=PAPER["set-threads"][rule],
        rulename=rule,
        async_run=None,
    ).value


def test_stages_are_rules():
    assert set(PAPER["set-threads"]) == set(PAPER["set-resources"]) <= RULES
    assert {"backbone", "demonstrations", "auxiliary_data", "fast_data"} | GPU_STAGES == set(
        PAPER["set-threads"]
    )


@pytest.mark.parametrize("rule", sorted(PAPER["set-resources"]))
def test_each_attempt_asks_for_more_and_a_partition_grants_it(rule):
    for wildcards in WILDCARDS:
        asked = [
            {name: value(rule, name, wildcards, attempt) for name in ("mem_mb", "runtime")}
            for attempt in (1, 2, 3)
        ]
        for name in ("mem_mb", "runtime"):
            first, second, third = (attempt[name] for attempt in asked)
            assert isinstance(first, int) and 0 < first < second <= third
        limits = PARTITIONS["gpu" if rule in GPU_STAGES else "cpu"]
        assert asked[2]["mem_mb"] <= limits["max_mem_mb"]
        assert asked[2]["runtime"] <= int(limits["max_runtime"].removesuffix("d")) * 24 * 60
        assert PAPER["set-threads"][rule] <= limits["max_threads"]


def test_gpu_models_are_those_of_the_partition_and_the_largest_model_has_its_own():
    for rule in GPU_STAGES:
        models = {wildcards.vlm: value(rule, "gpu_model", wildcards, 1) for wildcards in WILDCARDS}
        assert set(models.values()) <= set(PARTITIONS["gpu"]["available_gpu_models"])
        if rule in ("capability", "vla", "rollout"):
            assert models == {"kosmos-2": "a100", "qwen3-vl-30b-a3b": "h200"}


@pytest.mark.parametrize("name", ["slurm", "generic", "kubernetes"])
def test_cluster_profiles_try_again_and_their_files_are_there(name):
    profile = read(f"{name}/profile.yaml")
    assert profile["retries"] >= 2 and profile["jobs"] > 1
    assert profile["executor"] in ("slurm", "cluster-generic")
    assert "cores" not in profile  # it would cap the threads of a job
    if name == "slurm":
        assert (PROFILES / name / profile["slurm-partition-config"]).is_file()
        assert profile["slurm-requeue"] is True
        return
    for command in ("submit", "status", "cancel"):
        script = PROFILES / name / profile[f"cluster-generic-{command}-cmd"]
        assert script.is_file() and script.stat().st_mode & 0o111
