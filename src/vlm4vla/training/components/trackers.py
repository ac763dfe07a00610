"""The training curve in TensorBoard, Weights & Biases or trackio, in addition to train.jsonl.

A training that was killed resumes from a checkpoint that is older than its last logged step. It goes on in
the tracker's run, and no step stands there twice: TensorBoard is told to drop the steps after the checkpoint,
and to the others, which only append, these steps are not sent again. Steps before the checkpoint that a
tracker lacks are sent from train.jsonl. trackers.json, in the folder of the training until the training ends,
holds the name of the run and the last step that each tracker has received.
"""

from __future__ import annotations

import importlib.util
import json
import uuid
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from vlm4vla.core.artefacts import parse_json, write_json
from vlm4vla.core.errors import UserError

# Tracker: the packages of which one must be installed.
PACKAGES = {
    "tensorboard": ("tensorboard", "tensorboardX"),
    "trackio": ("trackio",),
    "wandb": ("wandb",),
}
# The command that installs a tracker and keeps the packages of the lock. trackio asks for an older Pillow, so
# pip would otherwise replace the Pillow of the lock.
INSTALL = {
    "tensorboard": "pip install tensorboard",
    "trackio": "pip install --no-deps --requirement envs/trackio.lock",
    "wandb": "pip install wandb",
}
PROJECT = "vlm4vla"


def check_trackers(names: Sequence[str]) -> None:
    """Raise UserError for a tracker whose package is not installed. Call it before the training starts."""
    for name in names:
        if not any(importlib.util.find_spec(package) for package in PACKAGES[name]):
            raise UserError(
                f"execution.trackers: {name} is not installed: `{INSTALL[name]}`, or leave it out "
                "(train.jsonl holds the curve anyway)"
            )


class Trackers:
    """The configured trackers of one run. TensorBoard writes to `folder`/tensorboard.

    `title` is the name of the run, and `settings` are stored with the run. `identity` is the hash of what the
    training depends on: a training with another identity is another run. `done` is the number of updates of
    the checkpoint from which the training goes on; `folder`/train.jsonl holds the curve up to there. Raises
    UserError if a package is missing.
    """

    def __init__(
        self,
        names: Sequence[str],
        folder: Path,
        title: str,
        settings: Mapping[str, Any],
        *,
        identity: str,
        done: int,
    ):
        check_trackers(names)
        self._file = folder / "trackers.json"
        self._record = _read_record(self._file, identity)
        self._logged: dict[str, int] = self._record["logged"]
        self._open = {}
        for name in names:
            tracker = _tracker(name, folder, title, self._record["run"], done)
            tracker.start()
            if name not in self._logged:
                tracker.store_init_configuration(dict(_flat(settings)))
            self._logged[name] = _last_stored(name, tracker, self._logged.get(name, 0), done)
            self._open[name] = tracker
        if names:
            write_json(self._file, self._record)
            curve = folder / "train.jsonl"
            for line in map(json.loads, curve.read_text().splitlines() if done and curve.exists() else []):
                self.log(line, line["step"])

    def log(self, record: Mapping[str, float], step: int) -> None:
        """Log the values of `step` (updates done) to the trackers that have not received this step."""
        values = {key: value for key, value in record.items() if key != "step"}
        new = [name for name in self._open if step > self._logged[name]]
        for name in new:
            # wandb would otherwise keep the values of a step until the next step comes.
            more = {"commit": True} if name == "wandb" else {}
            self._open[name].log(values, step=step, **more)
            self._logged[name] = step
        if new:
            write_json(self._file, self._record)

    def close(self) -> None:
        """End the run, at the end of the training. Only the main process calls it."""
        for tracker in self._open.values():
            tracker.finish()
        self._file.unlink(missing_ok=True)


def _read_record(file: Path, identity: str) -> dict[str, Any]:
    """The content of trackers.json, or a new record if it is missing, damaged or of another training."""
    try:
        record = parse_json(file.read_text())
        if record["identity"] == identity:
            logged = {str(name): int(step) for name, step in record["logged"].items()}
            return {"identity": identity, "run": str(record["run"]), "logged": logged}
    except (OSError, ValueError, KeyError, TypeError, AttributeError):
        pass
    return {"identity": identity, "run": uuid.uuid4().hex[:12], "logged": {}}


def _last_stored(name: str, tracker: Any, sent: int, done: int) -> int:
    """The last step in the run of an open tracker. `sent`: the last step in trackers.json.

    A tracker stores a step some time after it has received it, so a kill can lose steps that were sent.
    trackio, and Weights & Biases with its server, say at which step the stored run ends.
    """
    if name == "tensorboard":
        return min(sent, done)
    run = getattr(tracker, "run", None)
    if name == "trackio":
        return getattr(run, "_next_step", sent + 1) - 1
    if name == "wandb" and getattr(run, "resumed", False):
        return run.starting_step - 1
    return sent


def _tracker(name: str, folder: Path, title: str, run: str, done: int) -> Any:
    from accelerate import PartialState
    from accelerate.tracking import TensorBoardTracker, TrackioTracker, WandBTracker

    PartialState()  # accelerate's trackers use it to let only the main process log
    if name == "tensorboard":
        # A later event file drops the events of the earlier ones from `purge_step` on.
        purge = {"purge_step": done + 1} if (folder / "tensorboard").exists() else {}
        return TensorBoardTracker("tensorboard", logging_dir=folder, **purge)
    if name == "wandb":
        import wandb

        # Offline, wandb writes to its file every 15 seconds only, and a kill loses the rest.
        key = "x_transaction_log_flush_interval"
        often = {"settings": {key: 1.0}} if key in getattr(wandb.Settings, "model_fields", {}) else {}
        return WandBTracker(PROJECT, name=title, dir=str(folder), id=run, resume="allow", **often)
    # trackio finds the run to resume by its name alone, so the name must be unique.
    return TrackioTracker(PROJECT, name=f"{title} {run}", resume="allow")


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
