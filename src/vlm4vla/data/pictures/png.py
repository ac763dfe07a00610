"""PNG images that any program can read, written so that this module decodes them fast.

Decoding time matters, because every training run decodes every frame: 51 runs over some ten thousand frames.
So `encode` stores the pixels of frames without deflate compression and without filters. The table that holds
the frames is compressed instead, which also uses the similarity of consecutive frames. Decoding such an image
takes a twentieth of the time that Pillow needs for a deflated one. The noise of a camera makes consecutive
frames differ in every pixel, and such a table does not become smaller. For them, `encode` stores the
differences of neighbours, which the table's compression makes a fifth smaller.

Images that have nothing to do with each other do not gain from the table's compression. `encode_small` is for
them: filter Sub in every row, and Huffman codes without a search for repetitions. Decoding takes half of
Pillow's time. Pillow decodes all other PNGs, and JPEGs.
"""

from __future__ import annotations

import struct
import zlib

import numpy as np

from vlm4vla.data.pictures.decoding import MOST_PIXELS, shown_picture

SIGNATURE = b"\x89PNG\r\n\x1a\n"
HEADER = struct.Struct(">IIBBBBB")  # width, height, bits, colour type, compression, filter, interlace
RGB = (8, 2, 0, 0, 0)  # 8 bits per channel, true colour, not interlaced
SUB = 1  # the filter that subtracts the pixel to the left
DATA_START = len(SIGNATURE) + 12 + HEADER.size  # offset of the chunk after the header


def encode(image: np.ndarray, *, differences: bool = False) -> bytes:
    """Encode an image (H, W, 3) uint8 as PNG (ISO/IEC 15948), stored.

    `differences`: with filter Sub instead of no filter.
    """
    height, width, _ = image.shape
    if differences:
        rows = _differences(image)
    else:
        rows = np.zeros((height, 1 + 3 * width), dtype=np.uint8)  # a row starts with its filter; 0 is none
        rows[:, 1:] = image.reshape(height, 3 * width)
    return _file(width, height, zlib.compress(rows.tobytes(), 0))


def encode_small(image: np.ndarray) -> bytes:
    """Encode an image (H, W, 3) uint8 as PNG with filter Sub and Huffman codes, in about half the bytes."""
    height, width, _ = image.shape
    stream = zlib.compressobj(strategy=zlib.Z_HUFFMAN_ONLY)
    return _file(width, height, stream.compress(_differences(image).tobytes()) + stream.flush())


def _differences(image: np.ndarray) -> np.ndarray:
    """The rows of an image with filter Sub: (H, 1 + 3 * W) uint8."""
    height, width, _ = image.shape
    pixels = image.reshape(height, 3 * width)
    rows = np.empty((height, 1 + 3 * width), dtype=np.uint8)
    rows[:, 0] = SUB
    rows[:, 1:4] = pixels[:, :3]
    rows[:, 4:] = pixels[:, 3:] - pixels[:, :-3]  # modulo 256, as the standard asks
    return rows


def _file(width: int, height: int, data: bytes) -> bytes:
    header = _chunk(b"IHDR", HEADER.pack(width, height, *RGB))
    return SIGNATURE + header + _chunk(b"IDAT", data) + _chunk(b"IEND", b"")


def decode(data: bytes) -> np.ndarray:
    """Decode the bytes of an image to (H, W, 3) uint8.

    Everything that the functions above do not write goes to `shown_picture`. Raises OSError, with the reason
    and what to write instead, if the bytes are not a complete image.
    """
    if data[:8] == SIGNATURE and len(data) > DATA_START + 8:
        width, height, *kind = HEADER.unpack_from(data, 16)
        length = int.from_bytes(data[DATA_START : DATA_START + 4], "big")
        end = DATA_START + 8 + length
        single = data[DATA_START + 4 : DATA_START + 8] == b"IDAT" and data[end + 8 : end + 12] == b"IEND"
        if tuple(kind) == RGB and single and 0 < width * height <= MOST_PIXELS:
            try:
                pixels = _inflated(data[DATA_START + 8 : end], height * (1 + 3 * width))
                rows = np.frombuffer(pixels, dtype=np.uint8).reshape(height, 1 + 3 * width)
            except (zlib.error, ValueError) as error:
                raise OSError(f"damaged PNG ({error}): replace it with the complete file") from None
            filters = rows[:, 0]
            if not filters.any():
                return rows[:, 1:].reshape(height, width, 3)
            if (filters == SUB).all():
                differences = rows[:, 1:].reshape(height, width, 3)
                return np.add.accumulate(differences, axis=1, dtype=np.uint8)
    return np.asarray(shown_picture(data))


def _inflated(data: bytes, size: int) -> bytes:
    """The `size` bytes that were compressed to `data`. Raises ValueError if there are more or fewer."""
    stream = zlib.decompressobj()
    found = stream.decompress(data, size + 1)  # one more, so that the checksum at the end is read
    if len(found) != size or not stream.eof:
        raise ValueError(f"its pixels are not {size} bytes")
    return found


def _chunk(name: bytes, content: bytes) -> bytes:
    return struct.pack(">I", len(content)) + name + content + struct.pack(">I", zlib.crc32(name + content))
