"""File names of strangers: what leaves a folder, by name or through links, and what does not."""

import os

import pytest

from vlm4vla.core.inside import outside


@pytest.fixture
def folder(tmp_path):
    inside = tmp_path / "set"
    (inside / "part").mkdir(parents=True)
    (inside / "part" / "a.txt").write_text("a")
    (tmp_path / "secret.txt").write_text("s")
    return inside


@pytest.mark.parametrize("name", ["part/a.txt", "./part/a.txt", "new.txt", "..a", "a..b/c", "~", "ä/ö"])
def test_names_inside(folder, name):
    assert outside(folder, name) is None


@pytest.mark.parametrize(
    ("name", "problem"),
    [
        ("../secret.txt", "leaves its folder"),
        ("part/../../secret.txt", "leaves its folder"),
        ("part/..", "leaves its folder"),
        ("/etc/hostname", "absolute path"),
        ("//etc/hostname", "absolute path"),
        ("", "not a file name"),
        (".", "not a file name"),
        ("a\0b", "not a file name"),
        ("\ud800", "not a file name"),
        ("a" * 256, "too long"),
        ("ä" * 128, "too long"),
        ("/".join(["a"] * 3000), "too long"),
    ],
)
def test_names_that_leave(folder, name, problem):
    assert problem in outside(folder, name)


def test_links(folder, tmp_path):
    links = {
        "inner": folder / "part" / "a.txt",
        "outer": tmp_path / "secret.txt",
        "relative": "../secret.txt",
        "chain": "outer",
        "up": "..",
        "circle": "circle",
    }
    for name, target in links.items():
        os.symlink(target, folder / name)
    assert outside(folder, "inner") is None
    for name in ("outer", "relative", "chain", "up/secret.txt", "circle"):
        assert "link out of the folder" in outside(folder, name)


def test_a_folder_that_is_a_link_is_its_target(folder, tmp_path):
    os.symlink(folder, tmp_path / "link")
    assert outside(tmp_path / "link", "part/a.txt") is None
    os.symlink(tmp_path / "secret.txt", folder / "outer")
    assert "link out" in outside(tmp_path / "link", "outer")


def test_the_cache_of_the_hub(tmp_path):
    """Its snapshots have links to the files of the repository (huggingface_hub's layout of the cache)."""
    repository = tmp_path / "hub" / "datasets--me--set"
    snapshot = repository / "snapshots" / "0123abcd"
    (repository / "blobs").mkdir(parents=True)
    (snapshot / "meta").mkdir(parents=True)
    (repository / "blobs" / "77aa").write_text("{}")
    os.symlink("../../../blobs/77aa", snapshot / "meta" / "info.json")
    os.symlink(tmp_path / "elsewhere", snapshot / "outer.json")
    assert outside(snapshot, "meta/info.json") is None
    assert "link out" in outside(snapshot, "outer.json")
