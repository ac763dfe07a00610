"""The check of free disk space."""

import shutil
from types import SimpleNamespace

import pytest

from vlm4vla.core.disk import check_room
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
