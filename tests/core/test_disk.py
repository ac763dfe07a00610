"""The check of free disk space."""

import shutil
from types import SimpleNamespace

import pytest

from vlm4vla import cli
from vlm4vla.core.disk import cannot_write, check_room
from vlm4vla.core.errors import UserError


def test_space_is_checked_on_the_disk_of_a_folder_that_need_not_exist(tmp_path, monkeypatch):
    asked = []

    def usage(folder):
        asked.append(folder)
        return SimpleNamespace(free=2.5e9)

    monkeypatch.setattr(shutil, "disk_usage", usage)
    folder = tmp_path / "not" / "there"
    check_room(folder, 2.4e9, "key: the copy", "move")
    message = r"^key: the copy needs 2\.6 GB, .* has 2\.5 GB free: free some space, or move$"
    with pytest.raises(UserError, match=message):
        check_room(folder, 2.6e9, "key: the copy", "move")
    assert asked == [tmp_path, tmp_path]


@pytest.mark.parametrize("name", ["file/schema.json", "file/below/schema.json", "folder"])
def test_an_output_that_cannot_be_written_is_one_line(tmp_path, name, capsys):
    (tmp_path / "file").write_text("of the user")
    (tmp_path / "folder").mkdir()
    assert cli.main(["schema", "--output", str(tmp_path / name)]) == 1
    line = capsys.readouterr().err
    assert line.startswith(f"error: {tmp_path / name}: cannot be written (") and line.count("\n") == 1
    assert sorted(path.name for path in tmp_path.iterdir()) == ["file", "folder"]


def test_other_errors_are_not_those_of_the_output(tmp_path):
    inside = FileExistsError(17, "File exists", str(tmp_path / "inside"))
    assert cannot_write(inside, tmp_path) is None
    assert cannot_write(FileNotFoundError(2, "No such file", str(tmp_path)), tmp_path) is None
    assert cannot_write(PermissionError("no name"), tmp_path) is None
    assert cannot_write(PermissionError(13, "Permission denied", str(tmp_path)), tmp_path) is not None
