"""The command: what it passes on, and what it prints when something is wrong."""

from __future__ import annotations

import json
import subprocess
import sys
import threading
import time
import types
from pathlib import Path

import pytest

from vlm4vla import cli
from vlm4vla.artefacts import UserError, settings_hash, write_json

SETTINGS = {"questions": {"train_pictures": 2, "held_out_pictures": 1}, "image_size": 64}


@pytest.fixture
def stage(monkeypatch):
    """A stage `questions` that notes its calls and writes its provenance."""
    calls = []

    def run(settings, *, output: Path) -> None:
        calls.append((settings, output))
        record = {"settings": settings.model_dump(mode="json"), "inputs": {}}
        write_json(output / "provenance.json", record)

    module = types.SimpleNamespace(run=run)
    monkeypatch.setitem(sys.modules, "vlm4vla.simulation.questions_stage", module)
    return calls


def command(output: Path, settings: dict | None = None) -> list[str]:
    return ["questions", "--settings", json.dumps(settings or SETTINGS), "--output", str(output)]


def test_stage_gets_typed_settings_and_paths(stage, tmp_path):
    assert cli.main(command(tmp_path / "q")) == 0
    ((settings, output),) = stage
    assert settings.questions.train_pictures == 2 and settings.questions.look == "internet"
    assert output == tmp_path / "q"


def test_bad_settings_name_the_key(stage, tmp_path, capsys):
    wrong = {"questions": {"train_pictures": 0, "held_out_pictures": 1}, "image_size": 64}
    assert cli.main(command(tmp_path / "q", wrong)) == 1
    assert capsys.readouterr().err.startswith("error: --settings: questions.train_pictures: ")
    assert not stage


def test_input_without_provenance_is_refused(tmp_path, capsys):
    arguments = [
        "rollout",
        "--settings",
        rollout_settings(),
        "--vla",
        str(tmp_path),
        "--output",
        str(tmp_path / "r"),
    ]
    assert cli.main(arguments) == 1
    assert "holds no provenance.json" in capsys.readouterr().err


def rollout_settings() -> str:
    evaluation = {"episodes": 1, "max_steps": 5, "execution_horizon": 1}
    settings = {
        "policy": "vla",
        "backbone": "kosmos-2",
        "variant": "full",
        "benchmark": "calvin",
        "seed": 0,
        "evaluation": evaluation,
        "image_size": 64,
        "study": "smoke",
        "scale": "smoke",
    }
    return json.dumps(settings)


def test_fault_of_a_stage_is_one_line(monkeypatch, tmp_path, capsys):
    def run(settings, *, output):
        raise UserError("disk: full: free some room")

    monkeypatch.setitem(sys.modules, "vlm4vla.simulation.questions_stage", types.SimpleNamespace(run=run))
    assert cli.main(command(tmp_path / "q")) == 1
    assert capsys.readouterr().err == "error: disk: full: free some room\n"


def await_waiting(capsys):
    """Return once the other thread says that it waits for the lock."""
    said, limit = "", time.monotonic() + 120
    while "waiting for it" not in said:
        assert time.monotonic() < limit
        time.sleep(0.02)
        said += capsys.readouterr().out


@pytest.mark.parametrize("name", ["qwen2.5-vl-3b", "kosmos-2"])
def test_a_second_process_waits_and_takes_what_the_first_made(stage, tmp_path, name, capsys):
    output = tmp_path / name
    with cli.alone(output) as waited:
        assert not waited
        second = threading.Thread(target=cli.main, args=(command(output),))
        second.start()
        await_waiting(capsys)
        assert second.is_alive() and not stage
        model = cli.STAGES["questions"][1].model_validate(SETTINGS)
        write_json(output / "provenance.json", {"settings": model.model_dump(mode="json"), "inputs": {}})
    second.join(timeout=120)
    assert not stage, "it was made already"
    assert "has made it" in capsys.readouterr().out


def test_what_the_first_made_with_other_settings_is_made_anew(stage, tmp_path, capsys):
    output = tmp_path / "q"
    with cli.alone(output):
        second = threading.Thread(target=cli.main, args=(command(output),))
        second.start()
        await_waiting(capsys)
        write_json(output / "provenance.json", {"settings": {"image_size": 1}, "inputs": {}})
    second.join(timeout=120)
    assert len(stage) == 1


def test_is_made_compares_inputs(tmp_path):
    folder = tmp_path / "input"
    write_json(folder / "provenance.json", {"one": 1})
    model = cli.STAGES["questions"][1].model_validate(SETTINGS)
    record = {"settings": model.model_dump(mode="json"), "inputs": {"questions": {"sha256": "0" * 64}}}
    write_json(tmp_path / "made" / "provenance.json", record)
    assert not cli.is_made(tmp_path / "made", model, {"questions": folder})
    assert settings_hash(record["settings"]) == settings_hash(model.model_dump(mode="json"))


def test_every_stage_of_the_command_exists():
    for stage, (module, model, inputs) in cli.STAGES.items():
        path = Path(cli.__file__).parents[1].joinpath(*module.split(".")).with_suffix(".py")
        assert path.is_file(), stage
        assert model.model_fields and isinstance(inputs, tuple)


def test_command_starts_without_torch():
    code = "import sys, vlm4vla.cli; print('torch' in sys.modules, 'mujoco' in sys.modules)"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.split() == ["False", "False"]


def test_schema_is_written(tmp_path):
    assert cli.main(["schema", "--output", str(tmp_path / "schema.json")]) == 0
    assert json.loads((tmp_path / "schema.json").read_text())["title"] == "Config"
