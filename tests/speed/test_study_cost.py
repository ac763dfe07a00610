"""speed/study_cost.py runs two jobs of the smoke study, and reads what other runs have left."""

import json
import random
import resource
import shutil
import subprocess
import sys
from pathlib import Path

import networkx
import pytest

from vlm4vla.core.cpu_time import read_log
from vlm4vla.report.pages.cost import job_costs

REPOSITORY = Path(__file__).parents[2]
SPEED = REPOSITORY / "speed"
TARGET = "results/smoke/auxiliary_data/fast/provenance.json"
CHAIN = ["demonstrations/bridge", "auxiliary_data/fast"]


@pytest.fixture
def program(monkeypatch):
    monkeypatch.syspath_prepend(str(SPEED))
    import study_cost

    return study_cost


def study_cost(*arguments, status=0):
    """What the program prints, and the CPU seconds of all its processes."""
    before = resource.getrusage(resource.RUSAGE_CHILDREN)
    done = subprocess.run(
        [sys.executable, str(SPEED / "study_cost.py"), *map(str, arguments)],
        capture_output=True,
        text=True,
        timeout=850,
    )
    after = resource.getrusage(resource.RUSAGE_CHILDREN)
    assert done.returncode == status, done.stderr
    seconds = after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime
    return (json.loads(done.stdout) if not status else done.stderr), seconds


@pytest.fixture(scope="module")
def ran(tmp_path_factory):
    """The folder of a measured run, the options of the run, and its output."""
    folder = tmp_path_factory.mktemp("cost") / "runs"
    options = ("--run", folder, REPOSITORY, "--scale", "smoke", "--cores", "1", "--target", TARGET)
    return folder / f"1-{REPOSITORY.name}", options, *study_cost(*options)


def test_a_run_measures_each_job_and_snakemake(ran):
    folder, _, found, seconds = ran
    [build] = found["builds"]
    results = folder / "results" / "smoke"
    assert build["results"] == str(results) and build["measured"] == "by the kernel"
    lines = [json.loads(line) for line in (folder / "study_cost.jsonl").read_text().splitlines()]
    measured = {line["log"].removeprefix(f"{results}/logs/"): line for line in lines if line["kind"] == "job"}
    assert list(measured) == [f"{job}.log" for job in CHAIN]
    for job in CHAIN:
        stage, own = job.split("/")[0], read_log(results / "logs" / f"{job}.log")
        part, cpu = build["stages"][stage], measured[f"{job}.log"]["cpu"]
        assert own.total - 0.02 < cpu < own.total + 1  # the job's own record lacks only its last moments
        assert part["jobs"] == 1 and part["cpu_seconds"] == pytest.approx(cpu, abs=0.01)
        assert 0.1 < part["start_up_cpu_seconds"] == pytest.approx(own.start_up, abs=0.01)
        size = sum(path.stat().st_size for path in (results / stage).rglob("*") if path.is_file())
        assert part["megabytes"] == pytest.approx(size / 1e6, abs=0.01)
    snakemake = build["snakemake"]
    assert 0.5 < snakemake["start_cpu_seconds"] < snakemake["cpu_seconds"]
    assert build["cpu_seconds"] == pytest.approx(
        build["jobs"]["cpu_seconds"] + snakemake["cpu_seconds"], abs=0.1
    )
    assert build["cpu_seconds"] < seconds  # of all processes, those of the program too
    wall = build["wall_seconds"]
    assert list(wall["longest_chain"]) == CHAIN and wall["jobs_without_time"] == []
    expected = build["jobs"]["cpu_seconds"] + snakemake["start_cpu_seconds"]  # one after another
    assert wall["8_cores"] == wall["any_number_of_cores"] == pytest.approx(expected, abs=0.11)


def test_a_finished_run_is_read_again_and_compared(ran):
    folder, options, found, _ = ran
    before = (folder / "study_cost.jsonl").read_bytes()
    again, _ = study_cost(*options)
    assert (folder / "study_cost.jsonl").read_bytes() == before
    assert again == found
    error, _ = study_cost(*options[:-1], "results/smoke/questions/provenance.json", status=1)
    assert "another run is there: write a new folder for --run" in error
    results = found["builds"][0]["results"]
    compared, _ = study_cost(results, results)
    assert compared["builds"] == found["builds"] * 2
    numbers = compared["ratio"].pop("wall_seconds") | compared["ratio"].pop("cpu_seconds_of_stages")
    numbers = {key: number for key, number in (numbers | compared["ratio"]).items() if number is not None}
    assert len(numbers) >= 9 and set(numbers.values()) == {1.0}


