"""Training from a dataset on disk: the same batches as from memory, with any workers, also when resumed."""

import json
import os
import shutil
import signal
import subprocess
import sys
import textwrap

import numpy as np
import pytest
import torch
from small_inputs import SIDE, log_without_times, write_demonstrations
from vla_settings import expert_settings, settings

from vlm4vla.actions.normalisation import StateScale, Statistics
from vlm4vla.backbones import load
from vlm4vla.config.benchmarks import Augmentation
from vlm4vla.config.demonstrations import Demonstrations
from vlm4vla.config.stages import DemonstrationsSettings
from vlm4vla.core.errors import UserError
from vlm4vla.data.demonstrations.frame_index import open_demonstrations
from vlm4vla.data.lerobot.reader import read_demonstrations
from vlm4vla.data.lerobot.writer import LeRobotWriter
from vlm4vla.policies.policy import Policy
from vlm4vla.stages.demonstrations_dataset import run as take
from vlm4vla.stages.vla import run
from vlm4vla.training.batches.actions import ActionBatches, StreamedBatches

LOOK = Augmentation(crop=0.9, brightness=0.1, hue=0.05)


@pytest.fixture(scope="module")
def with_points(tmp_path_factory):
    return write_demonstrations(tmp_path_factory.mktemp("points"), points=True)


@pytest.fixture(scope="module")
def index(with_points, tmp_path_factory):
    """The same demonstrations, as a dataset on disk."""
    folder = tmp_path_factory.mktemp("index")
    wanted = Demonstrations(dataset=str(with_points))
    take(DemonstrationsSettings(benchmark="calvin", demonstrations=wanted, image_size=SIDE), output=folder)
    return folder


@pytest.fixture(scope="module")
def policy(backbone, with_points):
    stats = read_demonstrations(with_points, images=False).stats
    own = settings(head=expert_settings("planned-flow").head)
    statistics = Statistics.from_stats(stats, "range", "calvin")
    scale = StateScale.from_stats(stats)
    return Policy.create(load(backbone), own.head, 3, "calvin", statistics, 0, scale)


def streamed(policy, index, workers=0, **changes):
    options = {"shift": 2, "augmentation": LOOK, "batch": 8, "seed": 5} | changes
    return StreamedBatches(policy, open_demonstrations(index), workers=workers, **options)


def flattened(batch):
    inputs, targets = batch
    return {**inputs, **{f"target {name}": value for name, value in targets.items()}}


def same(one, two):
    assert set(one) == set(two)
    for name, value in one.items():
        assert torch.equal(value, two[name]), name


def test_without_augmentation_batches_equal_those_from_memory(policy, index, with_points):
    memory = ActionBatches(policy, read_demonstrations(with_points), shift=0, colour=0.0, batch=8, seed=5)
    disk = streamed(policy, index, shift=0, augmentation=None)
    for step in (0, 1, 7):  # 48 frames: the last update is in the second epoch
        np.testing.assert_array_equal(memory.ids(step), disk.ids(step))
        ids = disk.ids(step)
        random = np.random.default_rng(0)
        same(flattened(memory.batch(ids, random)), flattened(disk.batch(ids, random)))


