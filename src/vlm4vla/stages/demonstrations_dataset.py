"""The stage demonstrations for a LeRobot dataset: download, check and index it.

The result is a `FrameIndex` (data/demonstrations/frame_index.py): a few numbers per frame, and statistics.
Videos stay in the dataset's folder. Images that the dataset stores in tables are copied.
"""

from __future__ import annotations

import shutil
from pathlib import Path
from typing import Any

import numpy as np

from vlm4vla.config.stages import DemonstrationsSettings
from vlm4vla.conventions.actions import POSE_SIZE
from vlm4vla.core.artefacts import Provenance, canonical_json, file_hash, write_json, write_text
from vlm4vla.core.errors import UserError
from vlm4vla.data.demonstrations.encoded_pictures import copy_pictures
from vlm4vla.data.demonstrations.frame_index import (
    INDEX,
    PICTURES,
    ROWS,
    STATS,
    FramePictures,
    index_json,
    open_index,
)
from vlm4vla.data.demonstrations.index_rows import write_rows
from vlm4vla.data.demonstrations.matching import (
    FeatureChoice,
    check_bounds,
    check_gripper,
    check_statistics,
    choose_features,
    convert_gripper,
)
from vlm4vla.data.lerobot.hub import META, camera_patterns, dataset_folder
from vlm4vla.data.lerobot.metadata import Metadata, read_metadata
from vlm4vla.data.lerobot.reader import STATE
from vlm4vla.data.statistics import BLOCK, column_statistics

UNFINISHED = "begun.json"  # identifies the dataset of an unfinished folder


def run(settings: DemonstrationsSettings, *, output: Path) -> None:
    """Write the index of `settings.demonstrations.dataset` to `output`. Copying of images resumes.

    Raises UserError if the dataset cannot be downloaded, is damaged, or does not fit the benchmark.
    """
    wanted, key = settings.demonstrations, f"benchmarks.{settings.benchmark}.demonstrations"
    provenance = Provenance("demonstrations", settings.model_dump(mode="json"), {}, None)
    for name in ("provenance.json", INDEX):
        (output / name).unlink(missing_ok=True)  # an old one is not of these settings
    metadata = read_metadata(dataset_folder(wanted.dataset, wanted.revision, META, key))
    choice = choose_features(metadata, wanted, key)
    patterns = camera_patterns(choice.camera, metadata.is_video(choice.camera))
    metadata = read_metadata(dataset_folder(wanted.dataset, wanted.revision, patterns, key))
    files = metadata.table_files()
    videos = metadata.videos(choice.camera) if metadata.is_video(choice.camera) else None
    _clear_other_dataset(output, {"source": _identity(metadata), "camera": choice.camera})
    arrays = write_rows(metadata, choice, files, output / ROWS)
    counted = column_statistics(arrays["actions"])
    _convert_gripper(arrays["actions"], settings)
    stats = _statistics(metadata, choice, arrays, counted, settings, key)
    if videos is None:
        copy_pictures(files, choice.camera, len(arrays["actions"]), output / PICTURES)
    length = metadata.episodes.length
    arrays |= {"first": np.cumsum(length) - length, "length": length}
    if videos is not None:
        arrays |= {"video_file": videos.file, "video_start": videos.start}
    for name in ("first", "length", "video_file", "video_start"):
        if name in arrays:
            np.save(output / ROWS / f"{name}.npy", arrays[name], allow_pickle=False)
    for array in arrays.values():
        if isinstance(array, np.memmap):
            array.flush()
    write_json(output / STATS, stats)
    record = index_json(
        source=str(metadata.folder.resolve()),
        version=metadata.version,
        camera=choice.camera,
        fps=metadata.fps,
        image_size=settings.image_size,
        tasks=metadata.tasks,
        video_names=None if videos is None else videos.names,
        rows=sorted(arrays),
    )
    write_text(output / INDEX, record)
    _decode_first_and_last(output)
    written = [output / STATS, output / INDEX, *sorted((output / ROWS).glob("*.npy"))]
    provenance.write(
        output / "provenance.json",
        source=_identity(metadata),
        frames=len(arrays["actions"]),
        files={str(path.relative_to(output)): file_hash(path) for path in written},
    )
    (output / UNFINISHED).unlink(missing_ok=True)


