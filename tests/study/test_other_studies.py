"""Records of another study: which are read, from a folder or a packed file, and which are refused."""

from __future__ import annotations

import json
import zipfile

import pytest

from vlm4vla.core.errors import UserError
from vlm4vla.study.other_studies import (
    backbone_rollouts,
    input_files,
    on_real_simulator,
    opened_study,
    shared_backbones,
)
from vlm4vla.study.results_folder import Results

RUNS = {
    "a/none/full/bridge/seed0": "a",
    "b/none/full/bridge/seed0": "b",
    "b/none/full/bridge/seed1": "b",
    "random/none/full/bridge/seed0": None,
    "expert/none/full/bridge/seed0": None,
    "a/none/freeze-vision/bridge/seed0": None,
    "a/robopoint/full/bridge/seed0": None,
    "a/none/full/bridge/seed0-executed4": None,
}
EXPECTED = {f"rollouts/{run}/episodes.parquet": model for run, model in RUNS.items() if model}


@pytest.fixture
def folder(tmp_path):
    root = tmp_path / "results" / "other"
    for run in RUNS:
        (root / "rollouts" / run).mkdir(parents=True)
        (root / "rollouts" / run / "episodes.parquet").write_text(run)
    return root


@pytest.fixture
def packed(folder, tmp_path):
    path = tmp_path / "other.zip"
    with zipfile.ZipFile(path, "w") as archive:
        archive.writestr("README.md", "a study")
        for each in sorted(folder.rglob("*.parquet")):
            archive.write(each, f"results/other/{each.relative_to(folder)}")
    return path


def test_only_fully_trained_backbones_count(folder, packed):
    assert backbone_rollouts(folder) == EXPECTED
    assert backbone_rollouts(packed) == EXPECTED
    assert backbone_rollouts(folder.parents[1]) == EXPECTED  # an unpacked study


def test_inputs_are_the_records_or_the_packed_file(folder, packed):
    assert input_files(folder) == [str(folder / name) for name in EXPECTED]
    assert input_files(packed) == [str(packed)]


def test_a_packed_study_opens_as_its_folder(folder, packed):
    for path in (folder, packed, folder.parents[1]):
        with opened_study(path) as results:
            assert {each.parent.parent.parent.parent.parent.name for each in results.episode_files()} == {
                "a",
                "b",
                "random",
                "expert",
            }
            text = (results.root / "rollouts/b/none/full/bridge/seed1/episodes.parquet").read_text()
            assert text == "b/none/full/bridge/seed1"


def test_an_error_names_the_packed_file(packed):
    with (
        pytest.raises(UserError, match=rf"^{packed}/results/other/rollouts: damaged$"),
        opened_study(packed) as results,
    ):
        raise UserError(f"{results.root}/rollouts: damaged")


@pytest.mark.parametrize(
    ("name", "problem"),
    [
        ("results/other/rollouts/../none/full/bridge/seed0/episodes.parquet", "leaves its folder"),
        ("results/else/rollouts/a/none/full/bridge/seed0/episodes.parquet", "is of another study than"),
    ],
)
def test_a_foreign_member_is_refused(packed, name, problem):
    with zipfile.ZipFile(packed, "a") as archive:
        archive.writestr(name, "x")
    with pytest.raises(UserError, match=problem), opened_study(packed):
        raise AssertionError("opened")


def test_what_is_no_study_is_refused(tmp_path):
    (tmp_path / "text.zip").write_text("no zip file")
    (tmp_path / "empty").mkdir()
    (tmp_path / "unused" / "rollouts").mkdir(parents=True)
    for name, problem in (
        ("text.zip", "not a complete zip file"),
        ("missing", "no such file or folder"),
        ("empty", "has no folder rollouts"),
        ("unused", "has no records of fully trained policies"),
    ):
        with pytest.raises(UserError, match=rf"^config.yaml: transfer.records: '.*{name}': {problem}"):
            backbone_rollouts(tmp_path / name)


@pytest.mark.parametrize(
    ("own", "others", "shared"),
    [
        ("abcdefghij", "abcdefghij", "abcdefghij"),
        ("abcdefghij", "jihgfxyz", "fghij"),  # half of ten
        ("abcd", "abcdxyz", "abcd"),  # more than half of seven
        ("abcdefghij", "abcdwxyz", None),  # four of ten
        ("abcde", "abcdefghij", "abcde"),
        ("abcd", "abcdefghij", None),  # four of ten
        ("abc", "abc", None),  # no interval
    ],
)
def test_half_of_the_backbones_and_four_must_be_shared(tmp_path, own, others, shared):
    if shared is not None:
        assert shared_backbones(tmp_path, list(own), set(others)) == list(shared)
        return
    with pytest.raises(UserError, match=r"shares \d backbones with this study, of .*: write a study"):
        shared_backbones(tmp_path, list(own), set(others))


def test_a_real_simulator_is_in_the_provenance(folder):
    results, cell = Results(folder), ("a", "bridge", "full")
    assert not on_real_simulator(results, *cell)  # without provenance
    path = folder / "rollouts/a/none/full/bridge/seed0/provenance.json"
    for simulator, real in ((None, False), ({"adapter": "metaworld"}, True)):
        path.write_text(json.dumps({"settings": {"evaluation": {"simulator": simulator}}}))
        assert on_real_simulator(results, *cell) is real
