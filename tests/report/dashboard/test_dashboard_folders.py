"""Which folders below a results folder are studies."""

from __future__ import annotations

import os

import pytest
from listed_studies import records

from vlm4vla.core.errors import UserError
from vlm4vla.report.dashboard.folders import study_folders


def write(path, text="x"):
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(text)


def found(root):
    folders, unreadable = study_folders(root)
    assert unreadable == []
    return [folder.relative_to(root).as_posix() for folder in folders]


def test_folders_with_a_configuration_tables_or_records_are_studies(tmp_path):
    write(tmp_path / "one/config.yaml")
    write(tmp_path / "two/tables/main.csv")
    records(tmp_path / "deep/er/three", 0.5, models=["kosmos-2"], benchmarks=["bridge"])
    (tmp_path / "started/vla").mkdir(parents=True)
    write(tmp_path / "pictures/figures/main.png")
    write(tmp_path / "notes/tables/readme.txt")
    write(tmp_path / ".hidden/config.yaml")
    (tmp_path / "tables").mkdir()
    assert found(tmp_path) == ["deep/er/three", "one", "started", "two"]


def test_a_study_is_not_searched_but_a_study_next_to_its_results_is(tmp_path):
    write(tmp_path / "config.yaml")
    write(tmp_path / "vla/config.yaml")
    write(tmp_path / "logs/config.yaml")
    write(tmp_path / "inner/config.yaml")
    assert found(tmp_path) == [".", "inner"]


def test_the_workflow_and_the_sources_of_a_packed_study_are_no_studies(tmp_path):
    write(tmp_path / "Snakefile")
    write(tmp_path / "config.yaml")
    write(tmp_path / "config/config.yaml")
    write(tmp_path / "results/embedded/tables/main.csv")
    assert found(tmp_path) == ["results/embedded"]


def test_links_are_followed_once_and_loops_end(tmp_path):
    write(tmp_path / "elsewhere/run/config.yaml")
    root = tmp_path / "results"
    write(root / "z/config.yaml")
    for name, target in (("linked", tmp_path / "elsewhere/run"), ("a", root / "z"), ("loop", root)):
        os.symlink(target, root / name)
    assert found(root) == ["linked", "z"]


@pytest.mark.skipif(os.geteuid() == 0, reason="root reads every folder")
def test_an_unreadable_folder_is_one_line(tmp_path):
    write(tmp_path / "closed/config.yaml")
    (tmp_path / "closed").chmod(0)
    assert study_folders(tmp_path) == ([], ["closed: Permission denied"])


def test_no_folder_is_an_error(tmp_path):
    with pytest.raises(UserError, match="no such folder"):
        study_folders(tmp_path / "nowhere")
