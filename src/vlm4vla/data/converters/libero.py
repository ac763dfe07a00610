"""Read the raw LIBERO demonstrations: HDF5 files in robomimic's format, one file per task.

Each data/demo_N contains obs/agentview_rgb (T, H, W, 3) uint8, actions (T, 7) with gripper -1 open and 1
closed, obs/ee_states (T, 6) with position and axis-angle, and obs/gripper_states (T, 2). The attribute
problem_info of data contains the instruction. MuJoCo renders the images upside down, so they are rotated by
180 degrees, like the images that a policy receives in evaluation (vla-eval, and OpenVLA's copy of the data).

Files that were made again with OpenVLA's script (regenerate_libero_dataset.py) have the same arrays, also
upside down, usually with 256 x 256 pixels. The script leaves out steps without motion and episodes that fail
when they are replayed, so the numbers of the demonstrations have gaps and a task may have none. It writes no
problem_info: the instruction is the name of the file, by LIBERO's own rule.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np

from vlm4vla.conventions.benchmarks import LIBERO_10
from vlm4vla.core.errors import UserError
from vlm4vla.data.converters.source import RawSource, SourceEpisode
from vlm4vla.data.instructions import LeftOut, instruction_text

FPS = 20
STATE_NAMES = ("x", "y", "z", "rx", "ry", "rz", "gripper_left", "gripper_right")
IMAGES = "agentview_rgb"
SCENE = re.compile(r"[A-Z][A-Z_]*SCENE\d+(?:_|$)")  # begins the names of LIBERO-10 and LIBERO-90
NO_WORDS = re.compile(r"\s|(?i:scene)\d|_demo$")  # a renamed file: its words are not only the instruction's


class LiberoSource(RawSource):
    """The demonstrations of one .hdf5 file, or of all .hdf5 files of a folder."""

    robot_type, fps, state_names = "franka-panda", FPS, STATE_NAMES

    def __init__(self, path: Path):
        self.files = sorted(path.glob("*.hdf5")) if path.is_dir() else [path]
        if not self.files:
            raise UserError(f"{path}: contains no .hdf5 file: write a folder of LIBERO's demonstrations")
        self._demos: list[tuple[Path, str]] = []
        self._left_out: dict[str, str] = {}
        self._blank: dict[str, LeftOut] = {}
        for file in self.files:
            names, empty = _demos(file)
            blank = _without_instruction(file, names)
            if blank.episodes:
                self._blank[str(file)] = blank
                continue
            self._demos += [(file, name) for name in names]
            if empty or not names:
                count = len(names) + len(empty)
                self._left_out[file.name] = (
                    f"left out {len(empty)} of {count} demonstrations, which have no steps"
                    if empty
                    else "left out the task, which has no demonstrations"
                )
        if not self._demos and self._blank:
            counts = sum(self._blank.values(), LeftOut())
            raise UserError(
                f"{next(iter(self._blank))}: no file has an instruction, for {counts}: write one as "
                "language_instruction into the attribute problem_info of data"
            )
        if not self._demos:
            raise UserError(
                f"{path}: contains no data/demo_N with steps and an instruction, in {len(self.files)} files: "
                "write a file or folder of LIBERO's demonstrations"
            )
        self.image_size = next(self.episodes(0)).images.shape[1]

    def __len__(self) -> int:
        return len(self._demos)

    def identity(self) -> dict[str, Any]:
        sizes = {file.name: file.stat().st_size for file in self.files}
        return {
            LIBERO_10.raw_format: str(self.files[0].parent.resolve()),
            "episodes": len(self),
            "bytes": sizes,
        }

    def without_instruction(self) -> dict[str, LeftOut]:
        return self._blank

    def left_out(self) -> dict[str, str]:
        return self._left_out

    def episodes(self, begin: int) -> Iterator[SourceEpisode]:
        for file, name in self._demos[begin:]:
            with _open(file) as content:
                yield _episode(file, content, name)


def _open(file: Path) -> Any:
    try:
        import h5py
    except ImportError:
        raise UserError("converting LIBERO needs h5py: install it (pip install h5py)") from None
    try:
        return h5py.File(file, "r")
    except FileNotFoundError:
        raise UserError(f"{file}: not found: write a file or folder of LIBERO's demonstrations") from None
    except OSError as error:
        raise UserError(f"{file}: not a complete HDF5 file ({error}): copy it again") from None


def _demos(file: Path) -> tuple[list[str], list[str]]:
    """Return the names of a file's demonstrations, sorted by number: those with steps, and the empty ones."""
    with _open(file) as content:
        data = content.get("data")
        if not _is_group(data):
            raise UserError(f"{file}: contains no data/demo_N: write a file of LIBERO's demonstrations")
        names = [name for name in data if re.fullmatch(r"(demo_)?\d+", name)]
        empty = {name for name in names if _is_empty(data[name])}
    names.sort(key=lambda name: int(name.removeprefix("demo_")))
    return [name for name in names if name not in empty], [name for name in names if name in empty]


