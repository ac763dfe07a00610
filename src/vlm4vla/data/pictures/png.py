"""PNG pictures that any program reads, written so that they are read back fast.

Every training decodes every frame, so decoding counts: 51 trainings of some ten thousand frames. Pixels are
stored, not deflated and not filtered; the table that holds the pictures is compressed instead, which also
sees that one frame resembles the next. Reading such a picture takes a twentieth of Pillow's time for a
deflated one. Other PNGs (and JPEGs) are read by Pillow.
"""

from __future__ import annotations

import io
import struct
import zlib

import numpy as np

SIGNATURE = b"\x89PNG\r\n\x1a\n"
HEADER = struct.Struct(">IIBBBBB")  # width, height, bits, colour type, compression, filter, interlace
RGB = (8, 2, 0, 0, 0)  # 8 bits a channel, true colour, not interlaced
DATA_START = len(SIGNATURE) + 12 + HEADER.size  # where the chunk after the header begins


def encode(image: np.ndarray) -> bytes:
    """A picture (H, W, 3) uint8 as PNG (ISO/IEC 15948), stored and unfiltered."""
    height, width, _ = image.shape
    rows = np.zeros((height, 1 + 3 * width), dtype=np.uint8)  # each row starts with its filter: 0, none
    rows[:, 1:] = image.reshape(height, 3 * width)
    return b"".join(
        (
            SIGNATURE,
            _chunk(b"IHDR", HEADER.pack(width, height, *RGB)),
            _chunk(b"IDAT", zlib.compress(rows.tobytes(), 0)),
            _chunk(b"IEND", b""),
        )
    )


def decode(data: bytes) -> np.ndarray:
    """A picture's bytes to (H, W, 3) uint8; what is not as `encode` writes it goes through Pillow.

    Raises OSError when the bytes are no whole picture.
    """
    if data[:8] == SIGNATURE and len(data) > DATA_START + 8:
        width, height, *kind = HEADER.unpack_from(data, 16)
        length = int.from_bytes(data[DATA_START : DATA_START + 4], "big")
        end = DATA_START + 8 + length
        single = data[DATA_START + 4 : DATA_START + 8] == b"IDAT" and data[end + 8 : end + 12] == b"IEND"
        if tuple(kind) == RGB and single:
            try:
                pixels = zlib.decompress(data[DATA_START + 8 : end], bufsize=height * (1 + 3 * width))
            except zlib.error as error:
                raise OSError(f"broken PNG: {error}") from None
            rows = np.frombuffer(pixels, dtype=np.uint8).reshape(height, 1 + 3 * width)
            if not rows[:, 0].any():
                return rows[:, 1:].reshape(height, width, 3)
    from PIL import Image

    with Image.open(io.BytesIO(data)) as image:
        return np.asarray(image.convert("RGB"))


def _chunk(name: bytes, content: bytes) -> bytes:
    return struct.pack(">I", len(content)) + name + content + struct.pack(">I", zlib.crc32(name + content))
