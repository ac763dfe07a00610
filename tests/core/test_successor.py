"""A finished folder stays until its successor is whole, wherever the replacement is interrupted."""

import shutil
from pathlib import Path

import pytest

from vlm4vla.core import successor


def write(folder: Path, **files: str) -> None:
    for name, content in files.items():
        path = folder / name.replace("__", "/")
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(content)


def contents(folder: Path) -> dict[str, str]:
    """The visible files."""
    found = {path.relative_to(folder).as_posix(): path for path in folder.rglob("*") if path.is_file()}
    return {
        name: path.read_text()
        for name, path in found.items()
        if not name.startswith(".") and "/." not in name
    }


OLD = {"provenance.json": "old", "weights": "old", "gone/a": "old"}
NEW = {"provenance.json": "new", "weights": "new", "added/b": "new"}


@pytest.fixture
def output(tmp_path):
    """A finished folder with its finished successor."""
    for folder, files in ((tmp_path, OLD), (tmp_path / successor.NEXT, NEW)):
        for name, content in files.items():
            (folder / name).parent.mkdir(parents=True, exist_ok=True)
            (folder / name).write_text(content)
    (tmp_path / ".lock").write_text("")
    return tmp_path


def test_an_unfinished_folder_is_written_in_place(tmp_path):
    write(tmp_path, weights="half")
    assert successor.work_folder(tmp_path) == tmp_path


@pytest.mark.parametrize("name", ["provenance.json", ".provenance.json.set-aside"])
def test_a_finished_folder_is_not(tmp_path, name):
    (tmp_path / name).write_text("old")
    assert successor.work_folder(tmp_path) == tmp_path / successor.NEXT
    # the processes of a training get this folder as their output
    assert successor.work_folder(tmp_path / successor.NEXT) == tmp_path / successor.NEXT


def test_the_new_files_take_the_place_of_all_old_ones(output):
    successor.replace(output)
    assert contents(output) == NEW
    assert sorted(path.name for path in output.iterdir() if path.name.startswith(".")) == [".lock"]


class Killed(BaseException):
    pass


@pytest.mark.parametrize("at", range(12))
def test_an_interruption_anywhere_loses_nothing(output, monkeypatch, at):
    """Interrupt before the n-th change of the disk, then go on as a stage does."""
    calls = 0

    def counted(real):
        def call(*arguments, **options):
            nonlocal calls
            calls += 1
            if calls - 1 == at:
                raise Killed
            return real(*arguments, **options)

        return call

    with monkeypatch.context() as patched:
        for name in ("unlink", "rename", "rmdir"):
            patched.setattr(Path, name, counted(getattr(Path, name)))
        patched.setattr(shutil, "rmtree", counted(shutil.rmtree))
        try:
            successor.replace(output)
        except Killed:
            assert contents(output).get("provenance.json") != "old" or contents(output) == OLD
            assert contents(output).get("provenance.json") != "new" or contents(output) == NEW
        else:
            assert at >= calls
    if (output / successor.NEXT / successor.FINISHED).exists():  # as stages/running.py does
        successor.replace(output)
    else:
        successor.finish_replacing(output)
    assert contents(output) == NEW
    assert not (output / successor.WHOLE).exists() and not (output / successor.NEXT).exists()