def test_only_the_first_episodes_are_trained_on(policy, index):
    frames = open_demonstrations(index)
    kept = 3
    count = int(frames.length[:kept].sum())
    samples = streamed(policy, index, shift=0, augmentation=None, first_episodes=kept)
    epoch = np.concatenate([samples.ids(step) for step in range(-(-count // 8))])[:count]
    assert sorted(epoch) == list(range(count)) and count < len(frames)
    assert set(frames.episode_index[epoch]) == {0, 1, 2}
    whole = streamed(policy, index, first_episodes=len(frames.length))
    np.testing.assert_array_equal(whole.ids(3), streamed(policy, index).ids(3))
    with pytest.raises(UserError, match=f"has {len(frames.length)} episodes, but first_episodes is 99"):
        streamed(policy, index, first_episodes=99)


def test_workers_and_shares_do_not_change_a_batch(policy, index):
    """One process; two processes that take every second sample, in two pieces; a resumed run."""
    whole = streamed(policy, index)
    expected = {}
    for step in range(4):
        ids = whole.ids(step)
        expected[step] = dict(zip(ids.tolist(), whole.batch(ids, None)[0]["pixel_values"], strict=True))
    for workers, places, steps in (
        (2, [slice(None)], range(4)),
        (2, [slice(0, 4, 2), slice(4, 8, 2)], range(4)),
        (1, [slice(None)], (0, 2, 3)),
    ):
        samples = streamed(policy, index, workers)
        for step in steps:
            for place in places:
                ids = samples.ids(step)[place]
                found = samples.batch(ids, None)[0]["pixel_values"]
                for row, frame in zip(found, ids.tolist(), strict=True):
                    assert torch.equal(row, expected[step][frame])
        samples.close()


def stage_settings(**changes):
    return settings(colour_jitter=0.0, augmentation=LOOK, **changes)


@pytest.fixture(scope="module")
def trained(backbone, index, tmp_path_factory):
    folder = tmp_path_factory.mktemp("vla")
    os.environ["VLM4VLA_WORKERS"] = "0"
    try:
        run(stage_settings(), backbone=backbone, demonstrations=index, output=folder)
    finally:
        del os.environ["VLM4VLA_WORKERS"]
    return folder


def weights(folder):
    return {
        name: (folder / name).read_bytes() for name in ("policy.safetensors", "backbone/model.safetensors")
    }


KILLED = """
    import os, signal, sys
    from pathlib import Path
    if __name__ == "__main__":
        sys.path[:0] = {paths!r}
        from test_streamed_batches import stage_settings
        from vlm4vla.training.batches.actions import StreamedBatches
        from vlm4vla.stages.vla import run
        ids = StreamedBatches.ids
        def killing(self, step):
            if step == 5:
                os.kill(os.getpid(), signal.SIGKILL)
            return ids(self, step)
        StreamedBatches.ids = killing
        folders = dict(backbone={backbone!r}, demonstrations={index!r}, output={output!r})
        run(stage_settings(), **{{name: Path(folder) for name, folder in folders.items()}})
"""


def test_killed_training_with_workers_ends_with_the_bytes_of_a_run_without(
    tmp_path, trained, backbone, index, monkeypatch
):
    script = tmp_path / "killed.py"
    output = tmp_path / "vla"
    paths = sys.path
    text = KILLED.format(paths=paths, backbone=str(backbone), index=str(index), output=str(output))
    script.write_text(textwrap.dedent(text))
    environment = os.environ | {"OMP_NUM_THREADS": "1", "VLM4VLA_WORKERS": "2"}
    done = subprocess.run([sys.executable, script], capture_output=True, timeout=600, env=environment)
    assert done.returncode == -signal.SIGKILL, done.stderr.decode()
    assert (output / "checkpoints" / "step-000004.json").exists()
    monkeypatch.setenv("VLM4VLA_WORKERS", "1")
    run(stage_settings(), backbone=backbone, demonstrations=index, output=output)
    assert weights(output) == weights(trained)
    assert log_without_times(output) == log_without_times(trained)


def test_a_chunk_longer_than_every_episode_of_a_dataset_is_an_error(tmp_path, backbone, index):
    with pytest.raises(UserError, match=r"longest episode has 8 frames, but chunk is 9: write at most 8"):
        run(stage_settings(chunk=9), backbone=backbone, demonstrations=index, output=tmp_path)


def test_a_plan_needs_the_grippers_points_in_a_dataset(tmp_path, backbone, demonstrations):
    wanted = Demonstrations(dataset=str(demonstrations))
    index = tmp_path / "index"
    take(DemonstrationsSettings(benchmark="calvin", demonstrations=wanted, image_size=SIDE), output=index)
    with pytest.raises(UserError, match=r"column 'observation\.gripper_point' is missing"):
        run(expert_settings("planned-flow"), backbone=backbone, demonstrations=index, output=tmp_path / "vla")


def test_statistics_of_another_dataset_are_an_error(tmp_path, backbone, index):
    copy = shutil.copytree(index, tmp_path / "index")
    stats = json.loads((copy / "stats.json").read_text())
    stats["action"]["count"] = [1]
    (copy / "stats.json").write_text(json.dumps(stats))
    with pytest.raises(UserError, match="the statistics belong to another dataset"):
        run(stage_settings(), backbone=backbone, demonstrations=copy, output=tmp_path / "vla")


MEMORY = """
    import resource, sys
    from pathlib import Path
    import numpy as np
    from vlm4vla.data.demonstrations.frame_index import FramePictures, open_index
    index = open_index(Path(sys.argv[1]))
    pictures = FramePictures(index)
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    for row in np.random.default_rng(0).permutation(len(index))[:300]:
        pictures.picture(int(row))
    print(before, resource.getrusage(resource.RUSAGE_SELF).ru_maxrss, len(index))
"""


def test_memory_does_not_grow_with_the_dataset(tmp_path):
    """With twelve times as many videos, a worker's memory stays the same within some megabytes."""
    grown = {}
    for episodes in (20, 240):
        folder = tmp_path / str(episodes)
        options = {
            "fps": 5,
            "robot_type": "arm",
            "image_size": 64,
            "pictures": "video",
            "episodes_per_file": 2,
        }
        with LeRobotWriter(folder / "set", **options) as writer:
            for number in range(episodes):
                random = np.random.default_rng(number)
                images = np.full((6, 64, 64, 3), number % 256, dtype=np.uint8)
                actions = random.uniform(-1, 1, (6, 7))
                actions[:, 6] = [1, -1] * 3
                writer.add_episode(images, random.normal(size=(6, 8)), actions, "wait")
        wanted = Demonstrations(dataset=str(folder / "set"))
        own = DemonstrationsSettings(benchmark="calvin", demonstrations=wanted, image_size=32)
        take(own, output=folder / "index")
        command = [sys.executable, "-c", textwrap.dedent(MEMORY), str(folder / "index")]
        done = subprocess.run(command, capture_output=True, text=True, timeout=300, check=True)
        before, after, frames = map(int, done.stdout.split())
        assert frames == 6 * episodes
        grown[episodes] = after - before
    assert grown[240] < grown[20] + 30_000, grown  # KiB
