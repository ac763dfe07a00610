"""Small datasets in the layouts of the public ones, written without the code that reads them."""

from __future__ import annotations

import io
import json
from pathlib import Path

import datasets
import numpy as np
from PIL import Image

from vlm4vla.config.public_sets import MixedSet, PublicSource
from vlm4vla.config.stages import AuxiliaryDataSettings

SIDE = 24


def picture(number: int, side: int = SIDE) -> Image.Image:
    """Return an image that is unique to `number`."""
    random = np.random.default_rng(number)
    return Image.fromarray(random.integers(0, 256, (side, side + 8, 3), dtype=np.uint8))


def robopoint(folder: Path, count: int, lines: bool = False, side: int = SIDE) -> list[dict]:
    """Write LLaVA's JSON and an image folder, as in robopoint-data. Every seventh row has no image."""
    rows = []
    for number in range(count):
        name = f"object_ref/{number:05d}.png"
        row = {
            "id": f"object_ref/{number:05d}_left",
            "image": name,
            "conversations": [
                {"from": "human", "value": f"<image>\nWhere is thing {number}? Answer with points."},
                {"from": "gpt", "value": f"[({number / count:.3f}, 0.527), (0.498, {number / count:.3f})]"},
                {"from": "human", "value": f"What is thing {number}?"},
                {"from": "gpt", "value": f"a block, the {number}th"},
            ],
        }
        if number % 7 == 6:
            del row["image"]
        else:
            path = folder / "images" / name
            path.parent.mkdir(parents=True, exist_ok=True)
            picture(number, side).save(path)
        rows.append(row)
    text = "\n".join(map(json.dumps, rows)) if lines else json.dumps(rows, indent=1)
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "robopoint_1432k.json").write_text(text)
    return rows


def robo2vlm(folder: Path, count: int, files: int = 3, side: int = SIDE) -> list[dict]:
    """Write Parquet with Hugging Face's image structs, as in Robo2VLM-1. Choices are the text of a list."""
    datasets.disable_progress_bars()
    rows = []
    for number in range(count):
        choices = [f"yes {number}", "no", "maybe", "cannot be told", "none of these"]
        rows.append(
            {
                "id": f"fractal_{number:05d}",
                "question": f"Is thing {number} held?",
                "choices": str(choices),
                "correct_answer": number % 5,
                "image": encoded(picture(number, side)),
            }
        )
    features = datasets.Features(
        {
            "id": datasets.Value("string"),
            "question": datasets.Value("string"),
            "choices": datasets.Value("string"),
            "correct_answer": datasets.Value("int64"),
            "image": datasets.Image(),
        }
    )
    shown = [row | {"image": {"bytes": row["image"], "path": None}} for row in rows]
    whole = datasets.Dataset.from_list(shown, features=features)
    (folder / "data").mkdir(parents=True, exist_ok=True)
    for number in range(files):
        shard = whole.shard(files, number, contiguous=True)
        shard.to_parquet(str(folder / "data" / f"train-{number:05d}-of-{files:05d}.parquet"), batch_size=7)
    return rows


def encoded(image: Image.Image) -> bytes:
    data = io.BytesIO()
    image.save(data, "PNG")
    return data.getvalue()


def settings(task: str, folder: Path, size: int = 16, **keys) -> AuxiliaryDataSettings:
    """Return the settings of the stage auxiliary-data for one dataset."""
    counts = {key: keys.pop(key) for key in ("train_pictures", "held_out_pictures", "seed") if key in keys}
    given = {"train_pictures": 10_000, "held_out_pictures": 10_000, "seed": 0} | counts
    named = keys.pop("name", task)
    one = MixedSet(dataset=str(folder), **keys).resolved(named)
    return AuxiliaryDataSettings(task=task, image_size=size, public=PublicSource(sets={named: one}), **given)
