"""A finished rollout stays until the rollout of another policy is whole, on embedded and real simulators."""

import contextlib
import shutil
from pathlib import Path

import pytest

from vlm4vla.core.successor import NEXT, aside
from vlm4vla.stages import rollout, rollout_simulator


def write(path: Path, text: str) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(text)


def contents(folder: Path) -> dict[str, str]:
    return {
        path.relative_to(folder).as_posix(): path.read_text()
        for path in sorted(folder.rglob("*"))
        if path.is_file()
    }


class Killed(BaseException):
    pass


def die_at(monkeypatch, at: int) -> None:
    """The n-th change of the disk is not made, and the process is gone."""
    calls = 0

    def counted(real):
        def call(*arguments, **options):
            nonlocal calls
            calls += 1
            if calls - 1 == at:
                raise Killed
            return real(*arguments, **options)

        return call

    for name in ("unlink", "rename"):
        monkeypatch.setattr(Path, name, counted(getattr(Path, name)))
    monkeypatch.setattr(shutil, "rmtree", counted(shutil.rmtree))


@pytest.fixture
def embedded(tmp_path):
    """A finished rollout of policy A."""
    work = rollout._work_folder(tmp_path, "A")
    assert work == tmp_path
    for name in ("shards/00000.parquet", "videos/episode0000.gif", "episodes.parquet", "provenance.json"):
        write(tmp_path / name, "A")
    return tmp_path


def test_the_same_policy_goes_on_in_place(embedded):
    before = contents(embedded)
    assert rollout._work_folder(embedded, "A") == embedded and contents(embedded) == before


@pytest.mark.parametrize("films", [True, False])
@pytest.mark.parametrize("at", range(8))
def test_an_interrupted_embedded_rollout(embedded, monkeypatch, films, at):
    before = contents(embedded)
    work = rollout._work_folder(embedded, "B")
    assert work == embedded / NEXT
    write(work / "shards" / "00000.parquet", "B")
    if films:
        write(work / "videos" / "episode0000.gif", "B")
    stands = {name: text for name, text in contents(embedded).items() if not name.startswith(".")}
    assert stands == before
    assert rollout._work_folder(embedded, "B") == work  # it resumes there
    with monkeypatch.context() as patched:
        die_at(patched, at)
        try:
            rollout._replace(embedded, work, [])
        except Killed:
            assert "provenance.json" not in contents(embedded) or contents(embedded).items() >= before.items()
    again = rollout._work_folder(embedded, "B")
    if again != embedded:
        assert (again / "shards" / "00000.parquet").read_text() == "B"
        rollout._replace(embedded, again, [])
    found = contents(embedded)
    assert found.pop("episodes.parquet") == "A"  # it is written next
    found.pop("provenance.json", None)
    assert {name: text for name, text in found.items() if not name.startswith(".")} == {
        "shards/identity": "B",
        "shards/00000.parquet": "B",
        **({"videos/episode0000.gif": "B"} if films else {}),
    }


@pytest.mark.parametrize("standing", ["provenance.json", "episodes.parquet", "set aside"])
@pytest.mark.parametrize("at", range(5))
def test_an_interrupted_rollout_on_a_simulator(tmp_path, monkeypatch, standing, at):
    assert rollout_simulator._work_folder(tmp_path, "A") == tmp_path
    write(tmp_path / "played" / "episode.json", "A")
    write(tmp_path / "videos" / "episode0007.gif", "A")
    records = tmp_path / "episodes.parquet"
    write(aside(records) if standing == "set aside" else tmp_path / standing, "A")
    work = rollout_simulator._work_folder(tmp_path, "B")
    assert work == tmp_path / NEXT and (tmp_path / "played" / "episode.json").read_text() == "A"
    write(work / "played" / "episode.json", "B")
    for number in (0, 1, 7):
        write(work / "played" / "run" / "videos" / f"episode{number:04d}.gif", "B")
    write(work / "played" / "run" / "videos" / ".episode0001.gif.unfinished.gif", "")
    with monkeypatch.context() as patched:
        die_at(patched, at)
        with contextlib.suppress(Killed):
            rollout_simulator._replace(tmp_path, work, [0, 1])
    again = rollout_simulator._work_folder(tmp_path, "B")
    assert (again / "played" / "episode.json").read_text() == "B", "finished episodes are lost"
    rollout_simulator._replace(tmp_path, again, [0, 1])
    assert (tmp_path / "played" / "episode.json").read_text() == "B"
    films = ["episode0000.gif", "episode0001.gif"]  # those of the records
    assert sorted(film.name for film in (tmp_path / "videos").iterdir()) == films
    assert not (tmp_path / "provenance.json").exists()


def test_unfinished_recordings_of_another_policy_go(tmp_path):
    rollout_simulator._work_folder(tmp_path, "A")
    write(tmp_path / "played" / "episode.json", "A")
    assert rollout_simulator._work_folder(tmp_path, "B") == tmp_path
    assert contents(tmp_path) == {"played/identity": "B"}
