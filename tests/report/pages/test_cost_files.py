"""The cost of a job is the largest of its own figure and Snakemake's. Damaged files have no cost."""

import json

import pytest

from vlm4vla.report.pages.cost import read_cost, read_costs, total_cost

HEADER = "s\th:m:s\tmax_rss\tcpu_time\n"


@pytest.mark.parametrize(
    "content",
    [
        b"",
        b"\xff\xfe\x00",
        b'"' + b"a" * 200_000,
        HEADER.encode(),
        (HEADER + "nan\tx\tinf\t-inf\n").encode(),
        (HEADER + "-\t-\tNA\t\n").encode(),
        (HEADER + "1e999\n").encode(),
    ],
)
def test_a_file_without_a_cost(tmp_path, content):
    times = write(tmp_path, "benchmarks/vla/a.tsv", content)
    cost = read_cost(tmp_path, "vla/a")
    assert (cost.cpu, cost.wall, cost.memory) == (0, 0, 0)
    write(tmp_path, "vla/a/provenance.json", content)
    write(tmp_path, "logs/vla/a.log", content)
    assert total_cost(read_costs(tmp_path)).cpu == 0
    times.unlink()
    assert read_costs(tmp_path) == {}


def write(root, name, content):
    path = root / name
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(content if isinstance(content, bytes) else content.encode())
    return path


def test_the_last_row_counts(tmp_path):
    write(tmp_path, "benchmarks/a.tsv", HEADER + "9\t0:00:09\t8\t7\n3\t0:00:03\t20.5\t2\n")
    cost = read_cost(tmp_path, "a")
    assert (cost.cpu, cost.wall, cost.memory) == (2, 3, 20.5)


ROW = HEADER + "30\t0:00:30\t100\t{}\n"
LOG = "x: CPU time 1.00 s, start-up 0.50 s\n" * 200 + "vla: CPU time {:.2f} s, start-up 2.00 s\n"


@pytest.mark.parametrize(
    ("snakemakes", "recorded", "logged", "expected"),
    [
        (10, 12, 15, 15),
        (10, 12, 3, 12),  # the job found the artefact finished, and its log replaced the earlier one
        (10, 12, None, 12),  # of an older version
        (14, 12, None, 14),
        (None, 12, None, 12),
        (10, None, None, 10),
        (10, None, 15, 15),  # a stage without provenance
    ],
)
def test_the_largest_figure_counts(tmp_path, snakemakes, recorded, logged, expected):
    job = "vla/m/none/full/bridge/seed0"
    if snakemakes is not None:
        write(tmp_path, f"benchmarks/{job}.tsv", ROW.format(snakemakes))
    if recorded is not None:
        times = {"cpu_seconds": recorded, "wall_seconds": 20}
        write(tmp_path, f"{job}/provenance.json", json.dumps(times))
    if logged is not None:
        write(tmp_path, f"logs/{job}.log", LOG.format(logged))
    [cost] = read_costs(tmp_path).values()
    wall = 20 if snakemakes is None else 30  # the benchmark file has that of the whole job
    assert (cost.jobs, cost.cpu, cost.wall) == (1, expected, wall)


def test_each_kind_of_job_finds_its_own_record(tmp_path):
    """The provenance of a score is inside its file, and a part of a rollout has its job in another folder."""
    record = {"cpu_seconds": 7, "wall_seconds": 8}
    write(tmp_path, "capability/m/none.json", json.dumps({"sets": {}, "provenance": record}))
    rollout = "rollouts/m/none/full/bridge/seed0"
    for artefact, job in ((f"{rollout}/shards/1", f"{rollout}/1"), (rollout, rollout)):
        write(tmp_path, f"{artefact}/provenance.json", json.dumps(record))
        write(tmp_path, f"benchmarks/{job}.tsv", ROW.format(5))
    write(tmp_path, "benchmarks/capability/m/none.tsv", ROW.format(5))
    costs = read_costs(tmp_path)
    assert {stage: (cost.jobs, cost.cpu) for stage, cost in costs.items()} == {
        "capability": (1, 7),
        "rollouts": (2, 14),
    }
