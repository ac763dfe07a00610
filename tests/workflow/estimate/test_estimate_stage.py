"""The command `vlm4vla estimate`: its output and its errors."""

import json
import os
from pathlib import Path

import pytest
import yaml

from vlm4vla import cli
from vlm4vla.core.artefacts import write_json
from vlm4vla.workflow.estimate.rates import Rate, rates_json


@pytest.fixture
def folder(tmp_path, raw, monkeypatch):
    """A folder with config.yaml, where the command runs."""
    (tmp_path / "config.yaml").write_text(yaml.safe_dump(raw))
    monkeypatch.chdir(tmp_path)
    return tmp_path


def estimate(capsys, *arguments: str) -> str:
    assert cli.main(["estimate", *arguments]) == 0
    return capsys.readouterr().out


def refused(capsys, *arguments: str) -> str:
    assert cli.main(["estimate", *arguments]) == 1
    message = capsys.readouterr().err
    assert message.count("\n") == 1 and message.startswith("error: ")
    return message


def test_every_line_states_its_source(folder, capsys):
    rates = [Rate("demonstrations", "calvin", "episode", 0.02, jobs=1)]
    write_json(folder / "rates.json", rates_json(rates, machine="two cores of a test"))
    printed = estimate(capsys, "--cores", "4", "--rates", "rates.json")
    lines = [line.split() for line in printed.splitlines()]
    by_stage = {
        line[0]: " ".join(line[6:]) for line in lines if line and line[0] in ("vla", "questions", "all")
    }
    assert "FLOPs" in by_stage["vla"] and by_stage["questions"] == "assumed rates" and by_stage["all"] == ""
    assert "measured rates (rates.json: two cores of a test)" in printed
    assert "mean of the measured rates of similar jobs" in printed
    assert "wall time: about" in printed and "on 4 cores" in printed and "assumptions:" in printed


def test_totals_are_sums_of_the_rows(folder, capsys):
    found = json.loads(estimate(capsys, "--cores", "2", "--json"))
    for name, total in found["total"].items():
        assert total == pytest.approx(sum(row[name] for row in found["stages"]))
    assert found["total"]["jobs"] == 246 and found["total"]["gpu_hours"] == 0
    assert found["total"]["core_hours"] / 2 <= found["wall_hours"] <= found["total"]["core_hours"]


def test_existing_artefacts_cost_nothing(folder, capsys, study):
    before = json.loads(estimate(capsys, "--cores", "2", "--json"))
    made = [study.backbone_path(name) for name in study.config.backbones]
    for path in made:
        Path(path).parent.mkdir(parents=True)
        Path(path).write_text("{}")
    after = json.loads(estimate(capsys, "--cores", "2", "--json"))
    assert after["total"]["made"] == len(made) and before["total"]["made"] == 0
    assert after["total"]["jobs"] == before["total"]["jobs"]
    saved = next(row["core_hours"] for row in before["stages"] if row["stage"] == "backbone")
    assert before["total"]["core_hours"] - after["total"]["core_hours"] == pytest.approx(saved)


def test_a_real_checkpoint_on_a_cluster(folder, capsys, raw):
    layer = {
        "scale": "paper",
        "backbones": {
            "qwen3-vl-30b-a3b": {
                "tiny": None,
                "pretraining": None,
                "checkpoint": "Qwen/Qwen3-VL-30B-A3B-Instruct",
                "revision": "0" * 40,
            }
        },
        "tables": {"main": {"backbones": ["qwen3-vl-30b-a3b"], "experts": []}},
    }
    arguments = ["table_main", "--configfile", "layer.yaml", "--gpus", "8", "--gpu-model", "l40s"]
    layer["vla"] = {"execution": {"strategy": "ddp", "precision": "bf16"}}
    (folder / "layer.yaml").write_text(yaml.safe_dump(layer))
    sharded = estimate(capsys, *arguments)
    assert "note: qwen3-vl-30b-a3b: weights and optimiser need 497 GB, but 8 L40S have 384 GB" in sharded
    del layer["vla"]
    (folder / "layer.yaml").write_text(yaml.safe_dump(layer))
    printed = estimate(capsys, *arguments)
    assert "8 L40S GPUs, 128 cores" in printed
    assert "GPUs reach 40% of their stated bf16 peak in training" in printed
    note = (
        "note: qwen3-vl-30b-a3b: without `execution`, weights and optimiser need 621 GB in float32 on one GPU"
    )
    assert f"{note}, but one L40S has 48 GB: write `execution` with `strategy: fsdp2`" in printed
    found = json.loads(estimate(capsys, *arguments, "--json"))
    assert found["total"]["gpu_hours"] > 0 and found["peak_gigabytes"] > 62
    without = json.loads(estimate(capsys, *arguments[:3], "--cores", "8", "--json"))
    [note] = without["notes"]
    assert note.startswith("released checkpoints are trained on CPU cores in this estimate: write --gpus")


def test_user_errors(folder, capsys):
    assert "unknown target" in refused(capsys, "table_mian")
    assert "no file 'none.yaml'" in refused(capsys, "--configfile", "none.yaml")
    assert "--gpu-model: missing, but --gpus is 8" in refused(capsys, "--gpus", "8")
    assert "--gpus: missing, but --gpu-model is h100" in refused(capsys, "--gpu-model", "h100")
    assert "did you mean 'h100'?" in refused(capsys, "--gpus", "8", "--gpu-model", "h10")
    assert "--mfu: 40 is not a share" in refused(capsys, "--mfu", "40")
    (folder / "bad.yaml").write_text("vla: {stpes: 3}")
    assert "vla.stpes: unknown key" in refused(capsys, "--configfile", "bad.yaml")


def test_torch_is_not_loaded(folder):
    import subprocess
    import sys

    code = (
        "import sys; from vlm4vla.cli import main; main(['estimate', '--cores', '2']);"
        "sys.exit('torch' in sys.modules or 'transformers' in sys.modules)"
    )
    assert subprocess.run([sys.executable, "-c", code], env=os.environ, capture_output=True).returncode == 0
