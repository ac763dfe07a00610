"""The two programs in short: three kills of a study of five jobs, and one stage on a full disk."""

import json
import shutil
import time
from dataclasses import replace

import fault_study
import pytest
from full_disk import NoMount, Trial, jobs_of, mounted
from kill_study import State
from kill_study import Trial as Kills

pytestmark = [pytest.mark.workflow, pytest.mark.exhaustive]
CELLS = (
    "results/smoke/demonstrations/bridge/provenance.json",
    "results/smoke/demonstrations/libero-10/provenance.json",
    "results/smoke/capability/kosmos-2/none.json",
)


@pytest.fixture(scope="module")
def reference(tmp_path_factory):
    """A study of five jobs that nobody kills, and the seconds that it takes."""
    project = replace(fault_study.lay_out(tmp_path_factory.mktemp("reference"), True), targets=CELLS)
    began = time.monotonic()
    done = fault_study.run(project, 2)
    assert done.returncode == 0, done.stderr
    return project, time.monotonic() - began


def test_three_kills(reference, tmp_path):
    project, seconds = reference
    clone = replace(project, folder=tmp_path / "clone")
    shutil.copytree(
        project.folder, clone.folder, ignore=lambda folder, names: {"results", ".snakemake"} & set(names)
    )
    state = State(seed=3, need_s=seconds)
    again = ("demonstrations", "capability")
    Kills(clone, project, tmp_path, state, kills=3, cores=2, again=again).go()
    assert state.faults == [] and len(state.kills) == 3
    assert fault_study.files(clone.results).keys() == fault_study.files(project.results).keys()


def test_a_lost_output_would_be_seen(reference, tmp_path):
    """The comparison of the programs finds what it is for."""
    project, _ = reference
    results = tmp_path / "results"
    shutil.copytree(project.results, results)
    assert fault_study.differences(project.results, results) == []
    assert list(fault_study.damaged(results)) == []
    data = next(results.glob("smoke/demonstrations/bridge/data/**/*.parquet"))
    data.write_bytes(data.read_bytes()[:-1])
    (results / "smoke/capability/kosmos-2/none.json").unlink()
    (results / "smoke/questions/.vocabulary.json.abcd1234.json").write_text("half")
    assert len(fault_study.differences(project.results, results)) == 2
    assert [line.endswith("changed") for line in fault_study.damaged(results)] == [True]
    assert len(fault_study.hidden(results)) == 1
    assert "smoke/capability/kosmos-2/none.json" not in fault_study.standing(results)


def test_a_full_disk(reference, tmp_path):
    project, _ = reference
    job = next(each for each in jobs_of(project) if each.stage == "demonstrations")
    try:
        with mounted(tmp_path / "disk") as disk:
            trial = Trial(job, disk, tmp_path)
            for kind, before in (("size", "nothing"), ("nr_inodes", "nothing"), ("size", "finished")):
                outcome = trial.run(kind, before, 0.5)
                assert outcome.hit and outcome.faults == []
    except NoMount as error:
        pytest.skip(f"this user may not mount a tmpfs ({error})")


def test_times_do_not_count(reference, tmp_path):
    """A record is compared without its times, wherever it lies; its results count."""
    project, _ = reference
    record = json.loads((project.results / "smoke/capability/kosmos-2/none.json").read_text())
    first, second = tmp_path / "first.json", tmp_path / "second.json"
    first.write_text(json.dumps(record))
    record["provenance"]["wall_seconds"] += 1
    second.write_text(json.dumps(record))
    assert fault_study.comparable(first) == fault_study.comparable(second)
    record["sets"]["where"]["correct"] += 1
    second.write_text(json.dumps(record))
    assert fault_study.comparable(first) != fault_study.comparable(second)
    second.write_text(first.read_text()[:-1])
    assert fault_study.comparable(first) != fault_study.comparable(second)
