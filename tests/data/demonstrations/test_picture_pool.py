"""Worker processes prepare the same images in every case, and no worker process outlives its parent."""

import os
import shutil
import signal
import subprocess
import sys
import textwrap
import time

import numpy as np
import psutil
import pytest
from handmade_sets import FRONT, TOTAL, shown_number, write_v30

from vlm4vla.config.benchmarks import Augmentation
from vlm4vla.config.demonstrations import Demonstrations
from vlm4vla.config.stages import DemonstrationsSettings
from vlm4vla.core.errors import UserError
from vlm4vla.data.demonstrations.picture_pool import TASK_SIZE, PictureMaker, PicturePool, worker_count
from vlm4vla.stages.demonstrations_dataset import run

SIDE = 32


@pytest.fixture(scope="module")
def index(tmp_path_factory):
    dataset = write_v30(tmp_path_factory.mktemp("sets") / "set")
    output = tmp_path_factory.mktemp("index")
    wanted = Demonstrations(dataset=str(dataset), camera=FRONT)
    run(DemonstrationsSettings(benchmark="calvin", demonstrations=wanted, image_size=SIDE), output=output)
    return output


def maker(index, **changes):
    how = {"shift": 2, "augmentation": Augmentation(crop=0.9, brightness=0.1, hue=0.05), "seed": 7} | changes
    return PictureMaker(index, SIDE, **how)


def updates():
    random = np.random.default_rng(0)
    return [random.permutation(TOTAL)[:12] for _ in range(5)]


def pictures(index, workers, room, ahead=2, parts=1):
    """All images of `updates`: each update is read in `parts`, and the next updates are prefetched."""
    found = []
    with PicturePool(maker(index), workers=workers, room=room) as pool:
        for step, rows in enumerate(updates()):
            pool.keep_updates(step, step + ahead)
            for later in range(step + 1, min(step + 1 + ahead, 5)):
                pool.prefetch(later, updates()[later])
            found.append(np.concatenate([pool.get(step, part) for part in np.array_split(rows, parts)]))
    return np.stack(found)


@pytest.fixture(scope="module")
def reference(index):
    return pictures(index, workers=0, room=0)


@pytest.mark.parametrize(("workers", "room", "parts"), [(1, 36, 1), (3, 40, 4), (2, 5, 1)])
def test_the_number_of_workers_changes_no_image(index, reference, workers, room, parts):
    """Too few slots change no image either, nor does reading an update in parts."""
    np.testing.assert_array_equal(pictures(index, workers, room, parts=parts), reference)


def test_every_image_shows_its_frame(reference):
    for rows, found in zip(updates(), reference, strict=True):
        shown = [shown_number(image) for image in found]
        assert np.mean(np.array(shown) == rows) > 0.9  # the augmentation may cut off a block at the border


def test_an_image_differs_between_updates_and_seeds(index):
    with PicturePool(maker(index), workers=0, room=0) as pool:
        one, two = (pool.get(step, np.array([3, 4])) for step in (0, 1))
    with PicturePool(maker(index, seed=8), workers=0, room=0) as pool:
        other = pool.get(0, np.array([3, 4]))
    assert (one != two).any() and (one != other).any()


def test_a_frame_can_be_requested_twice(index):
    with PicturePool(maker(index), workers=1, room=4) as pool:
        found = pool.get(0, np.array([5, 5, 9]))
    np.testing.assert_array_equal(found[0], found[1])


def test_updates_in_any_order_give_the_same_images(index, reference):
    """A resumed training run requests update 0 first, and then a later update."""
    with PicturePool(maker(index), workers=2, room=24) as pool:
        for step in (0, 4, 1, 3, 0):
            pool.keep_updates(step, step + 1)
            if step < 4:
                pool.prefetch(step + 1, updates()[step + 1])
            np.testing.assert_array_equal(pool.get(step, updates()[step]), reference[step])


@pytest.mark.parametrize("workers", [1, 2])
def test_workers_prepare_all_requests_without_further_calls(index, workers):
    """During a long training step, workers prepare all requested images, not only one task each."""
    rows = np.arange(3 * TASK_SIZE)
    with PicturePool(maker(index), workers=workers, room=len(rows)) as pool:
        pool.prefetch(0, rows)
        limit = time.monotonic() + 120
        while not pool._slots.any((1, 2, 3)).all() and time.monotonic() < limit:
            time.sleep(0.05)
        assert pool._slots.any((1, 2, 3)).all()
        with PicturePool(maker(index), workers=0, room=0) as alone:
            np.testing.assert_array_equal(pool.get(0, rows), alone.get(0, rows))


def test_an_error_in_a_worker_is_one_line(index, tmp_path):
    copy = shutil.copytree(index, tmp_path / "index")
    (copy / "rows" / "video_start.npy").unlink()
    with (
        pytest.raises(UserError, match=r"video_start\.npy: cannot be read"),
        PicturePool(maker(copy), workers=1, room=4) as pool,
    ):
        pool.get(0, np.array([0]))


def test_the_death_of_a_worker_is_reported(index):
    with PicturePool(maker(index), workers=1, room=8) as pool:
        pool.get(0, np.array([0]))
        os.kill(pool._workers[0][0].pid, signal.SIGKILL)
        with pytest.raises(UserError, match=r"a worker process that decodes images ended \(exit status -9\)"):
            pool.get(1, np.array([1]))


PARENT = """
    import sys, time
    from pathlib import Path
    import numpy as np
    sys.path[:0] = {paths!r}
    from test_picture_pool import maker
    from vlm4vla.data.demonstrations.picture_pool import PicturePool
    if __name__ == "__main__":
        pool = PicturePool(maker(Path({index!r})), workers=2, room=16)
        pool.get(0, np.arange(16))
        print(*[process.pid for process, _ in pool._workers], flush=True)
        time.sleep(60)
"""


def test_workers_end_when_their_parent_is_killed(index, tmp_path):
    script = tmp_path / "parent.py"
    script.write_text(textwrap.dedent(PARENT.format(paths=sys.path, index=str(index))))
    with subprocess.Popen([sys.executable, script], stdout=subprocess.PIPE, text=True) as parent:
        workers = list(map(int, parent.stdout.readline().split()))
        assert len(workers) == 2 and all(map(psutil.pid_exists, workers))
        parent.kill()
    limit = time.monotonic() + 120
    while any(map(alive, workers)) and time.monotonic() < limit:
        time.sleep(0.1)
    assert not any(map(alive, workers))


def alive(pid):
    try:
        return psutil.Process(pid).status() != psutil.STATUS_ZOMBIE
    except psutil.NoSuchProcess:
        return False


def test_the_number_of_workers_follows_the_environment(monkeypatch):
    monkeypatch.setenv("VLM4VLA_WORKERS", "3")
    assert worker_count() == 3
    monkeypatch.setenv("VLM4VLA_WORKERS", "many")
    with pytest.raises(UserError, match="VLM4VLA_WORKERS: 'many' is not a number"):
        worker_count()
    monkeypatch.delenv("VLM4VLA_WORKERS")
    monkeypatch.setattr(os, "sched_getaffinity", lambda _: set(range(32)))
    monkeypatch.setenv("LOCAL_WORLD_SIZE", "8")
    assert worker_count() == 3
    monkeypatch.setenv("LOCAL_WORLD_SIZE", "1")
    assert worker_count() == 16
