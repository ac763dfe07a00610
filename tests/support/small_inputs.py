"""Small inputs of the training stages, made without the simulation: questions and demonstrations.

Each image is one coloured square on grey. The package `datasets` writes the questions, so the reader is
tested against an independent writer.
"""

import json

import datasets
import numpy as np

from vlm4vla.core.artefacts import write_json
from vlm4vla.data.lerobot.writer import LeRobotWriter

COLOURS = {"red": (220, 30, 30), "green": (30, 200, 40), "blue": (40, 60, 220)}
SIDE = 64


def square(colour, cell, random):
    """Return a 64x64 image with a square in `cell` of a 4x4 grid."""
    image = random.integers(100, 130, (SIDE, SIDE, 3)).astype(np.uint8)
    row, column = divmod(cell, 4)
    image[16 * row : 16 * row + 16, 16 * column : 16 * column + 16] = COLOURS[colour]
    return image


def write_questions(folder, train=48, held_out=24):
    features = datasets.Features(
        {
            "image": datasets.Value("binary"),
            "statements": [{name: datasets.Value("string") for name in ("set", "question", "answer")}],
            "scene": datasets.Value("int64"),
        }
    )
    datasets.disable_progress_bars()
    random = np.random.default_rng(0)
    for split, count in (("train", train), ("held_out", held_out)):
        rows = []
        for scene in range(count):
            colour, cell = str(random.choice(list(COLOURS))), int(random.integers(16))
            statements = [
                ("caption", "describe", f"{colour} block <loc{cell}>"),
                ("where", f"where is the {colour} block ?", f"<loc{cell}>"),
                ("colour", "what colour is the block ?", colour),
            ]
            rows.append(
                {
                    "image": square(colour, cell, random).tobytes(),
                    "statements": [
                        dict(zip(("set", "question", "answer"), s, strict=True)) for s in statements
                    ],
                    "scene": scene,
                }
            )
        datasets.Dataset.from_list(rows, features=features).save_to_disk(folder / split)
    words = ["describe", "where", "is", "the", "block", "?", "what", "colour", "reach", "for"]
    write_json(folder / "vocabulary.json", [*words, *COLOURS, *(f"<loc{cell}>" for cell in range(16))])
    write_json(folder / "provenance.json", {"stage": "questions"})
    return folder


def write_demonstrations(folder, episodes=6, length=8, points=False):
    random = np.random.default_rng(1)
    more = {"observation.gripper_point": ("column", "row")} if points else {}
    with LeRobotWriter(folder, fps=5, robot_type="test", image_size=SIDE, extra_columns=more) as writer:
        for _ in range(episodes):
            colour, cell = str(random.choice(list(COLOURS))), int(random.integers(16))
            images = np.stack([square(colour, cell, random) for _ in range(length)])
            actions = np.zeros((length, 7), dtype=np.float32)
            actions[:, 0], actions[:, 1] = (cell // 4 - 1.5) / 10, (cell % 4 - 1.5) / 10
            actions[:, 2] = random.normal(size=length) / 10
            actions[:, 6] = np.where(np.arange(length) < length // 2, 1, -1)
            states = random.normal(size=(length, 8))
            seen = {name: random.uniform(size=(length, 2)) for name in more}
            writer.add_episode(images, states, actions, f"reach for the {colour} block", seen)
    write_json(folder / "provenance.json", {"stage": "demonstrations"})
    return folder


def log_without_times(folder):
    lines = [json.loads(line) for line in (folder / "train.jsonl").read_text().splitlines()]
    return [{key: value for key, value in line.items() if key != "samples_per_second"} for line in lines]
