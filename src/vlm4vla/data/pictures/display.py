"""Decoded video frames as a player displays them: turned and mirrored by the display matrix of the file.

Interlaced frames are returned as they are stored, with the lines of both fields.
"""

from __future__ import annotations

import struct
from typing import Any

import numpy as np

STORED = struct.Struct("=9i")  # a, b, u, c, d, v, x, y, w; ISO/IEC 14496-12, section 8.3.2
Matrix = tuple[int, int, int, int]  # a, b, c, d
IDENTITY = (1, 0, 0, 1)


def display_matrix(frame: Any) -> Matrix:
    """Return the display matrix of a frame of PyAV.

    It takes the stored column x and row y to the displayed column a x + c y and row b x + d y.
    """
    data = frame.side_data.get("DISPLAYMATRIX")
    if data is None:
        return IDENTITY
    a, b, _, c, d, _, _, _, _ = STORED.unpack(bytes(data)[: STORED.size])
    return a, b, c, d


def upright(frame: Any, matrix: Matrix) -> np.ndarray:
    """Return a frame of PyAV as displayed, (H, W, 3) uint8.

    Raises ValueError if `matrix` turns the frame by an angle that is not a multiple of 90 degrees.
    """
    pixels = frame.to_ndarray(format="rgb24")
    a, b, c, d = matrix
    if not (b or c) and a > 0 and d > 0:
        return pixels
    if not (b or c) and a and d:
        columns, rows = a, d
    elif not (a or d) and b and c:
        pixels, columns, rows = pixels.swapaxes(0, 1), c, b
    else:
        raise ValueError("is turned by an angle that is not a multiple of 90 degrees: write upright frames")
    return np.ascontiguousarray(pixels[:: 1 if rows > 0 else -1, :: 1 if columns > 0 else -1])
