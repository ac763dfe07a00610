"""Only one process at a time writes the output of a stage."""

from __future__ import annotations

import threading
import time

import pytest
from stage_command import SETTINGS, command

from vlm4vla import cli
from vlm4vla.core.artefacts import settings_hash, write_json
from vlm4vla.core.output_lock import alone
from vlm4vla.stages.running import STAGES, is_finished


def wait_for_message(capsys):
    """Return when the other thread has printed that it waits for the lock."""
    printed, limit = "", time.monotonic() + 120
    while "waiting for another process" not in printed:
        assert time.monotonic() < limit
        time.sleep(0.02)
        printed += capsys.readouterr().out


@pytest.mark.parametrize("name", ["qwen2.5-vl-3b", "kosmos-2"])
def test_a_second_process_waits_for_the_first_and_uses_its_output(stage, tmp_path, name, capsys):
    output = tmp_path / name
    with alone(output) as waited:
        assert not waited
        second = threading.Thread(target=cli.main, args=(command(output),))
        second.start()
        wait_for_message(capsys)
        assert second.is_alive() and not stage
        model = STAGES["questions"].settings.model_validate(SETTINGS)
        write_json(output / "provenance.json", {"settings": model.model_dump(mode="json"), "inputs": {}})
    second.join(timeout=120)
    assert not stage, "the output was already finished"
    assert "has finished it" in capsys.readouterr().out


def test_output_of_other_settings_is_not_used(stage, tmp_path, capsys):
    output = tmp_path / "q"
    with alone(output):
        second = threading.Thread(target=cli.main, args=(command(output),))
        second.start()
        wait_for_message(capsys)
        write_json(output / "provenance.json", {"settings": {"image_size": 1}, "inputs": {}})
    second.join(timeout=120)
    assert len(stage) == 1


def test_is_finished_compares_inputs(tmp_path):
    folder = tmp_path / "input"
    write_json(folder / "provenance.json", {"one": 1})
    model = STAGES["questions"].settings.model_validate(SETTINGS)
    record = {"settings": model.model_dump(mode="json"), "inputs": {"questions": {"sha256": "0" * 64}}}
    write_json(tmp_path / "made" / "provenance.json", record)
    assert not is_finished(tmp_path / "made", model, {"questions": folder})
    assert settings_hash(record["settings"]) == settings_hash(model.model_dump(mode="json"))


@pytest.mark.parametrize("name", ["file", "file/below", "locked", "score.json"])
def test_an_output_that_cannot_be_written_is_one_line(tmp_path, name, capsys):
    (tmp_path / "file").write_text("of the user")
    (tmp_path / "locked" / ".lock").mkdir(parents=True)
    (tmp_path / ".score.lock").mkdir()
    assert cli.main(command(tmp_path / name)) == 1
    line = capsys.readouterr().err
    assert line.count("\n") == 1 and f"error: {tmp_path / name}: cannot be written (" in line
    assert (tmp_path / "file").read_text() == "of the user"
