"""The jobs of a benchmark on its real simulator, and of a released policy; all other jobs stay the same."""

from __future__ import annotations

import pytest
from pi0_models import write_pi0

pytestmark = pytest.mark.workflow

SIMULATOR = {
    "adapter": "libero",
    "gripper": {"open": -1, "close": 1},
    "unnormalisation": "quantile",
    "success": "any-step",
    "runs": {"shards": 3},
    "policies": {
        "pi0": {
            "command": ["serve", "{host}:{port}"],
            "checkpoint": "pi0",
            "execution_horizon": 5,
            "unnormalisation": "quantile",
        }
    },
}


def test_an_evaluation_on_a_simulator_has_one_job_per_part(project):
    without = project.dry_run("table_main")
    project.change(
        "workflow/scales/smoke.yaml",
        lambda smoke: smoke["benchmarks"]["libero-10"]["evaluation"].update(simulator=SIMULATOR),
    )
    jobs = project.dry_run("table_main")
    mine = "rollout: kosmos-2, auxiliary none, full, libero-10, seed 0"
    assert {f"{mine}, part {part}" for part in range(3)} < jobs and mine in jobs
    assert "rollout: random, auxiliary none, full, libero-10, seed 0, part 2" in jobs
    # an external policy server needs no training, and a simulator has no scripted expert
    assert "vla: pi0, auxiliary none, full, libero-10, seed 0" in without - jobs
    assert "rollout: pi0, auxiliary none, full, libero-10, seed 0, part 1" in jobs
    assert "rollout: expert policy, libero-10" in without - jobs
    assert {job for job in without if "libero-10" not in job} <= jobs


def test_a_released_policy_has_a_rollout_without_a_training(project):
    without = project.dry_run("table_main")
    (project.folder / "pi0").mkdir()
    policy = {"checkpoint": str(write_pi0(project.folder / "pi0"))}
    project.change(
        "workflow/scales/smoke.yaml",
        lambda smoke: smoke["benchmarks"]["bridge"].update(released_policies={"pi0": policy}),
    )
    jobs = project.dry_run("table_main")
    new, old = (
        "rollout: pi0 as released, bridge, seed 0",
        "rollout: pi0, auxiliary none, full, bridge, seed 0",
    )
    assert jobs - without == {new}
    assert without - jobs == {old, "vla: pi0, auxiliary none, full, bridge, seed 0"}
