"""Small raw datasets in the formats of CALVIN's and LIBERO's authors, written with numpy and h5py alone."""

import json

import numpy as np
import pytest

SIDE = 32
SEGMENTS = ((3, 9, "open the drawer"), (8, 12, "lift the red block"), (20, 25, "open the drawer"))
DEMOS = {
    "KITCHEN_SCENE3_turn_on_the_stove_demo.hdf5": ("turn on the stove", (6, 4)),
    "STUDY_SCENE1_pick_up_the_book_demo.hdf5": ("pick up the book", (5,)),
}


def image(number):
    """Return a smooth image, (32, 32, 3) uint8, whose level of blue encodes `number`."""
    rows, columns = np.mgrid[0:SIDE, 0:SIDE] * 200 // (SIDE - 1)
    return np.stack([rows, columns, np.full_like(rows, 7 * number % 256)], -1).astype(np.uint8)


def _actions(count, seed):
    random = np.random.default_rng(seed)
    actions = random.uniform(-0.9, 0.9, (count, 7))
    actions[:, 6] = np.where(np.arange(count) % 3, 1, -1)
    return actions


def write_calvin(root):
    """Write `root`/training of CALVIN: one file per step, and annotated segments that overlap."""
    split = root / "training"
    (split / "lang_annotations").mkdir(parents=True)
    for step in sorted({step for first, last, _ in SEGMENTS for step in range(first, last + 1)}):
        random = np.random.default_rng(step)
        np.savez_compressed(
            split / f"episode_{step:07d}.npz",
            rgb_static=image(step),
            rgb_gripper=image(0),
            rel_actions=_actions(2, step)[step % 2],
            robot_obs=random.normal(size=15),
            scene_obs=random.normal(size=24),
        )
    annotations = {
        "language": {
            "ann": [text for *_, text in SEGMENTS],
            "task": ["open_drawer", "lift_red_block_table", "open_drawer"],
            "emb": np.zeros((len(SEGMENTS), 1, 384), dtype=np.float32),
        },
        "info": {"episodes": [], "indx": [(first, last) for first, last, _ in SEGMENTS]},
    }
    np.save(split / "lang_annotations/auto_lang_ann.npy", annotations, allow_pickle=True)
    return root


def write_libero(folder):
    """Write two files of LIBERO's demonstrations."""
    h5py = pytest.importorskip("h5py")
    folder.mkdir(parents=True)
    for name, (text, lengths) in DEMOS.items():
        with h5py.File(folder / name, "w") as file:
            data = file.create_group("data")
            data.attrs["problem_info"] = json.dumps({"problem_name": "x", "language_instruction": text})
            for number, length in enumerate(lengths):
                random = np.random.default_rng(number)
                demo = data.create_group(f"demo_{number}")
                demo["actions"] = _actions(length, number)
                demo["obs/agentview_rgb"] = np.stack([image(frame)[::-1, ::-1] for frame in range(length)])
                demo["obs/ee_states"] = random.normal(size=(length, 6))
                demo["obs/gripper_states"] = random.uniform(0, 0.04, (length, 2))
    return folder


WRITERS = {"calvin": ("calvin", write_calvin), "libero-10": ("libero", write_libero)}
