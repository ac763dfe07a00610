"""Runs in LeRobot's own environment (envs/lerobot): reads or writes a dataset with LeRobot's own classes.

Usage: python lerobot_program.py read FOLDER OUTPUT, or python lerobot_program.py write INPUT FOLDER. OUTPUT
and INPUT are folders with frames.npz and words.json. The package vlm4vla is not installed there.
"""

import json
import sys
from pathlib import Path

import numpy as np
import torch
from lerobot.datasets import LeRobotDataset

NUMBERS = ("timestamp", "frame_index", "episode_index", "index", "task_index", "action", "observation.state")


def read(folder, output):
    """Read all frames, and an action chunk per frame. Pictures become (N, H, W, 3) uint8."""
    data = LeRobotDataset("local/set", root=folder, video_backend="pyav", return_uint8=True)
    camera = data.meta.camera_keys[0]
    found = {name: [] for name in (*NUMBERS, camera)}
    tasks = []
    for row in range(len(data)):
        item = data[row]
        for name in NUMBERS:
            found[name].append(item[name].numpy())
        picture = item[camera]
        if picture.is_floating_point():  # pictures in tables are divided by 255
            picture = (picture * 255).round().to(torch.uint8)
        found[camera].append(picture.numpy().transpose(1, 2, 0))
        tasks.append(item["task"])
    steps = [step / data.fps for step in range(4)]
    chunks = LeRobotDataset(
        "local/set", root=folder, video_backend="pyav", return_uint8=True, delta_timestamps={"action": steps}
    )
    chosen = sorted({0, len(data) // 2, len(data) - 1})
    arrays = {name: np.stack(values) for name, values in found.items() if name != camera}
    arrays |= {"pictures": np.stack(found[camera]), "chosen": np.array(chosen)}
    arrays["chunks"] = np.stack([chunks[row]["action"].numpy() for row in chosen])
    arrays["padded"] = np.stack([chunks[row]["action_is_pad"].numpy() for row in chosen])
    words = {
        "camera": camera,
        "tasks": tasks,
        "fps": data.fps,
        "totals": [data.meta.total_episodes, data.meta.total_frames, data.meta.total_tasks],
        "lengths": [episode["length"] for episode in data.meta.episodes],
        "stats": {key: np.asarray(value).tolist() for key, value in data.meta.stats["action"].items()},
    }
    output.mkdir(parents=True)
    np.savez(output / "frames.npz", **arrays)
    (output / "words.json").write_text(json.dumps(words))


def write(source, folder):
    """Write a dataset from pictures, actions and states, with the settings in words.json."""
    words = json.loads((source / "words.json").read_text())
    frames = np.load(source / "frames.npz")
    height, width = frames["pictures"].shape[1:3]
    features = {
        "action": {"dtype": "float32", "shape": (7,), "names": words["names"]},
        "observation.state": {"dtype": "float32", "shape": frames["states"].shape[1:], "names": None},
    }
    for camera in words["cameras"]:
        features[camera] = {
            "dtype": "video" if words["videos"] else "image",
            "shape": (height, width, 3),
            "names": ["height", "width", "channels"],
        }
    data = LeRobotDataset.create(
        "local/set", words["fps"], features, root=folder, use_videos=words["videos"], **words["options"]
    )
    row = 0
    for length, task in words["episodes"]:
        for _ in range(length):
            shown = frames["pictures"][row]
            data.add_frame(
                {"action": frames["actions"][row], "observation.state": frames["states"][row], "task": task}
                | {camera: shown if not n else shown[:, ::-1] for n, camera in enumerate(words["cameras"])}
            )
            row += 1
        data.save_episode()
    data.finalize()


if __name__ == "__main__":
    {"read": read, "write": write}[sys.argv[1]](*map(Path, sys.argv[2:4]))
