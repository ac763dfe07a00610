"""Compare the videos of a dataset with its meta/: the number of frames, and the time of each frame.

A video that lacks frames, or has too many, shifts every picture after them: the policy then learns from
pictures that belong to other actions. Reading single frames shows this only by chance.
"""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from pathlib import Path

import numpy as np

from vlm4vla.core.errors import UserError
from vlm4vla.core.progress import Progress
from vlm4vla.data.lerobot.metadata import Metadata, Videos
from vlm4vla.data.pictures.video_times import frame_times

NEAR = 0.25  # frames; a frame's time in a video may differ from its time in the table by so much
READERS = 4  # threads; reading a file releases the interpreter lock
_AGAIN = "download the dataset again, or write it again"


def check_videos(metadata: Metadata, videos: Videos) -> Videos:
    """Check all files of one camera. Returns `videos` with the starts at which the files show the episodes.

    The files are read but not decoded. A file may begin at a whole number of frames after 0, which is the
    delay of an encoder; then this delay is added to the starts. Raises UserError for a file with more or
    fewer frames than its episodes have, and if a frame is not within `NEAR` frames of its time in meta/.
    """
    rows = [np.flatnonzero(videos.file == number) for number in range(len(videos.names))]
    start = videos.start.copy()
    progress = Progress(f"videos of {metadata.folder.name}", len(rows))
    paths = [metadata.folder / name for name in videos.names]
    with ThreadPoolExecutor(READERS) as pool:
        try:
            for number, times in enumerate(pool.map(frame_times, paths)):
                own = rows[number][np.argsort(videos.start[rows[number]], kind="stable")]
                start[own] += _delay(metadata, videos, own, times, paths[number])
                progress.update(number + 1)
        finally:
            pool.shutdown(cancel_futures=True)
    return replace(videos, start=start)


def _delay(metadata: Metadata, videos: Videos, rows: np.ndarray, times: np.ndarray, path: Path) -> float:
    """Return the seconds by which a file shows its episodes later than meta/ states; 0 in most files.

    `rows`: the episodes of the file, in the order of their starts. `times`: the file's frame times.
    """
    fps, length = metadata.fps, metadata.episodes.length[rows]
    names, total = metadata.episodes.index[rows], int(length.sum())
    if len(times) != total:
        rate = _rate(times)
        at = "" if abs(rate / fps - 1) < 0.01 or not np.isfinite(rate) else f" ({rate:g} per second)"
        last = f" to {names[-1]}" if len(rows) > 1 else ""
        raise UserError(
            f"{path}: shows {len(times)} frames{at}, but by meta/ it has {total} frames (at {fps:g} Hz) of "
            f"episode {names[0]}{last}: {_AGAIN}"
        )
    delay = float(times[0]) if videos.start[rows[0]] == 0 else 0.0
    if delay * fps < NEAR or abs(delay * fps - round(delay * fps)) > NEAR:
        delay = 0.0
    first = 0
    for row, episode, count in zip(rows, names, length, strict=True):
        shown = times[first : first + count] - delay
        away = (shown - videos.start[row]) * fps - np.arange(count)
        if abs(away[0]) > NEAR:
            raise UserError(
                f"{path}: shows the first frame of episode {episode} at {shown[0]:g} s, but meta/ has "
                f"{videos.start[row]:g} s, {abs(away[0]):.2g} frames away: {_AGAIN}"
            )
        if (np.abs(away) > NEAR).any():
            raise UserError(f"{path}: episode {episode} {_wrong_times(shown, away, fps)}: {_AGAIN}")
        first += count
    return delay


def _wrong_times(shown: np.ndarray, away: np.ndarray, fps: float) -> str:
    """Describe why the frames of an episode are not shown at multiples of 1 / `fps` seconds."""
    rate = _rate(shown)
    even = np.abs((shown - shown[0]) * rate - np.arange(len(shown))).max() <= NEAR
    if even and abs(rate / fps - 1) > 1e-4:
        return f"is shown at {rate:.6g} frames per second, but info.json has fps {fps:g}"
    frame = int(np.argmax(np.abs(away) > NEAR))
    return (
        f"shows frame {frame} at {shown[frame]:g} s, where info.json's fps {fps:g} gives "
        f"{shown[frame] - away[frame] / fps:g} s"
    )


def _rate(times: np.ndarray) -> float:
    """Return the mean number of frames per second, or NaN if it is undefined."""
    seconds = times[-1] - times[0] if len(times) else 0
    return float((len(times) - 1) / seconds) if seconds > 0 else np.nan
