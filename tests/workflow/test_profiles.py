"""The cluster profiles match the rules and the partitions, and each retry requests more resources."""

from __future__ import annotations

import re
from pathlib import Path
from types import SimpleNamespace

import pytest
from fast_yaml import load_yaml
from snakemake.resources import Resources

REPOSITORY = Path(__file__).parents[2]
PROFILES = REPOSITORY / "workflow" / "profiles"
RULES = set(re.findall(r"^rule (\w+):", "".join(map(Path.read_text, REPOSITORY.glob("rules/*.smk"))), re.M))
GPU_STAGES = {"auxiliary", "capability", "vla", "rollout", "released_rollout", "reference"}
WILDCARDS = [
    SimpleNamespace(vlm=vlm, benchmark=benchmark, task="robopoint")
    for vlm in ("kosmos-2", "qwen3-vl-30b-a3b")
    for benchmark in ("calvin", "bridge")
]


def read(name: str) -> dict:
    return load_yaml((PROFILES / name).read_text())


PAPER = read("paper/profile.yaml")
PARTITIONS = read("slurm/partitions.yaml")["partitions"]


def value(rule: str, name: str, wildcards: SimpleNamespace, attempt: int) -> object:
    """The value of a resource of the paper profile for a job, as Snakemake evaluates it."""
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


def test_the_paper_profile_names_existing_rules():
    assert set(PAPER["set-threads"]) == set(PAPER["set-resources"]) <= RULES
    assert {"backbone", "demonstrations", "auxiliary_data", "fast_data"} | GPU_STAGES == set(
        PAPER["set-threads"]
    )


@pytest.mark.parametrize("rule", sorted(PAPER["set-resources"]))
def test_each_attempt_requests_more_within_the_limits_of_the_partition(rule):
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


def test_the_partition_has_the_gpu_models_and_the_largest_backbone_has_another_model():
    for rule in GPU_STAGES:
        models = {wildcards.vlm: value(rule, "gpu_model", wildcards, 1) for wildcards in WILDCARDS}
        assert set(models.values()) <= set(PARTITIONS["gpu"]["available_gpu_models"])
        if rule in ("capability", "vla", "rollout"):
            assert models == {"kosmos-2": "a100", "qwen3-vl-30b-a3b": "h200"}


@pytest.mark.parametrize("name", ["slurm", "generic", "kubernetes"])
def test_cluster_profiles_retry_jobs_and_their_files_exist(name):
    profile = read(f"{name}/profile.yaml")
    assert profile["retries"] >= 2 and profile["jobs"] > 1
    assert profile["executor"] in ("slurm", "cluster-generic")
    assert "cores" not in profile  # this option would limit the threads of a job
    if name == "slurm":
        assert (PROFILES / name / profile["slurm-partition-config"]).is_file()
        assert profile["slurm-requeue"] is True
        return
    for command in ("submit", "status", "cancel"):
        script = PROFILES / name / profile[f"cluster-generic-{command}-cmd"]
        assert script.is_file() and script.stat().st_mode & 0o111
