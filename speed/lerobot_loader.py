"""Runs in LeRobot's own environment (envs/lerobot): writes a dataset, or measures LeRobot's own loader.

`loader_rate.py --lerobot` starts this program. The package vlm4vla is not installed there.

    python lerobot_loader.py write FOLDER SIDE EPISODES LENGTH
    python lerobot_loader.py rate FOLDER SIZE BACKEND EPOCHS PICTURES
"""

import json
import sys
import time
from importlib.metadata import version
from pathlib import Path

import numpy as np
import torch
from lerobot.datasets import LeRobotDataset
from torchvision.transforms import InterpolationMode, v2

CAMERA = "observation.images.front"


def write(folder: Path, side: int, episodes: int, length: int) -> None:
    """Write videos of a textured scene in which two objects move, with LeRobot's default encoder (AV1)."""
    features = {
        "action": {"dtype": "float32", "shape": (7,), "names": [*"xyzabc", "gripper"]},
        "observation.state": {"dtype": "float32", "shape": (8,), "names": None},
        CAMERA: {"dtype": "video", "shape": (side, side, 3), "names": ["height", "width", "channels"]},
    }
    data = LeRobotDataset.create("local/set", 10, features, root=folder, use_videos=True)
    random = np.random.default_rng(0)
    rows, columns = np.mgrid[0:side, 0:side]
    smooth = np.stack([rows, columns, rows + columns], -1) * 120 // side
    for _ in range(episodes):
        coarse = random.integers(0, 40, (side // 4, side // 4, 3))
        scene = (smooth + np.kron(coarse, np.ones((4, 4, 1), dtype=int))).astype(np.uint8)
        places = random.integers(0, side * 3 // 4, (2, 2)).astype(float)
        for _ in range(length):
            places = np.clip(places + random.normal(0, side / 40, (2, 2)), 0, side * 3 // 4)
            shown = scene.copy()
            for colour, (down, right) in zip(((200, 60, 30), (40, 90, 210)), places.astype(int), strict=True):
                shown[down : down + side // 4, right : right + side // 4] = colour
            action = random.uniform(-1, 1, 7).astype(np.float32)
            action[6] = random.choice([0.0, 1.0])
            state = random.normal(size=8).astype(np.float32)
            data.add_frame(
                {CAMERA: shown, "action": action, "observation.state": state, "task": "move the object"}
            )
        data.save_episode()
    data.finalize()


def rate(folder: Path, size: int, backend: str, epochs: int, pictures: Path) -> dict[str, object]:
    """Samples per CPU second of random access, resized to `size`. Save some pictures of the original size."""
    torch.set_num_threads(1)
    resized = v2.Resize((size, size), InterpolationMode.BICUBIC, antialias=True)
    options = {"root": folder, "video_backend": backend, "return_uint8": True}
    original = LeRobotDataset("local/set", **options)
    rows = np.linspace(0, len(original) - 1, 16).astype(int)
    np.savez(pictures, rows=rows, pictures=np.stack([original[int(row)][CAMERA].numpy() for row in rows]))
    data = LeRobotDataset("local/set", image_transforms=resized, **options)
    rates = []
    for epoch in range(epochs):
        order = np.random.default_rng(epoch).permutation(len(data))
        began = time.process_time()
        for row in order:
            assert data[int(row)][CAMERA].shape[-1] == size
        rates.append(len(order) / (time.process_time() - began))
    return {
        "lerobot": version("lerobot"),
        "torchcodec": version("torchcodec") if backend == "torchcodec" else None,
        "video_backend": backend,
        "samples_a_cpu_second": [round(each, 1) for each in rates],
    }


if __name__ == "__main__":
    if sys.argv[1] == "write":
        write(Path(sys.argv[2]), *map(int, sys.argv[3:6]))
    else:
        folder, size, backend, epochs, pictures = sys.argv[2:7]
        found = rate(Path(folder), int(size), backend, int(epochs), Path(pictures))
        print(json.dumps(found))
