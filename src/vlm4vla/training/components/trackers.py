"""The training curve in TensorBoard, Weights & Biases or trackio, in addition to train.jsonl."""

from __future__ import annotations

import importlib.util
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from vlm4vla.core.errors import UserError

# Tracker: the packages of which one must be installed.
PACKAGES = {
    "tensorboard": ("tensorboard", "tensorboardX"),
    "trackio": ("trackio",),
    "wandb": ("wandb",),
}
PROJECT = "vlm4vla"


def check_trackers(names: Sequence[str]) -> None:
    """Raise UserError for a tracker whose package is not installed. Call it before the training starts."""
    for name in names:
        if not any(importlib.util.find_spec(package) for package in PACKAGES[name]):
            raise UserError(
                f"execution.trackers: {name} is not installed: `pip install {name}`, or leave it out "
                "(train.jsonl holds the curve anyway)"
            )


class Trackers:
    """The configured trackers of one run. TensorBoard writes to `folder`/tensorboard.

    `title` is the name of the run, and `settings` are stored with the run. Raises UserError if a package is
    missing.
    """

    def __init__(self, names: Sequence[str], folder: Path, title: str, settings: Mapping[str, Any]):
        check_trackers(names)
        self._open = []
        for name in names:
            tracker = _tracker(name, folder, title)
            tracker.start()
            tracker.store_init_configuration(dict(_flat(settings)))
            self._open.append(tracker)

    def log(self, record: Mapping[str, float], step: int) -> None:
        """Log the values of `step` (updates done)."""
        for tracker in self._open:
            tracker.log({key: value for key, value in record.items() if key != "step"}, step=step)

    def close(self) -> None:
        for tracker in self._open:
            tracker.finish()


def _tracker(name: str, folder: Path, title: str) -> Any:
    from accelerate import PartialState
    from accelerate.tracking import TensorBoardTracker, TrackioTracker, WandBTracker

    PartialState()  # accelerate's trackers use it to let only the main process log
    if name == "tensorboard":
        return TensorBoardTracker("tensorboard", logging_dir=folder)
    if name == "wandb":
        return WandBTracker(PROJECT, name=title, dir=str(folder))
    return TrackioTracker(PROJECT, name=title)


def _flat(settings: Mapping[str, Any], prefix: str = "") -> list[tuple[str, Any]]:
    """Flatten nested settings to (dotted key, number or text)."""
    items: list[tuple[str, Any]] = []
    for key, value in settings.items():
        if isinstance(value, Mapping):
            items += _flat(value, f"{prefix}{key}.")
        else:
            plain = value if isinstance(value, (int, float, str, bool)) else str(value)
            items.append((f"{prefix}{key}", plain))
    return items
