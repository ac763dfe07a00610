"""Artefacts on disk: atomic writes, hashes and provenance.

An artefact folder is finished when it contains `provenance.json`, which is written last and atomically.
Everything written before can be resumed or thrown away.
"""

from __future__ import annotations

import contextlib
import errno
import glob
import hashlib
import json
import os
import platform
import re
import shutil
import subprocess
import tempfile
import time
from collections.abc import Iterator, Mapping
from importlib import metadata
from pathlib import Path
from typing import Any

from vlm4vla.core import cpu_time
from vlm4vla.core.disk import NO_SPACE, is_full
from vlm4vla.core.errors import UserError

PACKAGES = (
    "torch",
    "transformers",
    "accelerate",
    "datasets",
    "diffusers",
    "mujoco",
    "numpy",
    "pyarrow",
    "scipy",
)

_TEMPORARY = re.compile(r"\.(.+)\.[a-z0-9_]{8}(\.\w+)?")  # as `atomic_path` names them


def canonical_json(value: Any) -> str:
    """`value` as JSON with sorted keys and no spaces: the form that is hashed and compared."""
    return json.dumps(value, sort_keys=True, separators=(",", ":"), allow_nan=False)


def settings_hash(settings: Mapping[str, Any]) -> str:
    """SHA-256 (hex) of settings in their canonical form."""
    return hashlib.sha256(canonical_json(settings).encode()).hexdigest()


def file_hash(path: Path) -> str:
    """SHA-256 (hex) of a file's bytes."""
    with path.open("rb") as handle:
        return hashlib.file_digest(handle, "sha256").hexdigest()


def files_of(folder: Path, pattern: str) -> list[Path]:
    """The files in `folder` that match `pattern`, sorted, without hidden ones.

    A hidden file is unfinished: `atomic_path` writes it, and a killed process leaves it.
    """
    return sorted(
        path
        for path in folder.glob(pattern)
        if path.is_file() and not any(part.startswith(".") for part in path.relative_to(folder).parts)
    )


def remove_unfinished(folder: Path) -> None:
    """Remove the temporary files and folders that killed processes have left below `folder`.

    The caller holds the folder's lock, so that no other process is writing one of them.
    """
    for path in list(folder.rglob(".*")):
        match = _TEMPORARY.fullmatch(path.name)
        if match and Path(match[1]).suffix == (match[2] or ""):
            _remove_temporary(path)


def remove_unfinished_file(path: Path) -> None:
    """Remove the temporary files that killed processes have left of the single file `path`."""
    for each in list(path.parent.glob(f".{glob.escape(path.name)}.*")):
        if _TEMPORARY.fullmatch(each.name) and each.suffix == path.suffix:
            _remove_temporary(each)


def _remove_temporary(path: Path) -> None:
    if path.is_dir() and not path.is_symlink():
        shutil.rmtree(path, ignore_errors=True)
    else:
        path.unlink(missing_ok=True)


def checkpoint_hash(vla: Path) -> str:
    """SHA-256 (hex) over the hashes of all weight files of a VLA folder."""
    hashes = [
        file_hash(path) for path in files_of(vla, "**/*.safetensors") if "checkpoints" not in path.parts
    ]
    return hashlib.sha256("".join(hashes).encode()).hexdigest()


@contextlib.contextmanager
def atomic_path(path: Path) -> Iterator[Path]:
    """Yield a temporary path next to `path`.

    On success the temporary file replaces `path` in one step; on failure it is removed. Inside `together`,
    it replaces `path` when that context ends. Raises OSError, with the name of `path`, if the disk is full:
    some libraries name no file, or raise an error of their own.
    """
    path = Path(path)
    with _named_if_full(path):
        path.parent.mkdir(parents=True, exist_ok=True)
        handle, name = tempfile.mkstemp(prefix=f".{path.name}.", suffix=path.suffix, dir=path.parent)
        os.close(handle)
    temporary, waits = Path(name), False
    try:
        with _named_if_full(path):
            yield temporary
            with temporary.open("rb") as written:
                os.fsync(written.fileno())
            temporary.chmod(0o644)
            if _together:
                _together[-1].append((temporary, path))
                waits = True
            else:
                temporary.replace(path)
    finally:
        if not waits:
            temporary.unlink(missing_ok=True)


_together: list[list[tuple[Path, Path]]] = []  # what waits for the end of each `together`


@contextlib.contextmanager
def together() -> Iterator[None]:
    """Files that are written atomically in this context appear together at its end, and none if it fails."""
    waiting: list[tuple[Path, Path]] = []
    _together.append(waiting)
    try:
        yield
        for temporary, path in waiting:
            temporary.replace(path)
    finally:
        _together.remove(waiting)
        for temporary, _ in waiting:
            temporary.unlink(missing_ok=True)


@contextlib.contextmanager
def _named_if_full(path: Path) -> Iterator[None]:
    """Name `path` in an error of a full disk, whatever the error says."""
    try:
        yield
    except UserError:
        raise
    except Exception as error:
        number = error.errno if isinstance(error, OSError) else None
        if number not in NO_SPACE and not is_full(path.parent):
            raise
        number = number if number in NO_SPACE else errno.ENOSPC
        raise OSError(number, os.strerror(number), str(path)) from error


def write_text(path: Path, text: str) -> None:
    """Write text atomically."""
    with atomic_path(path) as temporary:
        temporary.write_text(text)


def write_json(path: Path, value: Any) -> None:
    """Write indented JSON atomically. Raises ValueError for NaN and infinity."""
    write_text(path, json.dumps(value, indent=2, allow_nan=False) + "\n")


def parse_json(text: str | bytes) -> Any:
    """The value of JSON text. Raises ValueError for other text, and for values that are nested too deep."""
    try:
        return json.loads(text)
    except RecursionError:
        raise ValueError("its values are nested too deep") from None


def _commit() -> str | None:
    command = ["git", "rev-parse", "HEAD"]
    try:
        done = subprocess.run(command, capture_output=True, text=True, cwd=Path(__file__).parent, timeout=10)
    except (OSError, subprocess.TimeoutExpired):
        return None
    return done.stdout.strip() or None if done.returncode == 0 else None


class Provenance:
    """Records everything that an artefact was made from.

    Create it when the stage starts. Call `write(folder / "provenance.json")` last: this finishes
    the artefact.
    """

    def __init__(self, stage: str, settings: Mapping[str, Any], inputs: Mapping[str, Path], seed: int | None):
        self._start = time.time()
        self._begin = cpu_time.begin()
        self._record = {
            "stage": stage,
            "settings": dict(settings),
            "inputs": {name: {"path": str(path), "sha256": file_hash(path)} for name, path in inputs.items()},
            "seed": seed,
        }

    def record(self, **extra: Any) -> dict[str, Any]:
        """The record so far, with times and `extra` (JSON values, for example hashes of outputs)."""
        spent = cpu_time.since(self._begin)
        return {
            **self._record,
            "packages": {name: metadata.version(name) for name in PACKAGES},
            "python": platform.python_version(),
            "commit": _commit(),
            "started": time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime(self._start)),
            "wall_seconds": round(time.time() - self._start, 2),
            "cpu_seconds": round(spent.total, 2),
            "start_up_seconds": round(spent.start_up, 2),
            **extra,
        }

    def write(self, path: Path, **extra: Any) -> None:
        """Write `record(**extra)` to `path`."""
        write_json(path, self.record(**extra))
