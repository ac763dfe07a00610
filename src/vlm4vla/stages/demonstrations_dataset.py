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
from vlm4vla.core.artefacts import (
    Provenance,
    atomic_path,
    canonical_json,
    file_hash,
    files_of,
    write_json,
    write_text,
)
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
from vlm4vla.data.demonstrations.gripper_commands import (
    check_column,
    convert_column,
    read_column,
    wanted_values,
)
from vlm4vla.data.demonstrations.index_rows import write_rows
from vlm4vla.data.demonstrations.instructed_episodes import leave_out_blank
from vlm4vla.data.demonstrations.matching import (
    FeatureChoice,
    check_bounds,
    check_statistics,
    choose,
    feature_statistics,
    narrow_percentiles,
)
from vlm4vla.data.demonstrations.rare_motion import RareMotion, keep_ranges, rare_motion
from vlm4vla.data.lerobot.hub import META, camera_patterns, dataset_folder
from vlm4vla.data.lerobot.metadata import Metadata, read_metadata
from vlm4vla.data.lerobot.reader import STATE
from vlm4vla.data.lerobot.video_check import check_videos
from vlm4vla.data.statistics import column_statistics

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
    choice = choose(metadata, wanted, key)
    patterns = camera_patterns(choice.camera, metadata.is_video(choice.camera))
    metadata = read_metadata(dataset_folder(wanted.dataset, wanted.revision, patterns, key))
    files = metadata.tables()
    metadata.check_tables()
    videos = None
    if metadata.is_video(choice.camera):
        videos = check_videos(metadata, metadata.videos(choice.camera))
    _clear_other_dataset(output, _copy_identity(metadata, choice))
    arrays = write_rows(metadata, choice, files, output / ROWS)
    kept = leave_out_blank(metadata, arrays, output / ROWS)
    left_out = kept.left_out
    if left_out.episodes:
        print(f"note: {metadata.folder}: {left_out.sentence()}", flush=True)
    counted = column_statistics(arrays["actions"])
    gripper = _convert_gripper(arrays, settings, str(metadata.folder), key)
    stats, rare = _statistics(metadata, choice, arrays, counted, kept.episodes, settings, key)
    if videos is None:
        copy_pictures(files, choice.camera, len(arrays["actions"]), output / PICTURES, kept.frames)
    length = metadata.episodes.length[kept.episodes]
    arrays |= {"first": np.cumsum(length) - length, "length": length}
    if videos is not None:
        arrays |= {"video_file": videos.file[kept.episodes], "video_start": videos.start[kept.episodes]}
    for name in ("first", "length", "video_file", "video_start"):
        if name in arrays:
            with atomic_path(output / ROWS / f"{name}.npy") as temporary:
                np.save(temporary, arrays[name], allow_pickle=False)
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
        tasks=kept.tasks,
        video_names=None if videos is None else videos.names,
        rows=sorted(arrays),
    )
    write_text(output / INDEX, record)
    _decode_first_and_last(output)
    written = [output / STATS, output / INDEX, *files_of(output / ROWS, "*.npy")]
    provenance.write(
        output / "provenance.json",
        source=_identity(metadata),
        frames=len(arrays["actions"]),
        **({"without_instruction": left_out.record()} if left_out.episodes else {}),
        **({"gripper": gripper} if gripper else {}),
        **({"rare_motion": {name: motion.to_json() for name, motion in rare.items()}} if rare else {}),
        files={str(path.relative_to(output)): file_hash(path) for path in written},
    )
    (output / UNFINISHED).unlink(missing_ok=True)


def _identity(metadata: Metadata) -> dict[str, Any]:
    """Identify a dataset without reading its frames: by its folder and the hashes of meta/."""
    meta = files_of(metadata.folder / "meta", "**/*")
    hashes = {str(path.relative_to(metadata.folder)): file_hash(path) for path in meta}
    return {"folder": str(metadata.folder.resolve()), "version": metadata.version, "files": hashes}


def _copy_identity(metadata: Metadata, choice: FeatureChoice) -> dict[str, Any]:
    """Identify the images that are copied: all images of a camera, or those with an instruction."""
    identity = {"source": _identity(metadata), "camera": choice.camera}
    return identity if None not in metadata.tasks else identity | {"only": "with an instruction"}


def _clear_other_dataset(output: Path, identity: dict[str, Any]) -> None:
    """Delete what an earlier run wrote to `output`, unless that run was interrupted on the same dataset."""
    text = canonical_json(identity) + "\n"
    mark = output / UNFINISHED
    if not (mark.is_file() and mark.read_text() == text):
        for part in (ROWS, PICTURES):
            shutil.rmtree(output / part, ignore_errors=True)
        write_text(mark, text)