def _is_group(item: Any) -> bool:
    """Whether an item of an HDF5 file exists and is a group, not an array."""
    return hasattr(item, "keys")


def _is_empty(demo: Any) -> bool:
    """Whether a demonstration has no steps. One that lacks only some of its arrays is damaged, not empty."""
    if not _is_group(demo):
        return False
    actions = demo.get("actions")
    if actions is not None:
        return getattr(actions, "shape", ())[:1] == (0,)
    observed = demo.get("obs", {})
    return _is_group(observed) and all(getattr(observed[name], "shape", ())[:1] == (0,) for name in observed)


def _file_words(file: Path) -> str:
    """Return the instruction that the name of a file states: SCENE_the_words_demo.hdf5, or without SCENE_.

    Raises UserError for another kind of name.
    """
    stem = file.stem.removesuffix("_demo")
    scene = SCENE.match(stem)
    rest = stem[scene.end() if scene else 0 :]
    words = rest.split("_")
    is_task = scene or (file.stem.endswith("_demo") and len(words) > 1)
    if not is_task or not all(words) or NO_WORDS.search(rest):
        raise UserError(
            f"{file}: data has no attribute problem_info, and the file's name is not that of a task: rename "
            "it as in LIBERO, such as KITCHEN_SCENE3_turn_on_the_stove_demo.hdf5"
        )
    return " ".join(words)


def _without_instruction(file: Path, names: list[str]) -> LeftOut:
    """Return the counts of the demonstrations `names` of a file if its instruction is blank, or else 0."""
    with _open(file) as content:
        if not names or _instruction(file, content) is not None:
            return LeftOut()
        return LeftOut.of(_step_count(content["data"][name]) for name in names)


def _step_count(demo: Any) -> int:
    actions = demo.get("actions") if _is_group(demo) else None
    return next(iter(getattr(actions, "shape", ())), 0)


def _instruction(file: Path, content: Any) -> str | None:
    """Return the instruction that a file states, or None if it is blank. Raises UserError without one."""
    info = content["data"].attrs.get("problem_info")
    if info is None:
        return _file_words(file)
    try:
        text = json.loads(info.decode() if isinstance(info, bytes) else info)["language_instruction"]
        if isinstance(text, list) and all(isinstance(each, str) and len(each) == 1 for each in text):
            text = "".join(text)  # the characters of the text
        return instruction_text(text.strip().strip('"') if isinstance(text, str) else text)
    except (TypeError, ValueError, KeyError, AttributeError):
        raise UserError(
            f"{file}: the attribute problem_info of data has no language_instruction that is one text: copy "
            "the file again"
        ) from None


def _episode(file: Path, content: Any, name: str) -> SourceEpisode:
    where = f"{file}: data/{name}"
    try:
        group = content["data"][name]
        if not (_is_group(group) and _is_group(group.get("obs"))):
            raise KeyError("no group with a group obs")
        observed = group["obs"]
        images, actions = observed[IMAGES][()], group["actions"][()]
        pose = ("ee_states",) if "ee_states" in observed else ("ee_pos", "ee_ori")
        states = np.concatenate([observed[key][()] for key in (*pose, "gripper_states")], axis=1)
    except (KeyError, ValueError, OSError) as error:
        raise UserError(
            f"{where}: has no actions, obs/{IMAGES}, obs/ee_states (or obs/ee_pos and obs/ee_ori) or "
            f"obs/gripper_states ({error}): copy the file again"
        ) from None
    upright = np.ascontiguousarray(images[:, ::-1, ::-1])
    return SourceEpisode(upright, states, actions, _instruction(file, content) or "", where)
