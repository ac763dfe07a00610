"""The PNG codec compared with Pillow, in both directions."""

import io
from functools import partial

import numpy as np
import pytest
from PIL import Image

from vlm4vla.data.pictures.png import decode, encode, encode_small

FORMS = [encode, partial(encode, differences=True), encode_small]


@pytest.fixture
def picture():
    return np.random.default_rng(0).integers(0, 256, (12, 20, 3), dtype=np.uint8)


def by_pillow(image, form="PNG", **options):
    buffer = io.BytesIO()
    image.save(buffer, format=form, **options)
    return buffer.getvalue()


@pytest.mark.parametrize("form", FORMS)
def test_pillow_reads_encoded_images(picture, form):
    for shown in (picture, np.sort(picture, axis=1), picture[:1, :1]):
        with Image.open(io.BytesIO(form(shown))) as image:
            image.verify()  # checksums of all chunks
        np.testing.assert_array_equal(np.asarray(Image.open(io.BytesIO(form(shown)))), shown)


@pytest.mark.parametrize("form", FORMS)
def test_round_trip(picture, form):
    for shown in (picture, np.sort(picture, axis=1), picture[:1, :1]):
        np.testing.assert_array_equal(decode(form(shown)), shown)


def test_smooth_images_become_small():
    ramp = np.linspace(0, 255, 64, dtype=np.uint8)
    smooth = np.stack([np.broadcast_to(ramp, (64, 64)), np.broadcast_to(ramp[:, None], (64, 64))] * 2)[:3]
    smooth = np.ascontiguousarray(smooth.transpose(1, 2, 0))
    assert len(encode_small(smooth)) < smooth.size / 3 < len(encode(smooth)) / 3


@pytest.mark.parametrize("level", [0, 6])
def test_images_of_pillow_are_decoded(picture, level):
    smooth = np.sort(picture, axis=1)  # Pillow uses filters for this image
    for image in (picture, smooth):
        np.testing.assert_array_equal(decode(by_pillow(Image.fromarray(image), compress_level=level)), image)


def test_other_modes_become_rgb(picture):
    image = Image.fromarray(picture)
    for other in (image.convert("RGBA"), image.convert("L"), image.convert("P")):
        np.testing.assert_array_equal(decode(by_pillow(other)), np.asarray(other.convert("RGB")))
    assert decode(by_pillow(image, "JPEG")).shape == picture.shape


@pytest.mark.parametrize("form", FORMS)
def test_damaged_images_are_refused(picture, form):
    data = bytearray(form(picture))
    data[60:64] = b"\xff\xff\xff\xff"
    for broken in (b"no image", form(picture)[:200], bytes(data)):
        with pytest.raises(OSError):
            decode(broken)
