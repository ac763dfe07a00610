"""The decoder of encoded pictures that all readers use: a picture becomes RGB as its maker sees it.

- Transparent pixels are composed on white, as the image processors of transformers do it
  (`transformers.image_transforms.convert_to_rgb`). A transparent colour in PNG counts as transparency.
- The orientation in EXIF is applied, as `transformers.image_utils.load_image` and `datasets.Image` do it.
- 16-bit grey values are scaled by their range. Pillow would clip them, which makes nearly all of them white.
- The first picture of an animation or of a file with several pages is used.

The size that a file states is checked before its pixels are decoded: a small file can state a picture that
fills the memory. Of the formats that Pillow knows, only those of `FORMATS` are read; others, such as EPS,
start another program.

Pictures without a known range of colours (floats, 32-bit integers, LAB) are refused.
"""

from __future__ import annotations

import io
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np

TIFF_BITS, TIFF_PHOTOMETRIC = 258, 262  # tags; TIFF 6.0, section 8
WHITE_IS_ZERO = 0  # value of TIFF_PHOTOMETRIC
MOST_PIXELS = 50_000_000  # width x height; as RGBA on its white ground, three times 200 MB
FORMATS = ("PNG", "JPEG", "MPO", "WEBP", "GIF", "BMP", "DIB", "TIFF", "PPM", "TGA", "JPEG2000", "AVIF")
RIFF_START = 30  # bytes of a WebP file up to the end of its size
SMALLEST = (1, 1)  # requested size of a JPEG, for an eighth of its width and height
GREY_BITS = {"L;2": 2, "L;4": 4}  # bits of a grey PNG by Pillow's raw mode; 1 and 8 bits need no scaling
JPEG_START, JPEG_END = b"\xff\xd8\xff", b"\xff\xd9"
LONGEST_END = 64  # bytes that are searched for the end; some programs append a few others
_AS_8_BIT = "save it as RGB with 8 bits per channel"


class PictureError(OSError):
    """A picture cannot be decoded. The message says why and what to write instead, without the file."""


def shown_picture(source: bytes | Path) -> Any:
    """Decode a picture, from its encoded bytes or from a file, to a Pillow image of the mode RGB.

    Raises PictureError.
    """
    with _opened(source) as image:
        raw_mode = str(image.tile[0].args) if image.tile else ""
        image.load()
        _turn_upright(image)
        return _rgb(image, raw_mode)


def check_picture(source: bytes | Path) -> None:
    """Raise PictureError if `shown_picture` would, in less time.

    The checksums of a PNG are verified, and a JPEG is decoded to an eighth of its size.
    """
    with _opened(source) as image:
        raw_mode = str(image.tile[0].args) if image.tile else ""
        if image.format == "PNG" and not raw_mode.startswith("RGB;16"):
            image.verify()
            return
        image.draft(None, SMALLEST)
        image.load()
        _rgb(image, raw_mode)


@contextmanager
def _opened(source: bytes | Path) -> Iterator[Any]:
    """Open a picture. Every error until the end of the context becomes a PictureError."""
    from PIL import Image, UnidentifiedImageError

    try:
        _check_webp(source)
        with Image.open(io.BytesIO(source) if isinstance(source, bytes) else source) as image:
            if image.format not in FORMATS:
                raise PictureError(f"a file of the format {image.format}: save it as PNG or JPEG")
            check_size(*image.size)
            yield image
    except PictureError:
        raise
    except UnidentifiedImageError:
        raise PictureError("no picture that Pillow knows: replace it with the complete file") from None
    except Image.DecompressionBombError as error:  # before Pillow returns the image with its size
        raise PictureError(f"{_one_line(error)}: write a smaller picture") from None
    except Exception as error:  # Pillow raises errors of many types for damaged files
        raise PictureError(f"{_one_line(error)}: replace it with the complete file") from None


def check_size(width: int, height: int) -> None:
    """Raise PictureError for a picture or a video that is too large to be decoded."""
    if width * height > MOST_PIXELS:
        raise PictureError(
            f"has {width} x {height} pixels, more than {MOST_PIXELS:,}: write a smaller picture"
        )