def _convert_gripper(
    arrays: dict[str, np.ndarray], settings: DemonstrationsSettings, source: str, key: str
) -> dict[str, int]:
    """Check the gripper's values, and replace them by those of the benchmark.

    Returns the numbers of frames and episodes that did not have a clear command of their own, without zeros.
    """
    wanted, benchmark = settings.demonstrations, settings.benchmark
    column = arrays["actions"][:, POSE_SIZE]
    found = read_column(column, wanted_values(wanted, benchmark))
    check_column(found, wanted, benchmark, source, key)
    first = np.flatnonzero(np.diff(arrays["episode"], prepend=-1))
    converted = convert_column(column, first, wanted, benchmark)
    if found.between:
        print(
            f"note: {source}: {found.between} of {found.frames} frames have a gripper value between two "
            "commands, which counts as the nearer one",
            flush=True,
        )
    if converted.without_command:
        print(
            f"note: {source}: {converted.without_command} episodes have no gripper command: their gripper "
            "stays open",
            flush=True,
        )
    numbers = {
        "between_commands": found.between,
        "held": converted.held,
        "episodes_without_command": converted.without_command,
    }
    return {name: number for name, number in numbers.items() if number}


def _statistics(
    metadata: Metadata,
    choice: FeatureChoice,
    arrays: dict[str, np.ndarray],
    counted: dict[str, Any],
    episodes: np.ndarray,
    settings: DemonstrationsSettings,
    key: str,
) -> tuple[dict[str, Any], dict[str, RareMotion]]:
    """Compute and check the content of stats.json: statistics of the actions and, if present, of the states.

    `counted`: statistics of the actions before the gripper was converted. `episodes` (E,) bool: the episodes
    of the dataset that were not left out. Also returns the columns whose
    motion is rarer than the percentiles.
    """
    wanted, source = settings.demonstrations, str(metadata.folder)
    action = column_statistics(arrays["actions"])
    if wanted.statistics == "meta":
        where = f"{key}.statistics: {metadata.folder}/meta"
        stated = feature_statistics(metadata.stats(episodes), choice.action)
        stated = {name: _columns(stated[name], choice, f"{where}: {name}") for name in stated}
        if not {"min", "max"} <= set(stated):
            has = ", ".join(sorted(stated)) or "nothing"
            has += "" if episodes.all() else " (without the episodes that have no instruction)"
            raise UserError(
                f"{where}: has {has} of {choice.action!r}, but min and max are needed: write "
                "`statistics: data`, which computes them"
            )
        check_statistics(stated, counted, where)
        for name in stated.keys() & action.keys() - {"count"}:
            if len(stated[name]) != len(action[name]):
                raise UserError(
                    f"{where}: {name} of {choice.action!r} has {len(stated[name])} numbers, not "
                    f"{len(action[name])}: write `statistics: data`, which computes them"
                )
        for name in action:
            if name in stated and name != "count":
                action[name][:POSE_SIZE] = [float(value) for value in stated[name][:POSE_SIZE]]
        narrow = narrow_percentiles(arrays["actions"], action)
        if narrow:
            shares = ", ".join(f"{name} {share:.0%}" for name, share in narrow.items())
            print(
                f"note: {source}: these frames are outside the stated q01 to q99, where 2% are expected: "
                f"{shares}; `statistics: data` in {key} computes the percentiles of all frames",
                flush=True,
            )
    keep_ranges(action, wanted.keep_range or ())
    rare = rare_motion(arrays["actions"], action)
    for name, motion in rare.items():
        advice = f"`keep_range: [{', '.join(rare)}]` in {key} keeps it"
        print(f"note: {source}: {motion.describe(name)}; {advice}", flush=True)
    if wanted.bounds is not None:
        check_bounds(action, wanted.bounds, source, key)
        for name, bound in zip(("min", "max"), wanted.bounds, strict=True):
            action[name][:POSE_SIZE] = [bound] * POSE_SIZE
    stats = {"action": action}
    if "states" in arrays:
        stats[STATE] = column_statistics(arrays["states"])
    return stats, rare


def _columns(values: Any, choice: FeatureChoice, where: str) -> list[float]:
    """Return the statistic of the chosen columns. `where`: its place, for messages."""
    try:
        flat = np.ravel(np.asarray(values, dtype=float))
    except (TypeError, ValueError):
        flat = np.array([np.nan])
    indices = choice.action_columns
    chosen = flat[indices] if len(flat) > max(indices) else flat
    if not np.isfinite(chosen).all():
        raise UserError(
            f"{where} of {choice.action!r} has values that are no finite numbers: write `statistics: data`, "
            "which computes them"
        )
    return chosen.tolist()


def _decode_first_and_last(output: Path) -> None:
    """Read the first and the last image: errors of the decoder show now, and not during training."""
    index = open_index(output)
    pictures = FramePictures(index)
    try:
        for row in (0, len(index) - 1):
            pictures.picture(row)
    finally:
        pictures.close()
