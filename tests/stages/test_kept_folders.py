"""What stood before a stage stays if the stage fails, and finished work is not done again."""

import json
import os

import pytest
from stage_command import SETTINGS, command

from vlm4vla import cli
from vlm4vla.core import successor
from vlm4vla.core.artefacts import file_hash, write_json
from vlm4vla.core.errors import UserError
from vlm4vla.stages import running

OTHER = SETTINGS | {"image_size": 32}


@pytest.fixture
def output(monkeypatch, tmp_path):
    """The finished output of a stage that writes one file and the provenance."""

    def run(settings, *, output):
        output.mkdir(parents=True, exist_ok=True)
        (output / "data").write_text(f"data of {settings.image_size}")
        (output / "resumed").write_text((output / "resumed").read_text() + "." if _resumes(output) else ".")
        if os.environ.get("FAIL"):
            raise UserError("data: cannot be used")
        record = {"stage": "questions", "settings": settings.model_dump(mode="json"), "inputs": {}}
        write_json(output / "provenance.json", record | {"files": {"data": file_hash(output / "data")}})
        (output / "resumed").unlink()

    monkeypatch.setattr(running, "load", lambda *names: [type("Module", (), {"run": staticmethod(run)})])
    assert cli.main(command(tmp_path / "q")) == 0
    return tmp_path / "q"


def _resumes(folder) -> bool:
    return (folder / "resumed").exists()


def stands(output, size: int) -> bool:
    record = json.loads((output / "provenance.json").read_text())
    return (output / "data").read_text() == f"data of {size}" and record["settings"]["image_size"] == size


def test_a_failing_rerun_changes_nothing_and_resumes(output, monkeypatch, capsys):
    monkeypatch.setenv("FAIL", "1")
    for count in (1, 2):
        assert cli.main(command(output, OTHER)) == 1
        assert "error: data: cannot be used" in capsys.readouterr().err
        assert stands(output, SETTINGS["image_size"])
        assert (output / successor.NEXT / "resumed").read_text() == "." * count
    monkeypatch.delenv("FAIL")
    assert cli.main(command(output, OTHER)) == 0
    assert stands(output, 32) and not (output / successor.NEXT).exists()


def test_with_the_declared_output_set_aside(output, monkeypatch):
    """As Snakemake runs it."""
    (output / "provenance.json").rename(successor.aside(output / "provenance.json"))
    monkeypatch.setenv("FAIL", "1")
    assert cli.main(command(output, OTHER)) == 1
    successor.aside(output / "provenance.json").rename(output / "provenance.json")
    assert stands(output, SETTINGS["image_size"])


@pytest.mark.parametrize("point", ["next", "whole", "half moved"])
def test_an_interrupted_replacement_is_finished_without_the_work(output, monkeypatch, point, capsys):
    (output / "provenance.json").rename(successor.aside(output / "provenance.json"))
    monkeypatch.setattr(successor, "replace", lambda output: None)  # killed before it
    assert cli.main(command(output, OTHER)) == 0
    monkeypatch.undo()
    monkeypatch.setattr(running, "load", lambda *names: pytest.fail("the work is done again"))
    if point != "next":
        (output / "data").unlink()
        (output / successor.NEXT).rename(output / successor.WHOLE)
    if point == "half moved":
        (output / successor.WHOLE / "data").rename(output / "data")
    assert cli.main(command(output, OTHER)) == 0
    assert stands(output, 32) and "has finished it" in capsys.readouterr().out


def unrecorded(output) -> None:
    """The run was killed before it took note of the end of the job; the next run sets the output aside."""
    (output / "provenance.json").rename(successor.aside(output / "provenance.json"))
    successor.unconfirmed(output / "provenance.json").touch()


def test_what_a_killed_runs_job_has_finished_is_not_done_again(output, monkeypatch, capsys):
    before = (output / "provenance.json").stat().st_ino
    unrecorded(output)
    monkeypatch.setattr(running, "load", lambda *names: pytest.fail("the work is done again"))
    assert cli.main(command(output)) == 0
    assert (output / "provenance.json").stat().st_ino == before
    assert "has finished it" in capsys.readouterr().out
    assert not [path for path in output.iterdir() if path.name.startswith(".provenance")]


@pytest.mark.parametrize("fault", ["other settings", "changed file"])
def test_unless_it_is_other_work_or_damaged(output, fault, capsys):
    unrecorded(output)
    if fault == "changed file":
        (output / "data").write_text("data of another")
    assert cli.main(command(output, OTHER if fault == "other settings" else None)) == 0
    assert stands(output, 32 if fault == "other settings" else SETTINGS["image_size"])
    assert not successor.unconfirmed(output / "provenance.json").exists()


def test_a_job_of_the_workflow_takes_what_was_finished_since_it_was_planned(output, monkeypatch):
    monkeypatch.setattr(running, "load", lambda *names: pytest.fail("the work is done again"))
    monkeypatch.setenv(successor.OF_WORKFLOW, "1")
    assert cli.main(command(output)) == 0


def test_a_command_of_the_user_makes_it_again(output):
    before = (output / "provenance.json").stat().st_ino
    assert cli.main(command(output)) == 0
    assert stands(output, SETTINGS["image_size"]) and (output / "provenance.json").stat().st_ino != before
