"""Raw LIBERO demonstrations (robomimic's HDF5 form, one file a task) as LeRobot v3.0.

Each data/demo_N holds obs/agentview_rgb (T, H, W, 3) uint8, actions (T, 7) with gripper -1 open and 1 closed,
obs/ee_states (T, 6) position and axis-angle, obs/gripper_states (T, 2). The instruction is in the attribute
problem_info of data. MuJoCo's pictures stand on their head; they are turned by 180 degrees, as the pictures
that a policy meets in evaluation are (vla-eval, and OpenVLA's copy of the data).
"""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np

from vlm4vla.core.errors import UserError
from vlm4vla.data.converters.episode import Episode

FPS = 20
STATE_NAMES = ("x", "y", "z", "rx", "ry", "rz", "gripper_left", "gripper_right")
PICTURES = "agentview_rgb"


class Libero:
    """All demonstrations of a file, or of a folder's .hdf5 files. Raises UserError when there are none."""

    robot_type, fps, state_names = "franka-panda", FPS, STATE_NAMES

    def __init__(self, source: Path):
        self.files = sorted(source.glob("*.hdf5")) if source.is_dir() else [source]
        if not self.files:
            raise UserError(f"{source}: holds no .hdf5 file: write a folder of LIBERO's demonstrations")
        self._demos = [(file, name) for file in self.files for name in _demos(file)]
        self.image_size = next(self.episodes(0)).images.shape[1]

    def __len__(self) -> int:
        return len(self._demos)

    def identity(self) -> dict[str, Any]:
        """What tells these files from others."""
        sizes = {file.name: file.stat().st_size for file in self.files}
        return {"libero": str(self.files[0].parent.resolve()), "episodes": len(self), "bytes": sizes}

    def episodes(self, begin: int) -> Iterator[Episode]:
        """Episodes from number `begin` on. UserError for a demonstration that is not whole."""
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
        raise UserError(f"{file}: not a whole HDF5 file ({error}): copy it again") from None


def _demos(file: Path) -> list[str]:
    """Names of a file's demonstrations, in the order of their numbers."""
    with _open(file) as content:
        names = [name for name in content.get("data", ()) if name.removeprefix("demo_").isdecimal()]
    if not names:
        raise UserError(f"{file}: holds no data/demo_N: is this a file of LIBERO's demonstrations?")
    return sorted(names, key=lambda name: int(name.removeprefix("demo_")))


def _instruction(file: Path, content: Any) -> str:
    given = content["data"].attrs.get("problem_info")
    try:
        text = json.loads(given.decode() if isinstance(given, bytes) else given)["language_instruction"]
        text = "".join(text) if isinstance(text, list) else text
        words = str(text).strip().strip('"').strip()
    except (TypeError, ValueError, KeyError, AttributeError):
        words = ""
    if not words:
        raise UserError(
            f"{file}: the attribute problem_info of data says no language_instruction: copy the file again"
        )
    return words


def _episode(file: Path, content: Any, name: str) -> Episode:
    where = f"{file}: data/{name}"
    try:
        group = content["data"][name]
        observed = group["obs"]
        images, actions = observed[PICTURES][()], group["actions"][()]
        states = np.concatenate([observed["ee_states"][()], observed["gripper_states"][()]], axis=1)
    except (KeyError, ValueError, OSError) as error:
        raise UserError(
            f"{where}: lacks actions, obs/{PICTURES}, obs/ee_states or obs/gripper_states ({error}): copy "
            "the file again"
        ) from None
    turned = np.ascontiguousarray(images[:, ::-1, ::-1])
    return Episode(turned, states, actions, _instruction(file, content), where)
