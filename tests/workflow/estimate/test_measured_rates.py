"""The program that measures rates, run on a folder of finished jobs with known costs."""

import json
import subprocess
import sys
from pathlib import Path

import pytest
import yaml

from vlm4vla.core.artefacts import write_json
from vlm4vla.workflow.estimate.rates import Rate, rates_json, read_rates

PROGRAM = Path(__file__).parents[3] / "speed" / "measured_rates.py"


@pytest.fixture
def program(tmp_path):
    def run(*arguments: str, status: int = 0) -> str:
        done = subprocess.run(
            [sys.executable, str(PROGRAM), *arguments, "--output", "rates.json"],
            cwd=tmp_path,
            capture_output=True,
            text=True,
            timeout=600,
        )
        assert done.returncode == status, done.stderr
        return done.stdout + done.stderr

    return run


def finish(path: str, cpu: float, size: int = 0, **recorded: object) -> None:
    """Write the artefact of a job that took `cpu` seconds, with a file of `size` bytes."""
    folder = Path(path).parent
    folder.mkdir(parents=True, exist_ok=True)
    if size:
        (folder / "model.safetensors").write_bytes(bytes(size))
    write_json(folder / "provenance.json", {"stage": "any", "cpu_seconds": cpu} | recorded)
    if not Path(path).exists():
        Path(path).write_bytes(b"")


def test_rates_of_a_finished_study(program, study, raw, tmp_path):
    (tmp_path / "config.yaml").write_text(yaml.safe_dump(raw))
    episodes = study.config.benchmarks["calvin"].demonstrations.episodes
    finish(study.demonstrations_path("calvin"), 1000.0, size=5_000_000)
    # The recorded settings differ from the present configuration.
    settings = {"benchmark": "bridge", "demonstrations": {"episodes": 10}}
    finish(study.demonstrations_path("bridge"), 100.0, settings=settings)
    # This job recorded its whole time and its start.
    finish(study.demonstrations_path("libero-10"), 50.0, settings=settings | {"benchmark": "libero-10"})
    log = Path(study.root, "logs", "demonstrations", "libero-10.log")
    log.parent.mkdir(parents=True)
    log.write_text("demonstrations: CPU time 60.00 s, start-up 10.00 s\n")
    cells = [run for run in study.cells("main") if run.model in ("qwen3-vl-2b", "qwen3-vl-4b")]
    for run in cells:
        finish(study.vla_path(run), 300.0 if run.model == "qwen3-vl-2b" else 500.0)
    table = Path(study.root, "benchmarks", "tables", "main.tsv")
    table.parent.mkdir(parents=True)
    table.write_text("s\tmax_rss\tcpu_time\n9.5\t300\t7.25\n")
    for path in study.table_files("main"):
        Path(path).parent.mkdir(parents=True, exist_ok=True)
        Path(path).write_text("x")
    output = program(str(study.root), "--config", "config.yaml")
    assert "rates.json: 5 rates" in output
    rates = read_rates(tmp_path / "rates.json")
    assert "cores of" in rates.machine
    found = {(rate.stage, rate.kind): rate for rate in rates.rates}
    made = found["demonstrations", "calvin"]
    assert 0 < made.start < 60
    assert made.seconds * episodes + made.start == pytest.approx(1000, rel=1e-3)
    assert made.megabytes == pytest.approx(5, rel=0.01)
    other = found["demonstrations", "bridge"]
    assert other.seconds * 10 + other.start == pytest.approx(100, rel=1e-3)
    recorded = found["demonstrations", "libero-10"]
    assert (recorded.start, recorded.seconds) == (10, pytest.approx(50 / 10, rel=1e-3))
    steps = [json.loads(study.vla_settings(run))["training"]["steps"] for run in cells]
    samples = sum(steps) / len(steps) * study.config.vla.batch  # mean of the jobs
    trained = found["vla", "qwen3_vl/mlp/none"]
    assert trained.jobs == len(cells) == 6
    assert trained.seconds * samples + trained.start == pytest.approx(400, rel=1e-3)
    assert found["table", "main"].seconds == 7.25

    # The rates of the file stay, and those of the study that it lacks are added.
    older = [Rate("table", "main", "job", 3.0), Rate("rollout", "bridge/random", "episode", 0.2)]
    write_json(tmp_path / "rates.json", rates_json(older))
    program(str(study.root), "--config", "config.yaml", "--keep")  # on this machine, too
    rates = read_rates(tmp_path / "rates.json").rates
    assert rates[:2] == older and len(rates) == 4 + len(older)


def test_rates_of_gpus_are_kept(program, tmp_path):
    program("--gpu", "h100", "lab/model", "125")
    program("--gpu", "a100", "lab/model", "50", "--gpu", "h100", "lab/model", "200")
    rates = {(rate.device, rate.kind): rate.seconds for rate in read_rates(tmp_path / "rates.json").rates}
    assert rates == {("h100", "lab/model"): 0.005, ("a100", "lab/model"): 0.02}
    assert "unknown model 'h1'" in program("--gpu", "h1", "lab/model", "1", status=1)


def test_rates_from_the_output_of_other_programs(program, raw, tmp_path):
    (tmp_path / "config.yaml").write_text(yaml.safe_dump(raw))
    families = {"a": ("paligemma", 500.0), "b": ("paligemma", 250.0), "c": ("kosmos-2", 1000.0)}
    training = {
        n: {"family": family, "samples_per_cpu_second": rate} for n, (family, rate) in families.items()
    }
    (tmp_path / "t.json").write_text(json.dumps({"backbones": training}))
    one = {policy: {"episodes_per_cpu_second": 4.0} for policy in ("random", "expert", "vla")}
    rollout = {"vla": "untrained kosmos-2", "benchmarks": {"bridge": one}}
    (tmp_path / "r.json").write_text(json.dumps(rollout))
    program("--training-rate", "t.json", "--rollout-rate", "r.json")
    found = {rate.kind: rate.seconds for rate in read_rates(tmp_path / "rates.json").rates}
    assert found == {
        "paligemma/mlp/none": 0.003,
        "kosmos-2/mlp/none": 0.001,
        "bridge/random": 0.25,
        "bridge/expert": 0.25,
        "bridge/mlp/kosmos-2": 0.25,
    }


def test_configuration_of_another_study_is_refused(program, raw, tmp_path):
    (tmp_path / "config.yaml").write_text(yaml.safe_dump(raw | {"study": "other"}))
    folder = tmp_path / "results" / "embedded"
    folder.mkdir(parents=True)
    assert "the configuration belongs to" in program(str(folder), "--config", "config.yaml", status=1)


def test_the_repositorys_rates_are_valid():
    path = PROGRAM.with_name("rates.json")
    stages = {rate.stage for rate in read_rates(path).rates}
    assert {"questions", "backbone", "auxiliary", "demonstrations", "vla", "rollout"} <= stages
    assert json.loads(path.read_text())["machine"]
