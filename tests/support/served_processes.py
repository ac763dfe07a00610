"""The processes of an evaluation on a simulator, for tests that end them."""

import contextlib
import threading
import time

import numpy as np
import psutil
import pyarrow.parquet as pq

from vlm4vla.data.lerobot.reader import read_demonstrations
from vlm4vla.evaluation.simulators import recordings


def children(name):
    """Process numbers of the descendants of this process whose command line contains `name`."""
    found = []
    for child in psutil.Process().children(recursive=True):
        with contextlib.suppress(psutil.Error):  # the process has ended in the meantime
            if any(name in word for word in child.cmdline()):
                found.append(child.pid)
    return found


def when(condition, then, seconds=600):
    """A thread that waits until `condition` returns a true value, and calls `then` with that value."""

    def run():
        deadline = time.monotonic() + seconds
        while time.monotonic() < deadline:
            found = condition()
            if found:
                then(found)
                return
            time.sleep(0.1)

    thread = threading.Thread(target=run, daemon=True)
    thread.start()
    return thread


def played(folder):
    return recordings.read_recordings([folder / "shards/0/played"])


def recorded_steps(folder):
    """The number of steps of each recorded episode, by (instruction, initial state)."""
    frames = read_demonstrations(folder, images=False)
    starts = pq.read_table(folder / "data/chunk-000/file-000.parquet", columns=["initial_state"])
    found = {}
    for episode in np.unique(frames.episode_index):
        own = np.flatnonzero(frames.episode_index == episode)
        state = int(starts["initial_state"][int(own[0])].as_py()[0])
        found[frames.tasks[frames.task_index[own[0]]], state] = len(own)
    return found
