"""A stage's output is one process's at a time."""

from __future__ import annotations

import threading
import time

import pytest
from stage_command import SETTINGS, command

from vlm4vla import cli
from vlm4vla.core.artefacts import settings_hash, write_json
from vlm4vla.core.output_lock import alone
from vlm4vla.stages.running import STAGES, is_made


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
    with alone(output) as waited:
        assert not waited
        second = threading.Thread(target=cli.main, args=(command(output),))
        second.start()
        await_waiting(capsys)
        assert second.is_alive() and not stage
        model = STAGES["questions"][1].model_validate(SETTINGS)
        write_json(output / "provenance.json", {"settings": model.model_dump(mode="json"), "inputs": {}})
    second.join(timeout=120)
    assert not stage, "it was made already"
    assert "has made it" in capsys.readouterr().out


def test_what_the_first_made_with_other_settings_is_made_anew(stage, tmp_path, capsys):
    output = tmp_path / "q"
    with alone(output):
        second = threading.Thread(target=cli.main, args=(command(output),))
        second.start()
        await_waiting(capsys)
        write_json(output / "provenance.json", {"settings": {"image_size": 1}, "inputs": {}})
    second.join(timeout=120)
    assert len(stage) == 1


def test_is_made_compares_inputs(tmp_path):
    folder = tmp_path / "input"
    write_json(folder / "provenance.json", {"one": 1})
    model = STAGES["questions"][1].model_validate(SETTINGS)
    record = {"settings": model.model_dump(mode="json"), "inputs": {"questions": {"sha256": "0" * 64}}}
    write_json(tmp_path / "made" / "provenance.json", record)
    assert not is_made(tmp_path / "made", model, {"questions": folder})
    assert settings_hash(record["settings"]) == settings_hash(model.model_dump(mode="json"))
