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
CHAIN_STAGES = ("demonstrations", "auxiliary_data")
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
    assert build["results"] == str(results)
    for job in CHAIN:
        stage, own = job.split("/")[0], read_log(results / "logs" / f"{job}.log")
        part = build["stages"][stage]
        # Snakemake may have looked once more during the job's last moments.
        assert part["jobs"] == 1 and own.total - 0.01 < part["cpu_seconds"] < own.total + 0.5
        assert 0.1 < part["start_up_cpu_seconds"] == pytest.approx(own.start_up, abs=0.01)
        size = sum(path.stat().st_size for path in (results / stage).rglob("*") if path.is_file())
        assert part["megabytes"] == pytest.approx(size / 1e6, abs=0.01)
    snakemake, jobs = build["snakemake"], build["jobs"]["cpu_seconds"]
    assert snakemake["cpu_seconds"] > 0.5 and 0 <= snakemake["further_cpu_seconds"] < 1.5
    whole = jobs + snakemake["cpu_seconds"] + snakemake["further_cpu_seconds"]
    assert build["cpu_seconds"] == pytest.approx(whole, abs=0.1)
    assert build["cpu_seconds"] < seconds  # of all processes, those of the program too
    wall = build["wall_seconds"]
    assert list(wall["longest_chain"]) == CHAIN and wall["jobs_without_time"] == []
    assert 0.5 < wall["snakemakes_start"] < snakemake["cpu_seconds"] + 3
    expected = jobs + wall["snakemakes_start"]  # one after another
    assert wall["8_cores"] == wall["any_number_of_cores"] == pytest.approx(expected, abs=0.11)


def test_a_finished_run_is_read_again_and_compared(ran):
    folder, options, found, _ = ran
    before = (folder / "study_cost.jsonl").read_bytes()
    again, _ = study_cost(*options)
    assert (folder / "study_cost.jsonl").read_bytes() == before
    assert costs(again) == costs(found)
    error, _ = study_cost(*options[:-1], "results/smoke/questions/provenance.json", status=1)
    assert "another run is there: write a new folder for --run" in error
    results = found["builds"][0]["results"]
    compared, _ = study_cost(results, results)
    assert costs(compared) == costs(found) * 2
    walls = compared["ratio"].pop("wall_seconds")
    numbers = compared["ratio"].pop("cpu_seconds_of_stages") | compared["ratio"]
    assert set(CHAIN_STAGES) < numbers.keys()
    assert {number for number in numbers.values() if number is not None} == {1.0}
    assert all(0.5 < number < 2 for number in walls.values())  # with the start of each dry run


def costs(found):
    """What the program prints without the times that it measures itself."""
    return [
        {key: value for key, value in build.items() if key != "wall_seconds"} for build in found["builds"]
    ]


def test_a_study_that_was_not_measured(ran, program, tmp_path):
    """The times are those of the study, also of an older version: its jobs print no CPU time."""
    folder, *_ = ran
    results = tmp_path / "results" / "smoke"
    shutil.copytree(folder / "results" / "smoke", results)
    shutil.copy2(REPOSITORY / "workflow" / "scales" / "smoke.yaml", results / "config.yaml")
    build = program.read_build(results, REPOSITORY)
    assert build["snakemake"] is None
    recorded = sum(cost.cpu for cost in job_costs(results).values())
    assert build["cpu_seconds"] == pytest.approx(recorded, abs=0.1)
    wall = build["wall_seconds"]
    assert "tables/main" in wall["jobs_without_time"] and len(wall["jobs_without_time"]) > 80
    expected = build["cpu_seconds"] + wall["snakemakes_start"]
    assert wall["any_number_of_cores"] == pytest.approx(expected, abs=0.16)

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
        found = program.wall(graph, times, 0.0)
        assert list(found["longest_chain"]) == networkx.dag_longest_path(edges)[1:]
        longest = networkx.dag_longest_path_length(edges)
        assert found["any_number_of_cores"] == pytest.approx(longest, abs=0.06)
        work = sum(times.values())
        bounds = max(longest, work / 8), work / 8 + longest  # Graham's bound for list scheduling
        assert bounds[0] - 0.06 <= found["8_cores"] <= bounds[1] + 0.06


def test_an_interrupted_run_counts_all_its_parts(program):
    job = {"kind": "job", "cpu": 5.0, "measuring": 0.1}
    part = {"kind": "snakemake", "cpu": 3.0, "processes": 6.1, "wall": 9.0}
    found = program.snakemakes_cost([{"kind": "begin"}, job, part], 5.0)
    assert found["cpu_seconds"] == 3 and found["interrupted"] == 0
    assert found["further_cpu_seconds"] == pytest.approx(1)
    found = program.snakemakes_cost([{"kind": "begin"}, job, {"kind": "begin"}, job, part], 10.0)
    assert (found["cpu_seconds"], found["further_cpu_seconds"], found["interrupted"]) == (3, 0, 1)
    assert program.snakemakes_cost([], 5.0) == {}


@pytest.mark.parametrize("ends", ["sys.exit(3)", "os.kill(os.getpid(), 9)"])
def test_a_job_of_an_older_version_is_measured(program, tmp_path, ends):
    """The command that stands for `vlm4vla` against a known load, with a child."""
    burn = "import time\nwhile time.process_time() < 1: pass"
    load = f"import os, subprocess, sys\nsubprocess.run([sys.executable, '-c', {burn!r}])\n{burn}\n{ends}"
    record, command = tmp_path / "record.jsonl", tmp_path / "vlm4vla"
    command.write_text(program.MEASURED_JOB.format(python=sys.executable, main=load, record=str(record)))
    command.chmod(0o755)
    log = tmp_path / "results" / "smoke" / "logs" / "vla" / "a.log"
    log.parent.mkdir(parents=True)
    with log.open("w") as file:
        before = resource.getrusage(resource.RUSAGE_CHILDREN)
        status = subprocess.run([str(command), "vla", "--settings", "{}"], stdout=file).returncode
        after = resource.getrusage(resource.RUSAGE_CHILDREN)
    measured = after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime
    assert status == (3 if "exit" in ends else 137)
    [line] = program.read_record(record)
    assert line["cpu"] + line["measuring"] == pytest.approx(measured, abs=0.03)
    assert line["cpu"] > 2
    assert program.job_seconds(tmp_path / "results" / "smoke", [line, line]) == {"vla/a": 2 * line["cpu"]}


def test_a_folder_without_a_study_is_one_line(tmp_path):
    (tmp_path / "results" / "smoke").mkdir(parents=True)
    error, _ = study_cost(tmp_path / "results" / "smoke", status=1)
    assert error.strip().endswith("no finished job: write the folder of a finished study")
    error, _ = study_cost("--run", tmp_path / "runs", tmp_path, status=1)
    assert error.strip() == f"{tmp_path}: no Snakefile: write the folder of a checkout"