def _check_webp(source: bytes | Path) -> None:
    """Check the size that a WebP file states. Pillow reserves memory for it when it opens the file.

    The three kinds of a file's first chunk: https://developers.google.com/speed/webp/docs/riff_container
    """
    if isinstance(source, bytes):
        start = source[:RIFF_START]
    else:
        with source.open("rb") as file:
            start = file.read(RIFF_START)
    if start[:4] != b"RIFF" or start[8:12] != b"WEBP" or len(start) < RIFF_START:
        return
    match start[12:16]:
        case b"VP8X":
            width, height = (int.from_bytes(start[at : at + 3], "little") + 1 for at in (24, 27))
        case b"VP8L":
            bits = int.from_bytes(start[21:25], "little")
            width, height = (bits & 0x3FFF) + 1, (bits >> 14 & 0x3FFF) + 1
        case b"VP8 ":
            width, height = (int.from_bytes(start[at : at + 2], "little") & 0x3FFF for at in (26, 28))
        case _:
            return
    check_size(width, height)


def check_encoded(data: bytes) -> None:
    """Raise PictureError if an encoded picture is damaged, as `check_picture` does.

    Of a JPEG, which has no checksums, only its size and its end are checked: to decode all pictures of a
    dataset takes too long.
    """
    if data.startswith(JPEG_START) and JPEG_END in data[-LONGEST_END:]:
        with _opened(data):
            return
    check_picture(data)


def _one_line(error: Exception) -> str:
    return " ".join(str(error).split()).rstrip(".") or type(error).__name__


def _turn_upright(image: Any) -> None:
    """Apply the orientation in EXIF or XMP. Damaged EXIF data counts as no orientation, as in viewers."""
    from PIL import ImageOps

    try:
        orientation = image.getexif().get(0x0112)
    except Exception:  # Pillow raises errors of many types for damaged EXIF data
        return
    if orientation is not None:
        ImageOps.exif_transpose(image, in_place=True)


def _rgb(image: Any, raw_mode: str) -> Any:
    """Return a loaded image as RGB. `raw_mode`: Pillow's name of the layout of the encoded pixels."""
    from PIL import Image

    key = image.info.get("transparency")
    if image.mode.startswith("I;16") or (image.mode == "I" and image.format == "PPM"):
        return _scaled_grey(image, key)
    if image.mode in ("I", "F"):
        kind = "32-bit integer" if image.mode == "I" else "float"
        raise PictureError(f"its pixels are {kind} numbers, whose range is not known: {_AS_8_BIT}")
    if image.mode in ("LAB", "HSV"):
        raise PictureError(f"its colours are {image.mode}, which Pillow does not convert: {_AS_8_BIT}")
    if not image.has_transparency_data:
        return image.convert("RGB")
    if image.mode == "RGB" and raw_mode.startswith("RGB;16"):
        raise PictureError(f"has 16 bits per channel and a transparent colour: {_AS_8_BIT}")
    if raw_mode in GREY_BITS and isinstance(key, int):
        # Pillow scales the pixels to 0..255, but not the transparent value.
        image.info["transparency"] = key * 255 // (2 ** GREY_BITS[raw_mode] - 1)
    if image.mode in ("La", "RGBa"):
        image = image.convert({"La": "LA", "RGBa": "RGBA"}[image.mode])
    ground = Image.new("RGBA", image.size, (255, 255, 255, 255))
    return Image.alpha_composite(ground, image.convert("RGBA")).convert("RGB")


def _scaled_grey(image: Any, key: int | None) -> Any:
    """Return 16-bit grey as RGB: values are scaled by the range, and the value `key` becomes white."""
    from PIL import Image

    tags = getattr(image, "tag_v2", {})
    bits = int(np.ravel(tags.get(TIFF_BITS, 16))[0])
    every = np.arange(1 << 16)  # the values of a pixel; a table of them needs less memory than the picture
    grey = (every * 255 * 2 + (1 << bits) - 1) // (2 * ((1 << bits) - 1))  # rounded
    if tags.get(TIFF_PHOTOMETRIC) == WHITE_IS_ZERO:
        grey = 255 - grey
    grey = np.clip(grey, 0, 255).astype(np.uint8)
    if isinstance(key, int):
        grey[every == key] = 255
    return Image.fromarray(grey[np.asarray(image)]).convert("RGB")
