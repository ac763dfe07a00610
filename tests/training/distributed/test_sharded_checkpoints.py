"""What several processes have written, any other number reads: the processes stand one after another here."""

import json
import threading

import numpy as np
import pytest
import torch
from safetensors.numpy import load_file

from vlm4vla.core.artefacts import file_hash
from vlm4vla.core.errors import UserError
from vlm4vla.training.distributed.checkpoints import ShardedCheckpoints
from vlm4vla.training.distributed.parameter_rows import share

TENSORS = {"weights/a": torch.arange(21.0).reshape(7, 3), "exp_avg/b": torch.arange(2.0)}


class Meeting:
    """The processes of a `Group`, as threads that wait for each other."""

    def __init__(self, world):
        self.barrier = threading.Barrier(world)
        self.flags = [True] * world
        self.numbers = None


class Member:
    def __init__(self, meeting, rank, world):
        self.meeting, self.rank, self.world = meeting, rank, world

    def wait(self):
        self.meeting.barrier.wait(timeout=60)

    def all(self, flag):
        self.meeting.flags[self.rank] = flag
        self.wait()
        together = all(self.meeting.flags)
        self.wait()
        return together

    def of_main(self, numbers):
        if self.rank == 0:
            self.meeting.numbers = numbers
        self.wait()
        return self.meeting.numbers


def each(world, work):
    """`work(member)` as each of `world` processes; what they return, or the first error."""
    meeting, found = Meeting(world), [None] * world

    def one(rank):
        try:
            found[rank] = work(Member(meeting, rank, world))
        except Exception as error:
            found[rank] = error
            meeting.barrier.abort()

    threads = [threading.Thread(target=one, args=(rank,)) for rank in range(world)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(60)
    errors = [each for each in found if isinstance(each, Exception)]
    for error in sorted(errors, key=lambda e: isinstance(e, threading.BrokenBarrierError)):
        raise error
    return found


def save(folder, world, step=4, identity="run", scale=1.0):
    def work(member):
        rows = []
        for key, tensor in TENSORS.items():
            start, stop = share(len(tensor), member.rank, world)
            if stop > start:
                rows.append((key, tuple(tensor.shape), start, scale * tensor[start:stop]))
        ShardedCheckpoints(folder, identity, member).save(step, rows, {"window_sum": 1.5})

    each(world, work)


def latest(folder, world=1, identity="run"):
    return each(world, lambda member: ShardedCheckpoints(folder, identity, member).latest())


@pytest.mark.parametrize("written", [1, 2, 3, 8])
@pytest.mark.parametrize("read", [1, 2, 5])
def test_any_number_reads_what_any_number_wrote(tmp_path, written, read):
    save(tmp_path, written)
    for rank, (record, saved) in enumerate(latest(tmp_path, read)):
        assert record["step"] == 4 and record["window_sum"] == 1.5
        for key, tensor in TENSORS.items():
            start, stop = share(len(tensor), rank, read)
            if stop > start:
                assert torch.equal(saved.read(key, start, stop), tensor[start:stop])


def test_files_are_plain_safetensors_with_an_index_of_rows_and_hashes(tmp_path):
    save(tmp_path, 2)
    folder = tmp_path / "step-000004"
    index = json.loads((folder / "index.json").read_text())
    names = ["process-00000-of-00002.safetensors", "process-00001-of-00002.safetensors"]
    assert sorted(index["files"]) == names
    arrays = [load_file(folder / name) for name in names]
    whole = np.concatenate([part["weights/a"] for part in arrays])
    np.testing.assert_array_equal(whole, TENSORS["weights/a"].numpy())
    for name in names:
        assert index["files"][name]["sha256"] == file_hash(folder / name)
    assert {path.suffix for path in folder.iterdir()} == {".safetensors", ".json"}


@pytest.mark.parametrize("fault", ["cut", "missing", "no index", "other run"])
def test_a_damaged_checkpoint_gives_way_to_the_one_before(tmp_path, fault):
    folder = tmp_path / "checkpoints"
    save(folder, 2, step=8, scale=2.0)
    newer = (folder / "step-000008").rename(tmp_path / "kept")  # saving deletes what is there
    save(folder, 2, step=4)
    newer = newer.rename(folder / "step-000008")
    file = newer / "process-00001-of-00002.safetensors"
    if fault == "cut":
        file.write_bytes(file.read_bytes()[:-1])
    elif fault == "missing":
        file.unlink()
    elif fault == "no index":
        (newer / "index.json").unlink()
    else:
        record = json.loads((newer / "index.json").read_text())
        (newer / "index.json").write_text(json.dumps(record | {"identity": "other"}))
    for record, saved in latest(folder, 3):
        assert record["step"] == 4
        assert torch.equal(saved.read("weights/a", 0, 7), TENSORS["weights/a"])
    assert [path.name for path in folder.iterdir()] == ["step-000004"]


def test_saving_deletes_the_older_ones(tmp_path):
    save(tmp_path, 2, step=4)
    save(tmp_path, 3, step=8)
    assert [path.name for path in tmp_path.iterdir()] == ["step-000008"]


def test_of_another_run_nothing_is_left(tmp_path):
    save(tmp_path, 2)
    assert latest(tmp_path, 2, identity="other") == [None, None]
    assert not tmp_path.exists()


def test_rows_that_no_file_has_are_an_error(tmp_path):
    save(tmp_path, 2)
    [(_, saved)] = latest(tmp_path)
    with pytest.raises(UserError, match="holds no rows 7 to 9 of weights/a"):
        saved.read("weights/a", 5, 9)
    with pytest.raises(UserError, match="holds no rows 0 to 1 of weights/c"):
        saved.read("weights/c", 0, 1)


def test_a_process_that_does_not_see_the_files_says_so(tmp_path):
    save(tmp_path / "here", 2)

    def work(member):
        folder = tmp_path / ("here" if member.rank == 0 else "elsewhere")
        return ShardedCheckpoints(folder, "run", member).latest()

    with pytest.raises(UserError, match="file system that all nodes share"):
        each(2, work)
