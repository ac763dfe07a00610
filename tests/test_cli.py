"""The command line: the arguments that it passes to a stage, and its error messages."""

from __future__ import annotations

import json
import subprocess
import sys
import types

from stage_command import command

from vlm4vla import cli
from vlm4vla.core.errors import UserError


def test_a_stage_gets_typed_settings_and_paths(stage, tmp_path):
    assert cli.main(command(tmp_path / "q")) == 0
    ((settings, output),) = stage
    assert settings.questions.train_pictures == 2 and settings.questions.look == "internet"
    assert output == tmp_path / "q"


def test_an_error_in_the_settings_names_the_key(stage, tmp_path, capsys):
    wrong = {"questions": {"train_pictures": 0, "held_out_pictures": 1}, "image_size": 64}
    assert cli.main(command(tmp_path / "q", wrong)) == 1
    assert capsys.readouterr().err.startswith("error: --settings: questions.train_pictures: ")
    assert not stage


def test_an_unfinished_input_is_refused(tmp_path, capsys):
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
    assert "has no provenance.json" in capsys.readouterr().err


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


def test_an_error_of_a_stage_is_one_line(monkeypatch, tmp_path, capsys):
    def run(settings, *, output):
        raise UserError("disk: full: free some room")

    monkeypatch.setitem(sys.modules, "vlm4vla.stages.questions", types.SimpleNamespace(run=run))
    assert cli.main(command(tmp_path / "q")) == 1
    assert capsys.readouterr().err == "error: disk: full: free some room\n"


def test_the_command_starts_without_torch():
    code = "import sys, vlm4vla.cli; print('torch' in sys.modules, 'mujoco' in sys.modules)"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.split() == ["False", "False"]


def test_the_schema_is_written(tmp_path):
    assert cli.main(["schema", "--output", str(tmp_path / "schema.json")]) == 0
    assert json.loads((tmp_path / "schema.json").read_text())["title"] == "Config"
