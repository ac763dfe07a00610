"""Read the times at which a video shows its frames, from its packets, without decoding them."""

from __future__ import annotations

from pathlib import Path

import numpy as np

from vlm4vla.core.errors import UserError
from vlm4vla.data.pictures.timeline import AGAIN, AS_MP4, can_seek, open_video


def frame_times(path: Path) -> np.ndarray:
    """Return the time in seconds of each frame of a video, (N,) float64, in the order of presentation.

    A video has one packet per frame. Packets that an edit list cuts away are not shown and do not count. As
    for `VideoFile.frame`, the times in files other than mp4 and Matroska count from the first frame. AVI
    files with B-frames have times of decoding only, which are as many and as far apart. Raises UserError if
    the file is no complete video, or if a frame has no time.
    """
    import av

    if not path.is_file():
        raise UserError(f"{path}: not found: {AGAIN}")
    container, stream = open_video(path)
    try:
        shown = [packet for packet in container.demux(stream) if packet.size and not packet.is_discard]
        ticks = [packet.pts for packet in shown]
        if None in ticks:
            ticks = [packet.dts for packet in shown]
        base, absolute = stream.time_base, can_seek(container)
    except (av.error.FFmpegError, OSError) as error:
        raise UserError(f"{path}: not a complete video ({error}): {AGAIN}") from None
    finally:
        container.close()
    if base is None or None in ticks:
        raise UserError(f"{path}: has frames without a time: {AS_MP4}")
    times = np.sort(np.array(ticks, dtype=np.int64)) * float(base)
    return times if absolute else times - times[:1]