def test_a_study_that_was_not_measured(ran, program, tmp_path):
    """The times are those of the study, also of an older version: its jobs print no CPU time."""
    folder, *_ = ran
    results = tmp_path / "results" / "smoke"
    shutil.copytree(folder / "results" / "smoke", results)
    shutil.copy2(REPOSITORY / "workflow" / "scales" / "smoke.yaml", results / "config.yaml")
    build = program.read_build(results, REPOSITORY)
    assert build["snakemake"] is None and build["measured"].startswith("by the study")
    costs = job_costs(results)
    assert build["cpu_seconds"] == pytest.approx(sum(cost.cpu for cost in costs.values()), abs=0.1)
    wall = build["wall_seconds"]
    assert "tables/main" in wall["jobs_without_time"] and len(wall["jobs_without_time"]) > 80
    assert wall["any_number_of_cores"] == pytest.approx(build["cpu_seconds"], abs=0.11)

    fast = results / "auxiliary_data" / "fast" / "provenance.json"
    record = json.loads(fast.read_text())
    fast.write_text(json.dumps(record | {"start_up_seconds": 0.5, "cpu_seconds": 90.0}))
    for log in (results / "logs").rglob("*.log"):
        log.write_text("done\n")
    old = program.read_build(results, REPOSITORY)["stages"]
    assert old["auxiliary_data"]["cpu_seconds"] == 90
    python = old["auxiliary_data"]["start_up_cpu_seconds"] - 0.5  # the part that such a job does not record
    assert 0.1 < python < 10
    assert program.ratio(build, build | {"snakemake": {"cpu_seconds": 1}})["cpu_seconds"] is None


def test_the_longest_chain_of_random_graphs(program):
    drawn = random.Random(0)
    for _ in range(50):
        count = drawn.randrange(1, 30)
        times = {f"job{each}": drawn.uniform(0.1, 9) for each in range(count)}
        graph = {
            f"job{each}": tuple(f"job{other}" for other in range(each) if drawn.random() < 0.2)
            for each in range(count)
        }
        edges = networkx.DiGraph()
        for job, needed in graph.items():
            edges.add_edge("start", job, weight=times[job])
            edges.add_edges_from((each, job, {"weight": times[job]}) for each in needed)
        found = program.wall(graph, times, {})
        assert list(found["longest_chain"]) == networkx.dag_longest_path(edges)[1:]
        longest = networkx.dag_longest_path_length(edges)
        assert found["any_number_of_cores"] == pytest.approx(longest, abs=0.06)
        work = sum(times.values())
        bounds = max(longest, work / 8), work / 8 + longest  # Graham's bound for list scheduling
        assert bounds[0] - 0.06 <= found["8_cores"] <= bounds[1] + 0.06


def test_an_interrupted_run_counts_all_its_parts(program):
    job = {"kind": "job", "cpu": 5.0, "measuring": 0.1, "snakemake_before": 2.0}
    part = {"kind": "snakemake", "cpu": 3.0, "processes": 6.1, "wall": 9.0}
    found = program.snakemakes_cost([{"kind": "begin"}, job, part])
    assert found["cpu_seconds"] == pytest.approx(4) and found["interrupted"] == 0  # 1 s is not of jobs
    found = program.snakemakes_cost([{"kind": "begin"}, job, {"kind": "begin"}, job, part])
    assert found["cpu_seconds"] == 3 and found["interrupted"] == 1
    assert program.snakemakes_cost([]) == {}


def test_a_folder_without_a_study_is_one_line(tmp_path):
    (tmp_path / "results" / "smoke").mkdir(parents=True)
    error, _ = study_cost(tmp_path / "results" / "smoke", status=1)
    assert error.strip().endswith("no finished job: write the folder of a finished study")
    error, _ = study_cost("--run", tmp_path / "runs", tmp_path, status=1)
    assert error.strip() == f"{tmp_path}: no Snakefile: write the folder of a checkout"
