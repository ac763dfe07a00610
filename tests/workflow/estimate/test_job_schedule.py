"""List scheduling, compared with schedules that are computed by hand."""

import numpy as np
import pytest

from vlm4vla.workflow.estimate.cluster import Cluster
from vlm4vla.workflow.estimate.schedule import schedule
from vlm4vla.workflow.estimate.work import Work
from vlm4vla.workflow.jobs import Job


def jobs(**inputs: str) -> dict[str, Job]:
    """Jobs by name. The value of each keyword lists the names of the job's inputs."""
    return {name: Job("vla", (), name, tuple(names.split())) for name, names in inputs.items()}


def works(**seconds: float) -> dict[str, Work]:
    return {name: Work(value, "assumed") for name, value in seconds.items()}


def test_no_jobs_take_no_time():
    assert schedule({}, {}, Cluster(1)).wall == 0


def test_equal_jobs_share_the_cores():
    made = jobs(**{f"j{number}": "" for number in range(10)})
    costs = works(**{name: 60.0 for name in made})
    assert [schedule(made, costs, Cluster(cores)).wall for cores in (1, 3, 10, 50)] == [600, 240, 60, 60]


def test_the_longest_chain_starts_first():
    """On two cores, a chain of 3 x 10 s and two jobs of 15 s take 30 s only if the chain starts at once."""
    made = jobs(x="", y="", a="", b="a", c="b")
    result = schedule(made, works(x=15, y=15, a=10, b=10, c=10), Cluster(2))
    assert (result.wall, result.critical) == (30, 30)


def test_gpus_and_cores_limit_the_jobs():
    made = jobs(a="", b="", c="", d="")
    costs = {name: Work(100.0, "FLOPs", gpus=4, cores=4) for name in "abc"} | {
        "d": Work(100.0, "assumed", cores=1)
    }
    assert schedule(made, costs, Cluster(16, 8, "h100")).wall == 200
    assert schedule(made, costs, Cluster(4, 8, "h100")).wall == 400


def test_a_job_larger_than_the_cluster_gets_the_whole_cluster():
    assert schedule(jobs(a=""), {"a": Work(5.0, "FLOPs", gpus=8, cores=8)}, Cluster(2, 1, "h100")).wall == 5


def test_a_job_does_not_wait_for_existing_inputs():
    assert schedule(jobs(b="a"), works(b=3), Cluster(1)).wall == 3


def test_peak_disk_space():
    """Outputs add up over two trainings in sequence, but checkpoints are deleted after each."""
    made = jobs(a="", b="")
    costs = {name: Work(1.0, "FLOPs", kept=2.0, scratch=10.0) for name in "ab"}
    assert schedule(made, costs, Cluster(1)).peak == 14
    assert schedule(made, costs, Cluster(2)).peak == 24


@pytest.mark.parametrize("cores", [1, 3, 8])
def test_wall_time_is_within_grahams_bound(cores):
    """On random graphs, the time is between the two lower bounds and Graham's upper bound (1969)."""
    random = np.random.default_rng(cores)
    for _ in range(20):
        count = int(random.integers(1, 60))
        made = jobs(
            **{f"j{n}": " ".join(f"j{m}" for m in range(n) if random.random() < 0.1) for n in range(count)}
        )
        costs = works(**{name: float(random.uniform(1, 50)) for name in made})
        result = schedule(made, costs, Cluster(cores))
        total = sum(work.seconds for work in costs.values())
        assert max(result.critical, total / cores) <= result.wall + 1e-9
        assert result.wall <= total / cores + result.critical * (1 - 1 / cores) + 1e-9
