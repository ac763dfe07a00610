"""Read the raw LIBERO demonstrations: HDF5 files in robomimic's format, one file per task.

Each data/demo_N contains obs/agentview_rgb (T, H, W, 3) uint8, actions (T, 7) with gripper -1 open and 1
closed, obs/ee_states (T, 6) with position and axis-angle, and obs/gripper_states (T, 2). The attribute
problem_info of data contains the instruction. MuJoCo renders the images upside down, so they are rotated by
180 degrees, like the images that a policy receives in evaluation (vla-eval, and OpenVLA's copy of the data).
"""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np

from vlm4vla.conventions.benchmarks import LIBERO_10
from vlm4vla.core.errors import UserError
from vlm4vla.data.converters.source import RawSource, SourceEpisode

FPS = 20
STATE_NAMES = ("x", "y", "z", "rx", "ry", "rz", "gripper_left", "gripper_right")
IMAGES = "agentview_rgb"


class LiberoSource(RawSource):
    """The demonstrations of one .hdf5 file, or of all .hdf5 files of a folder."""

    robot_type, fps, state_names = "franka-panda", FPS, STATE_NAMES

    def __init__(self, path: Path):
        self.files = sorted(path.glob("*.hdf5")) if path.is_dir() else [path]
        if not self.files:
            raise UserError(f"{path}: contains no .hdf5 file: write a folder of LIBERO's demonstrations")
        self._demos = [(file, name) for file in self.files for name in _demos(file)]
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


def _demos(file: Path) -> list[str]:
    """Return the names of a file's demonstrations, sorted by number."""
    with _open(file) as content:
        names = [name for name in content.get("data", ()) if name.removeprefix("demo_").isdecimal()]
    if not names:
        raise UserError(f"{file}: contains no data/demo_N: write a file of LIBERO's demonstrations")
    return sorted(names, key=lambda name: int(name.removeprefix("demo_")))


def _instruction(file: Path, content: Any) -> str:
    info = content["data"].attrs.get("problem_info")
    try:
        text = json.loads(info.decode() if isinstance(info, bytes) else info)["language_instruction"]
        text = "".join(text) if isinstance(text, list) else text
        words = str(text).strip().strip('"').strip()
    except (TypeError, ValueError, KeyError, AttributeError):
        words = ""
    if not words:
        raise UserError(
            f"{file}: the attribute problem_info of data has no language_instruction: copy the file again"
        )
    return words


def _episode(file: Path, content: Any, name: str) -> SourceEpisode:
    where = f"{file}: data/{name}"
    try:
        group = content["data"][name]
        observed = group["obs"]
        images, actions = observed[IMAGES][()], group["actions"][()]
        states = np.concatenate([observed["ee_states"][()], observed["gripper_states"][()]], axis=1)
    except (KeyError, ValueError, OSError) as error:
        raise UserError(
            f"{where}: has no actions, obs/{IMAGES}, obs/ee_states or obs/gripper_states ({error}): copy the "
            "file again"
        ) from None
    upright = np.ascontiguousarray(images[:, ::-1, ::-1])
    return SourceEpisode(upright, states, actions, _instruction(file, content), where)
