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
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np

from vlm4vla.conventions.benchmarks import LIBERO_10
from vlm4vla.core.errors import UserError, one_line
from vlm4vla.data.converters.source import RawSource, SourceEpisode
from vlm4vla.data.instructions import LeftOut, instruction_text

FPS = 20
STATE_NAMES = ("x", "y", "z", "rx", "ry", "rz", "gripper_left", "gripper_right")
IMAGES = "agentview_rgb"
MOST_BYTES = 4_000_000_000  # of one array, which is in memory at once; LIBERO's largest has 100 MB
LONGEST_REASON = 200  # characters
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


@contextmanager
def _open(file: Path) -> Iterator[Any]:
    """Open an HDF5 file. Every error of h5py until the end of the context becomes a UserError."""
    try:
        import h5py
    except ImportError:
        raise UserError("converting LIBERO needs h5py: install it (pip install h5py)") from None
    try:
        with h5py.File(file, "r") as content:
            yield content
    except UserError:
        raise
    except FileNotFoundError:
        raise UserError(f"{file}: not found: write a file or folder of LIBERO's demonstrations") from None
    except Exception as error:  # h5py raises errors of many types for damaged files
        raise UserError(f"{file}: not a complete HDF5 file ({_reason(error)}): copy it again") from None


def _reason(error: Exception) -> str:
    """The words of an error, short and in one line."""
    return one_line(str(error.args[0] if error.args else error))[:LONGEST_REASON] or type(error).__name__


def _item(file: Path, group: Any, name: str) -> Any:
    """The group or the array `name` of a group of `file`; None if there is none.

    Raises UserError if its content is in another file. HDF5 has three ways to say so: external links,
    external storage and virtual datasets.
    """
    import h5py

    elsewhere = isinstance(group.get(name, getlink=True), h5py.ExternalLink)
    found = None if elsewhere else group.get(name)
    if found is not None and found.file.filename != group.file.filename:
        elsewhere = True  # a link inside the file to an external link
    if isinstance(found, h5py.Dataset) and (found.external or found.is_virtual):
        elsewhere = True
    if elsewhere:
        where = one_line(f"{group.name.rstrip('/')}/{name}".lstrip("/"))
        raise UserError(f"{file}: {where} is in another file: copy its content into this file")
    return found


def _numbers(file: Path, group: Any, name: str) -> np.ndarray:
    """The array `name` of a group. Raises KeyError or ValueError, in words, if there is none of numbers."""
    found = _item(file, group, name)
    if not _shape(found):
        raise KeyError(f"no array {name}")
    if found.dtype.kind not in "iuf":
        raise ValueError(f"{name} has the type {found.dtype}, not numbers")
    if found.nbytes > MOST_BYTES:  # a file of a few bytes can state any shape
        raise ValueError(f"{name} has the shape {found.shape}, which is more than {MOST_BYTES} bytes")
    return found[()]


def _demos(file: Path) -> tuple[list[str], list[str]]:
    """Return the names of a file's demonstrations, sorted by number: those with steps, and the empty ones."""
    with _open(file) as content:
        data = _item(file, content, "data")
        if not _is_group(data):
            raise UserError(f"{file}: contains no data/demo_N: write a file of LIBERO's demonstrations")
        names = [name for name in data if re.fullmatch(r"(demo_)?\d+", name)]
        empty = {name for name in names if _is_empty(file, _item(file, data, name))}
    names.sort(key=lambda name: int(name.removeprefix("demo_")))
    return [name for name in names if name not in empty], [name for name in names if name in empty]


def _is_group(item: Any) -> bool:
    """Whether an item of an HDF5 file exists and is a group, not an array."""
    return hasattr(item, "keys")


def _is_empty(file: Path, demo: Any) -> bool:
    """Whether a demonstration has no steps. One that lacks only some of its arrays is damaged, not empty."""
    if not _is_group(demo):
        return False
    actions, observed = (_item(file, demo, name) for name in ("actions", "obs"))
    if actions is not None:
        return _shape(actions)[:1] == (0,)
    if observed is None:
        return True
    return _is_group(observed) and all(_shape(_item(file, observed, name))[:1] == (0,) for name in observed)


def _shape(item: Any) -> tuple[int, ...]:
    """The shape of an array; () for groups and for arrays without a shape."""
    return getattr(item, "shape", None) or ()


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
        return LeftOut.of(_step_count(file, _item(file, content["data"], name)) for name in names)


def _step_count(file: Path, demo: Any) -> int:
    return next(iter(_shape(_item(file, demo, "actions") if _is_group(demo) else None)), 0)


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
    except (TypeError, ValueError, KeyError, AttributeError, RecursionError):
        raise UserError(
            f"{file}: the attribute problem_info of data has no language_instruction that is one text: copy "
            "the file again"
        ) from None


def _episode(file: Path, content: Any, name: str) -> SourceEpisode:
    where = f"{file}: data/{name}"
    try:
        group = _item(file, content["data"], name)
        observed = _item(file, group, "obs") if _is_group(group) else None
        if not _is_group(observed):
            raise KeyError("no group with a group obs")
        images, actions = _numbers(file, observed, IMAGES), _numbers(file, group, "actions")
        if images.ndim != 4 or images.dtype != np.uint8 or images.shape[3] != 3:
            raise ValueError(f"{IMAGES} has the shape {images.shape} and the type {images.dtype}")
        pose = ("ee_states",) if "ee_states" in observed else ("ee_pos", "ee_ori")
        states = np.concatenate([_numbers(file, observed, key) for key in (*pose, "gripper_states")], axis=1)
    except UserError:
        raise
    except Exception as error:  # h5py raises errors of many types for damaged files
        raise UserError(
            f"{where}: has no actions, obs/{IMAGES}, obs/ee_states (or obs/ee_pos and obs/ee_ori) or "
            f"obs/gripper_states ({_reason(error)}): copy the file again"
        ) from None
    upright = np.ascontiguousarray(images[:, ::-1, ::-1])
    return SourceEpisode(upright, states, actions, _instruction(file, content) or "", where)