def _identity(metadata: Metadata) -> dict[str, Any]:
    """Identify a dataset without reading its frames: by its folder and the hashes of meta/."""
    meta = sorted(path for path in (metadata.folder / "meta").rglob("*") if path.is_file())
    hashes = {str(path.relative_to(metadata.folder)): file_hash(path) for path in meta}
    return {"folder": str(metadata.folder.resolve()), "version": metadata.version, "files": hashes}


def _clear_other_dataset(output: Path, identity: dict[str, Any]) -> None:
    """Delete what an earlier run wrote to `output`, unless that run was interrupted on the same dataset."""
    text = canonical_json(identity) + "\n"
    mark = output / UNFINISHED
    if not (mark.is_file() and mark.read_text() == text):
        for part in (ROWS, PICTURES):
            shutil.rmtree(output / part, ignore_errors=True)
        write_text(mark, text)


def _convert_gripper(actions: np.ndarray, settings: DemonstrationsSettings) -> None:
    """Replace the dataset's gripper values by those of the benchmark, block by block."""
    for start in range(0, len(actions), BLOCK):
        rows = slice(start, start + BLOCK)
        actions[rows] = convert_gripper(
            np.asarray(actions[rows]), settings.demonstrations, settings.benchmark
        )


def _statistics(
    metadata: Metadata,
    choice: FeatureChoice,
    arrays: dict[str, np.ndarray],
    counted: dict[str, Any],
    settings: DemonstrationsSettings,
    key: str,
) -> dict[str, Any]:
    """Compute and check the content of stats.json: statistics of the actions and, if present, of the states.

    `counted`: statistics of the actions before the gripper was converted.
    """
    wanted, source = settings.demonstrations, str(metadata.folder)
    action = column_statistics(arrays["actions"])
    least, most = (counted[name][POSE_SIZE] for name in ("min", "max"))
    check_gripper(least, most, wanted, settings.benchmark, source, key)
    if wanted.statistics == "meta":
        where = f"{key}.statistics: {metadata.folder}/meta"
        stated = ((metadata.stats() or {}).get(choice.action)) or {}
        stated = {name: _columns(values, choice.action_columns) for name, values in stated.items()}
        if not {"min", "max"} <= set(stated):
            has = ", ".join(sorted(stated)) or "nothing"
            raise UserError(
                f"{where}: has {has} of {choice.action!r}, but min and max are needed: write "
                "`statistics: data`, which computes them"
            )
        check_statistics(stated, counted, where)
        for name in action:
            if name in stated and name != "count":
                action[name][:POSE_SIZE] = [float(value) for value in stated[name][:POSE_SIZE]]
    if wanted.bounds is not None:
        check_bounds(action, wanted.bounds, source, key)
        for name, bound in zip(("min", "max"), wanted.bounds, strict=True):
            action[name][:POSE_SIZE] = [bound] * POSE_SIZE
    stats = {"action": action}
    if "states" in arrays:
        stats[STATE] = column_statistics(arrays["states"])
    return stats


def _columns(values: Any, indices: list[int]) -> list[float]:
    flat = np.ravel(np.asarray(values, dtype=float))
    return flat[indices].tolist() if len(flat) > max(indices) else flat.tolist()


def _decode_first_and_last(output: Path) -> None:
    """Read the first and the last image: errors of the decoder show now, and not during training."""
    index = open_index(output)
    pictures = FramePictures(index)
    try:
        for row in (0, len(index) - 1):
            pictures.picture(row)
    finally:
        pictures.close()
