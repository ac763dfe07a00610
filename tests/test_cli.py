"""The command line: the arguments that it passes to a stage, and its error messages."""

from __future__ import annotations

import json
import os
import re
import signal
import subprocess
import sys
import tomllib
import types
from pathlib import Path

import pytest
from stage_command import command

from vlm4vla import cli
from vlm4vla.commands import COMMANDS
from vlm4vla.core.errors import UserError
from vlm4vla.stages.running import STAGES

REPOSITORY = Path(__file__).parents[1]


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


def run(*words: str, **keywords) -> subprocess.CompletedProcess:
    """Run `python -m vlm4vla` in a process."""
    return subprocess.run(
        [sys.executable, "-m", "vlm4vla", *words], capture_output=True, text=True, **keywords
    )


def test_the_version_is_that_of_the_package():
    project = tomllib.loads((REPOSITORY / "pyproject.toml").read_text())["project"]
    done = run("--version")
    assert (done.returncode, done.stdout, done.stderr) == (0, f"vlm4vla {project['version']}\n", "")


def test_help_lists_stages_apart_from_the_commands_for_users():
    """A command belongs to the workflow if a rule runs it."""
    done = run("--help")
    _, own, workflow = re.split(r"^commands.*:$", done.stdout, flags=re.MULTILINE)
    listed = [re.findall(r"^  ([a-z-]+) ", part, re.MULTILINE) for part in (own, workflow)]
    assert sorted(listed[0] + listed[1]) == sorted([*STAGES, *COMMANDS, "completion"])
    rules = "".join(path.read_text() for path in (REPOSITORY / "rules").glob("*.smk"))
    run_by_rules = set(re.findall(r"vlm4vla ([a-z-]+)", rules))
    assert run_by_rules <= set(listed[1]) and {"vla", "rollout", "table"} <= run_by_rules
    assert not run_by_rules & set(listed[0])


def test_every_command_and_every_option_is_described():
    (commands,) = (each for each in cli.parser()._actions if each.dest == "command")
    assert set(commands.choices) == {*STAGES, *COMMANDS, "completion"}
    for name, own in commands.choices.items():
        assert own.description and own.description != name, name
        for action in own._actions:
            assert action.help, f"{name} {action.option_strings or action.dest}"
            # `--gpus GPUS` would say nothing about the value.
            if action.type in (Path, int, float) and action.option_strings:
                assert action.metavar.lower() != action.dest, f"{name} {action.dest}"


@pytest.mark.parametrize(
    ("word", "answer"), [("estimat", "did you mean 'estimate'?"), ("rolout", "did you mean 'rollout'?")]
)
def test_an_unknown_command_is_one_line(word, answer, capsys):
    assert cli.main([word, "--output", "x"]) == 2
    assert capsys.readouterr().err == f"error: unknown command {word!r}: {answer}\n"


def test_no_command_and_unknown_options_are_refused_by_argparse():
    assert "required: COMMAND" in run().stderr
    done = run("check", "x.zip", "--jsn")
    assert done.returncode == 2 and "unrecognized arguments: --jsn" in done.stderr


WAITING = """
import os, sys, time, types
from vlm4vla import cli

def run(*words, **keywords):
    os.write(1, b"waiting")
    time.sleep(60)

sys.modules["vlm4vla.stages.questions"] = types.SimpleNamespace(run=run)
sys.modules["vlm4vla.provenance.check"] = types.SimpleNamespace(run=run)
sys.modules["vlm4vla.data.converters.convert"] = types.SimpleNamespace(convert=run)
sys.exit(cli.main(sys.argv[1:]))
"""


@pytest.mark.parametrize(
    ("name", "answer"),
    [
        ("questions", "it goes on from what it has saved, if there is anything"),
        ("convert", "it goes on from what it has saved"),
        ("check", "it starts from the beginning"),
    ],
)
def test_ctrl_c_ends_in_one_line_that_says_how_to_go_on(name, answer, tmp_path):
    words = {
        "questions": command(tmp_path / "q"),
        "convert": ["convert", "libero", str(tmp_path), "--output", str(tmp_path / "set")],
        "check": ["check", str(tmp_path)],
    }[name]
    process = subprocess.Popen(
        [sys.executable, "-c", WAITING, *words], stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
    )
    assert process.stdout.read(7) == "waiting"
    process.send_signal(signal.SIGINT)
    out, err = process.communicate(timeout=60)
    assert (process.returncode, out) == (130, "")
    assert err == f"interrupted: run {name} again: {answer}\n"


def test_a_worker_of_a_training_leaves_the_line_to_the_process_that_started_it(monkeypatch, tmp_path, capsys):
    def interrupted(settings, *, output):
        raise KeyboardInterrupt

    monkeypatch.setitem(sys.modules, "vlm4vla.stages.questions", types.SimpleNamespace(run=interrupted))
    monkeypatch.setattr(cli.launch, "is_worker", lambda: True)
    assert cli.main(command(tmp_path / "q")) == 130
    assert capsys.readouterr().err == ""


@pytest.mark.parametrize("unbuffered", ["", "1"])
@pytest.mark.parametrize("words", [["completion", "bash"], ["--help"], ["estimate", "--help"]])
def test_a_reader_that_leaves_ends_the_command_without_a_word(words, unbuffered):
    """As in `vlm4vla estimate | head`. Python alone would end with a traceback of BrokenPipeError."""
    program = "import sys, time; from vlm4vla import cli; time.sleep(0.5); sys.exit(cli.main(sys.argv[1:]))"
    process = subprocess.Popen(
        [sys.executable, "-c", program, *words],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        env=os.environ | {"PYTHONUNBUFFERED": unbuffered},
    )
    process.stdout.close()
    assert process.stderr.read() == b""
    assert process.wait(timeout=60) == cli.READER_LEFT_STATUS


def test_a_broken_pipe_of_another_program_is_no_reader_that_left(monkeypatch, tmp_path):
    def broken(settings, *, output):
        raise BrokenPipeError("a worker")

    monkeypatch.setitem(sys.modules, "vlm4vla.stages.questions", types.SimpleNamespace(run=broken))
    with pytest.raises(BrokenPipeError, match="a worker"):
        cli.main(command(tmp_path / "q"))


def test_ctrl_c_before_the_command_has_started_is_one_line():
    """Its modules take a moment to import."""
    program = "import sys; sys.argv[0] = 'bin/vlm4vla'; import vlm4vla; raise KeyboardInterrupt"
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True)
    assert done.returncode != 0 and done.stderr.splitlines() == [
        "interrupted: nothing has started: run the same command again"
    ]


def test_a_program_that_imports_the_package_keeps_its_tracebacks():
    done = subprocess.run(
        [sys.executable, "-c", "import vlm4vla; raise KeyboardInterrupt"], capture_output=True, text=True
    )
    assert "Traceback" in done.stderr
