"""Errors of a full disk: one line with the file and the cause, and nothing half done."""

import errno
import os
from pathlib import Path

import pytest
from stage_command import command

from vlm4vla import cli
from vlm4vla.core import artefacts, disk
from vlm4vla.core.artefacts import atomic_path, together, write_text
from vlm4vla.core.errors import UserError
from vlm4vla.stages import running

FULL = OSError(errno.ENOSPC, os.strerror(errno.ENOSPC), "/a/b.json")


def chained() -> Exception:
    try:
        try:
            raise FULL
        finally:
            raise ValueError("what a library makes of it")
    except ValueError as error:
        return error


@pytest.mark.parametrize(
    ("error", "path"),
    [
        (FULL, "/a/b.json"),
        (chained(), "/a/b.json"),
        (OSError(errno.ENOSPC, "x"), "out"),
        (OSError(errno.EDQUOT, "x", b"/a/c"), "/a/c"),
        (OSError(errno.ENOSPC, "x", 3), "out"),  # a number of a file
        (RuntimeError("Error while serializing: No space left on device (os error 28)"), "out"),
        (Exception("I/O error: Disk quota exceeded"), "out"),
    ],
)
def test_the_line_names_file_and_cause(error, path):
    line = disk.no_space(error, Path("out"))
    assert line.startswith(f"{path}: ") and "\n" not in line
    assert "No space left on device" in line or "Disk quota exceeded" in line
    assert "free some space" in line and "MB" in line


@pytest.mark.parametrize(
    "error",
    [
        ValueError("x"),
        OSError(errno.EACCES, "x"),
        FileNotFoundError(2, "x"),
        UserError("no space left on device"),
    ],
)
def test_other_errors_are_not_taken_for_one(error):
    assert disk.no_space(error, Path("out")) is None


def test_a_library_that_names_no_file(tmp_path, monkeypatch):
    monkeypatch.setattr(artefacts, "is_full", lambda folder: True)
    with pytest.raises(OSError) as error, atomic_path(tmp_path / "weights") as temporary:
        temporary.write_bytes(b"half")
        raise ValueError("4 requested and 0 written")  # as numpy says it
    assert error.value.errno == errno.ENOSPC and error.value.filename == str(tmp_path / "weights")
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize("raised", [UserError("bad input"), KeyboardInterrupt()])
def test_other_causes_stay_as_they_are_on_a_full_disk(tmp_path, monkeypatch, raised):
    monkeypatch.setattr(artefacts, "is_full", lambda folder: True)
    with pytest.raises(type(raised)), atomic_path(tmp_path / "weights"):
        raise raised
    assert not list(tmp_path.iterdir())


def test_files_appear_together_or_not_at_all(tmp_path):
    write_text(tmp_path / "a", "old")
    with pytest.raises(OSError), together():
        write_text(tmp_path / "a", "new")
        write_text(tmp_path / "b", "new")
        assert (tmp_path / "a").read_text() == "old"
        raise FULL
    assert {path.name: path.read_text() for path in tmp_path.iterdir()} == {"a": "old"}
    with together():
        write_text(tmp_path / "a", "new")
        write_text(tmp_path / "b", "new")
    assert {path.name: path.read_text() for path in tmp_path.iterdir()} == {"a": "new", "b": "new"}


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="no /dev/full")
def test_a_stage_ends_in_one_line(tmp_path, monkeypatch, capsys):
    def load(*names):
        return [type("Module", (), {"run": staticmethod(lambda settings, output: _fill(output))})]

    monkeypatch.setattr(running, "load", load)
    assert cli.main(command(tmp_path / "q")) == 1
    lines = capsys.readouterr().err.splitlines()
    assert len(lines) == 1 and lines[0].startswith("error: ") and "No space left on device" in lines[0]
    assert str(tmp_path / "q") in lines[0]


def _fill(output: Path) -> None:
    with Path("/dev/full").open("w") as file:
        file.write("x" * 100000)
