#!/bin/bash
# Finding: Pillow ignores the transparent value of grey PNGs with 2 or 4 bits per pixel, or makes other pixels
# transparent. It scales the pixels to 0..255 when it decodes them, but keeps the value of the tRNS chunk, which
# has the bits of the file. So the image processors of transformers, which compose transparency on white, and
# datasets show the black or grey ground of such a drawing.
#
# Version: Pillow 13.0.0, Python 3.11. By the PNG specification (ISO/IEC 15948, 11.3.2), the value of tRNS is
# compared with the samples before they are scaled. The same four pixels, with the second one transparent:
#
#     8 bits, as (0, 85, 170, 255), key 85: opacity [255, 0, 255, 255]
#     4 bits, as (0, 5, 10, 15), key 5:     opacity [255, 255, 255, 255]
#     2 bits, as (0, 1, 2, 3), key 1:       opacity [255, 255, 255, 255]
#
# Pictures of 1, 8 and 16 bits are right. Exits non-zero if Pillow behaves differently.
set -euo pipefail
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
cd "$folder"
"${PYTHON:-python3.11}" -m venv venv
venv/bin/python -m pip install --quiet pillow==13.0.0

venv/bin/python - <<'END'
import io, struct, zlib
from PIL import Image


def chunk(name, content):
    return struct.pack(">I", len(content)) + name + content + struct.pack(">I", zlib.crc32(name + content))


def opacity(bits, row, key):
    header = struct.pack(">IIBBBBB", 4, 1, bits, 0, 0, 0, 0)
    data = b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", header) + chunk(b"tRNS", struct.pack(">H", key))
    data += chunk(b"IDAT", zlib.compress(b"\0" + row)) + chunk(b"IEND", b"")
    image = Image.open(io.BytesIO(data))
    assert list(image.convert("L").tobytes()) == [0, 85, 170, 255]
    found = list(image.convert("RGBA").getchannel("A").tobytes())
    print(f"{bits} bits, key {key}: opacity {found}")
    return found


assert opacity(8, bytes([0, 85, 170, 255]), 85) == [255, 0, 255, 255]
assert opacity(4, bytes([0x05, 0xAF]), 5) == [255, 255, 255, 255]
assert opacity(2, bytes([0b00011011]), 1) == [255, 255, 255, 255]
END
