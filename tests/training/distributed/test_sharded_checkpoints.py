"""Checkpoints that one number of processes writes and another reads; here, the processes are threads."""

import json
import threading

import numpy as np
import pytest
import torch
from safetensors.numpy import load_file

from vlm4vla.core.artefacts import file_hash
from vlm4vla.core.errors import UserError
from vlm4vla.training.distributed.checkpoints import ShardedCheckpoints
from vlm4vla.training.distributed.parameter_rows import row_range

TENSORS = {"weights/a": torch.arange(21.0).reshape(7, 3), "exp_avg/b": torch.arange(2.0)}


class SharedState:
    """What the threads that act as the processes of one `ProcessGroup` share."""

    def __init__(self, world_size):
        self.barrier = threading.Barrier(world_size)
        self.flags = [True] * world_size
        self.numbers = None


class ThreadGroup:
    """The `ProcessGroup` of one of the threads."""

    def __init__(self, shared, rank, world_size):
        self.shared, self.rank, self.world_size = shared, rank, world_size

    def wait(self):
        self.shared.barrier.wait(timeout=60)

    def all(self, flag):
        self.shared.flags[self.rank] = flag
        self.wait()
        everywhere = all(self.shared.flags)
        self.wait()
        return everywhere

    def broadcast_from_main(self, numbers):
        if self.rank == 0:
            self.shared.numbers = numbers
        self.wait()
        return self.shared.numbers


def run_processes(world_size, work):
    """Call `work(group)` in `world_size` threads. Return their results, or raise the first error."""
    shared, results = SharedState(world_size), [None] * world_size

    def run(rank):
        try:
            results[rank] = work(ThreadGroup(shared, rank, world_size))
        except Exception as error:
            results[rank] = error
            shared.barrier.abort()

    threads = [threading.Thread(target=run, args=(rank,)) for rank in range(world_size)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(60)
    errors = [result for result in results if isinstance(result, Exception)]
    for error in sorted(errors, key=lambda e: isinstance(e, threading.BrokenBarrierError)):
        raise error
    return results


def save(folder, world_size, step=4, identity="run", scale=1.0):
    def work(group):
        rows = []
        for key, tensor in TENSORS.items():
            start, stop = row_range(len(tensor), group.rank, world_size)
            if stop > start:
                rows.append((key, tuple(tensor.shape), start, scale * tensor[start:stop]))
        ShardedCheckpoints(folder, identity, group).save(step, rows, {"window_sum": 1.5})

    run_processes(world_size, work)


def latest(folder, world_size=1, identity="run"):
    return run_processes(world_size, lambda group: ShardedCheckpoints(folder, identity, group).latest())


@pytest.mark.parametrize("written", [1, 2, 3, 8])
@pytest.mark.parametrize("read", [1, 2, 5])
def test_any_number_of_processes_reads_what_any_number_wrote(tmp_path, written, read):
    save(tmp_path, written)
    for rank, (record, saved) in enumerate(latest(tmp_path, read)):
        assert record["step"] == 4 and record["window_sum"] == 1.5
        for key, tensor in TENSORS.items():
            start, stop = row_range(len(tensor), rank, read)
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


@pytest.mark.parametrize("fault", ["truncated", "missing", "no index", "other run"])
def test_the_checkpoint_before_a_damaged_one_is_loaded(tmp_path, fault):
    folder = tmp_path / "checkpoints"
    save(folder, 2, step=8, scale=2.0)
    newer = (folder / "step-000008").rename(tmp_path / "kept")  # otherwise the next save would delete it
    save(folder, 2, step=4)
    newer = newer.rename(folder / "step-000008")
    file = newer / "process-00001-of-00002.safetensors"
    if fault == "truncated":
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


def test_saving_deletes_older_checkpoints(tmp_path):
    save(tmp_path, 2, step=4)
    save(tmp_path, 3, step=8)
    assert [path.name for path in tmp_path.iterdir()] == ["step-000008"]


def test_checkpoints_of_another_run_are_deleted(tmp_path):
    save(tmp_path, 2)
    assert latest(tmp_path, 2, identity="other") == [None, None]
    assert not tmp_path.exists()


def test_rows_that_are_in_no_file_are_an_error(tmp_path):
    save(tmp_path, 2)
    [(_, saved)] = latest(tmp_path)
    with pytest.raises(UserError, match="rows 7 to 9 of weights/a are missing"):
        saved.read("weights/a", 5, 9)
    with pytest.raises(UserError, match="rows 0 to 1 of weights/c are missing"):
        saved.read("weights/c", 0, 1)


def test_a_process_that_does_not_see_the_files_is_an_error(tmp_path):
    save(tmp_path / "here", 2)

    def work(group):
        folder = tmp_path / ("here" if group.rank == 0 else "elsewhere")
        return ShardedCheckpoints(folder, "run", group).latest()

    with pytest.raises(UserError, match="file system that all nodes share"):
        run_processes(2, work)
