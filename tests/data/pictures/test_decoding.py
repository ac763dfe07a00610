"""The decoder of pictures, compared with transformers, datasets, Pillow and closed forms."""

from __future__ import annotations

import io
import struct
import zlib

import datasets
import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from PIL import Image, ImageCms, ImageDraw
from transformers.image_transforms import convert_to_rgb
from transformers.image_utils import load_image

from vlm4vla.core.errors import UserError
from vlm4vla.data.demonstrations.encoded_pictures import EncodedPictures, copy_pictures
from vlm4vla.data.pictures.decoding import PictureError, check_encoded, shown_picture
from vlm4vla.data.pictures.files import PictureFile, decode_picture, picture_problem
from vlm4vla.data.pictures.png import decode

ORIENTATION = 0x0112


def photograph(height=40, width=56):
    """Return a smooth picture whose corners have four colours."""
    rows, columns = np.mgrid[0:height, 0:width]
    red, green = rows * 255 // (height - 1), columns * 255 // (width - 1)
    return np.stack([red, green, 255 - (red + green) // 2], -1).astype(np.uint8)


def saved(image, form, **options):
    buffer = io.BytesIO()
    image.save(buffer, form, **options)
    return buffer.getvalue()


def opened(data):
    return Image.open(io.BytesIO(data))


def pixels(data):
    return np.asarray(shown_picture(data))


def drawing():
    """Return a drawing in colour on a transparent ground, with lines of every opacity."""
    image = Image.new("RGBA", (60, 50), (0, 0, 0, 0))
    pen = ImageDraw.Draw(image)
    for row in range(50):
        pen.line((10, row, 40, row), fill=(200, 40, 90, row * 5))
    pen.rectangle((45, 5, 55, 45), fill=(0, 0, 0, 255))
    return image


def png(width, bits, colour_type, rows, *chunks):
    """Write a PNG by ISO/IEC 15948: `rows` are the packed bytes of each row."""

    def chunk(name, content):
        check = zlib.crc32(name + content)
        return struct.pack(">I", len(content)) + name + content + struct.pack(">I", check)

    header = struct.pack(">IIBBBBB", width, len(rows), bits, colour_type, 0, 0, 0)
    packed = zlib.compress(b"".join(b"\0" + row for row in rows))
    parts = [chunk(b"IHDR", header), *(chunk(*each) for each in chunks), chunk(b"IDAT", packed)]
    return b"\x89PNG\r\n\x1a\n" + b"".join(parts) + chunk(b"IEND", b"")


# Ordinary pictures --------------------------------------------------------------------------------------


FORMS = {form: ("RGB", "L", "1", "P") for form in ("PNG", "WEBP", "BMP", "TIFF", "GIF", "AVIF", "TGA")}
FORMS |= {"JPEG": ("RGB", "L", "1"), "JPEG2000": ("RGB", "L")}  # the other modes cannot be written


@pytest.mark.parametrize(("form", "mode"), [(form, mode) for form, modes in FORMS.items() for mode in modes])
def test_ordinary_pictures_equal_both_libraries(form, mode, tmp_path):
    data = saved(Image.fromarray(photograph()).convert(mode), form)
    path = tmp_path / "picture"
    path.write_bytes(data)
    found = pixels(data)
    np.testing.assert_array_equal(found, np.asarray(load_image(str(path))))
    as_rgb = datasets.Image(mode="RGB").decode_example({"bytes": data, "path": None})
    np.testing.assert_array_equal(found, np.asarray(as_rgb))
    np.testing.assert_array_equal(np.asarray(shown_picture(path)), found)
    np.testing.assert_array_equal(decode(data), found)


@pytest.mark.parametrize("form", ["JPEG", "TIFF"])
@pytest.mark.parametrize("mode", ["CMYK", "YCbCr"])
def test_printing_and_video_colours_equal_transformers(form, mode, tmp_path):
    """Pillow writes CMYK as Adobe does, with inverted inks; a reader that ignores it shows a negative."""
    path = tmp_path / "picture"
    path.write_bytes(saved(Image.fromarray(photograph()).convert(mode), form))
    found = np.asarray(shown_picture(path))
    np.testing.assert_array_equal(found, np.asarray(load_image(str(path))))
    assert np.abs(found.astype(int) - photograph()).mean() < 12


def test_the_first_picture_of_several_is_used():
    pages = [Image.fromarray(np.full((9, 9, 3), level, np.uint8)) for level in (40, 220)]
    for form in ("GIF", "WEBP", "PNG", "TIFF"):
        options = {"lossless": True} if form == "WEBP" else {}
        data = saved(pages[0], form, save_all=True, append_images=pages[1:], **options)
        assert opened(data).n_frames == 2
        assert (pixels(data) == 40).all(), form


# Transparency -------------------------------------------------------------------------------------------


FORMS_WITH_OPACITY = {form: ("RGBA", "LA", "P") for form in ("PNG", "WEBP", "AVIF", "TGA")}
FORMS_WITH_OPACITY |= {"TIFF": ("RGBA", "LA"), "JPEG2000": ("RGBA", "LA"), "GIF": ("RGBA",)}


@pytest.mark.parametrize(
    ("form", "mode"), [(form, mode) for form, modes in FORMS_WITH_OPACITY.items() for mode in modes]
)
def test_transparency_is_composed_on_white_as_by_the_processors(form, mode):
    image = drawing().quantize(16) if mode == "P" else drawing().convert(mode)
    data = saved(image, form, **({"lossless": True} if form == "WEBP" else {}))
    assert opened(data).has_transparency_data
    found = pixels(data)
    if (form, mode) != ("TGA", "P"):  # transformers does not see the opacity in a palette of 32 bits
        np.testing.assert_array_equal(found, convert_to_rgb(opened(data), return_numpy=True))
    assert found[2, 2].min() > 235 and found[25, 50].max() < 30  # white ground, black bar
    np.testing.assert_array_equal(decode(data), found)


def test_half_transparent_pixels_are_mixed_with_white():
    data = saved(Image.new("RGBA", (4, 4), (100, 0, 200, 51)), "PNG")
    expected = [round(255 + (value - 255) * 51 / 255) for value in (100, 0, 200)]
    assert np.abs(pixels(data)[0, 0].astype(int) - expected).max() <= 1


def test_premultiplied_colours_are_divided_by_their_opacity():
    """A TIFF with associated alpha (ExtraSamples 1) stores colour times opacity."""
    straight = Image.new("RGBA", (4, 4), (200, 100, 40, 128))
    stored = bytes(round(value * 128 / 255) for value in (200, 100, 40)) + b"\x80"
    data = bytearray(saved(Image.frombytes("RGBA", (4, 4), stored * 16), "TIFF"))
    entry = data.index(struct.pack("<HHI", 338, 3, 1))
    data[entry + 8 : entry + 10] = struct.pack("<H", 1)
    data = bytes(data)
    expected = convert_to_rgb(straight, return_numpy=True)
    assert opened(data).tag_v2[338] == (1,)
    assert np.abs(pixels(data).astype(int) - expected).max() <= 2


def key(*values):
    return b"tRNS", struct.pack(f">{len(values)}H", *values)


@pytest.mark.parametrize(
    ("data", "expected"),
    [
        (png(4, 8, 0, [bytes([0, 90, 200, 255])], key(90)), [0, 255, 200, 255]),
        (png(4, 8, 0, [bytes([0, 90, 200, 255])], key(0)), [255, 90, 200, 255]),
        (png(4, 4, 0, [b"\x05\x9f"], key(5)), [0, 255, 153, 255]),
        (png(4, 2, 0, [b"\x1b"], key(2)), [0, 85, 255, 255]),
        (png(8, 1, 0, [b"\x55"], key(0)), [255] * 8),
        (png(8, 1, 0, [b"\x55"], key(1)), [0, 255] * 4),
        (png(4, 16, 0, [struct.pack(">4H", 0, 257, 25700, 65535)], key(257)), [0, 255, 100, 255]),
        (png(2, 8, 2, [bytes([9, 9, 9, 9, 9, 8])], key(9, 9, 9)), [255, 9]),
        (png(4, 2, 3, [b"\x1b"], (b"PLTE", bytes(range(12))), (b"tRNS", b"\xff\x00")), [0, 255, 6, 9]),
    ],
)
def test_a_transparent_colour_of_png_becomes_white(data, expected):
    """By ISO/IEC 15948, 11.3.2: the transparent value has the bits of the file's samples."""
    assert pixels(data)[0, :, 0].tolist() == expected


def test_a_transparent_colour_of_16_bits_per_channel_is_refused():
    row = struct.pack(">6H", 257, 257, 257, 258, 257, 257)
    with pytest.raises(PictureError, match="16 bits per channel and a transparent colour"):
        shown_picture(png(2, 16, 2, [row], key(257, 257, 257)))
    assert pixels(png(2, 16, 2, [row]))[0].tolist() == [[1, 1, 1], [1, 1, 1]]


# Orientation --------------------------------------------------------------------------------------------

TURNS = {  # EXIF 2.32, 4.6.4: where row 0 and column 0 of the stored picture are shown
    1: lambda p: p,
    2: lambda p: p[:, ::-1],
    3: lambda p: p[::-1, ::-1],
    4: lambda p: p[::-1],
    5: lambda p: p.swapaxes(0, 1),
    6: lambda p: p.swapaxes(0, 1)[:, ::-1],
    7: lambda p: p.swapaxes(0, 1)[::-1, ::-1],
    8: lambda p: p.swapaxes(0, 1)[::-1],
}
LOSSLESS = {
    "PNG": {},
    "WEBP": {"lossless": True, "exact": True},
    "TIFF": {},
    "TIFF LZW": {"compression": "tiff_lzw"},
    "JPEG": {"quality": 100, "subsampling": 0},
}


@pytest.mark.parametrize("orientation", TURNS)
@pytest.mark.parametrize("form", LOSSLESS)
def test_a_picture_is_turned_by_its_orientation(form, orientation):
    exif = Image.Exif()
    exif[ORIENTATION] = orientation
    data = saved(Image.fromarray(photograph()), form.split()[0], exif=exif, **LOSSLESS[form])
    found = pixels(data)
    expected = TURNS[orientation](photograph())
    assert found.shape == expected.shape
    assert np.abs(found.astype(int) - expected).max() <= (3 if form == "JPEG" else 0)
    shown = datasets.Image(mode="RGB").decode_example({"bytes": data, "path": None})
    np.testing.assert_array_equal(found, np.asarray(shown))
    np.testing.assert_array_equal(decode(data), found)


def test_points_refer_to_the_turned_picture():
    """A dot at a quarter of the shown width is there after decoding, whichever way it was stored."""
    canvas = np.zeros((80, 120, 3), np.uint8)
    canvas[18:22, 28:32] = 255
    for orientation in (6, 8):
        exif = Image.Exif()
        exif[ORIENTATION] = orientation
        stored = Image.fromarray(np.ascontiguousarray(np.rot90(canvas, 1 if orientation == 6 else -1)))
        picture = PictureFile(data=saved(stored, "PNG", exif=exif))
        found = decode_picture(picture, None, 64)
        row, column = np.unravel_index(found[..., 0].argmax(), found.shape[:2])
        assert abs(column / 64 - 0.25) < 0.03 and abs(row / 64 - 0.25) < 0.03


def test_transparency_and_orientation_together():
    exif = Image.Exif()
    exif[ORIENTATION] = 6
    for form in ("PNG", "WEBP"):
        data = saved(drawing(), form, exif=exif, **LOSSLESS[form])
        expected = TURNS[6](convert_to_rgb(drawing(), return_numpy=True))
        assert np.abs(pixels(data).astype(int) - expected).max() <= 1


@pytest.mark.filterwarnings("ignore:Corrupt EXIF data")
def test_damaged_exif_data_is_no_orientation():
    data = saved(Image.fromarray(photograph()), "PNG", exif=b"Exif\0\0II*\0\xff\xff\xff\xff")
    np.testing.assert_array_equal(pixels(data), photograph())


# Other ranges -------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("form", "mode"),
    [*((form, "I;16") for form in ("PNG", "TIFF", "PPM", "JPEG2000")), ("PNG", "I;16B"), ("TIFF", "I;16B")],
)
def test_16_bit_grey_is_scaled_by_its_range(form, mode):
    values = np.linspace(0, 65535, 64 * 50).reshape(64, 50).astype(np.uint16)
    image = Image.fromarray(values)
    if mode == "I;16B":
        image = Image.frombytes("I;16B", (50, 64), values.astype(">u2").tobytes())
    found = pixels(saved(image, form))
    np.testing.assert_array_equal(found[..., 0], np.rint(values / 257).astype(np.uint8))
    assert (found == found[..., :1]).all()


def test_grey_of_12_bits_and_grey_where_0_is_white():
    values = np.linspace(0, 65535, 40).astype(np.uint16).reshape(1, 40)
    data = bytearray(saved(Image.fromarray(values), "TIFF"))
    assert opened(bytes(data)).tag_v2[262] == 1
    entry = data.index(struct.pack("<HHI", 262, 3, 1))
    data[entry + 8 : entry + 10] = struct.pack("<H", 0)  # WhiteIsZero
    np.testing.assert_array_equal(pixels(bytes(data))[..., 0], 255 - np.rint(values / 257).astype(np.uint8))
    packed = bytes([0x00, 0x08, 0x00, 0xFF, 0xF1, 0x01])  # 0, 2048, 4095 and 257, in 12 bits each
    tags = {256: 4, 257: 1, 258: 12, 259: 1, 262: 1, 273: 200, 277: 1, 278: 1, 279: 6}
    folder = b"".join(struct.pack("<HHII", tag, 4, 1, value) for tag, value in tags.items())
    file = b"II*\0\x08\0\0\0" + struct.pack("<H", len(tags)) + folder + b"\0\0\0\0"
    assert pixels(file.ljust(200, b"\0") + packed)[0, :, 0].tolist() == [0, 128, 255, 16]


def test_pictures_without_a_known_range_are_refused(tmp_path):
    lab = ImageCms.applyTransform(
        Image.fromarray(photograph()),
        ImageCms.buildTransform(ImageCms.createProfile("sRGB"), ImageCms.createProfile("LAB"), "RGB", "LAB"),
    )
    values = np.linspace(0, 1, 64).reshape(8, 8)
    for name, image, says in (
        ("float.tif", Image.fromarray(values.astype(np.float32)), "float numbers, whose range is not known"),
        ("long.tif", Image.fromarray((values * 9e4).astype(np.int32)), "32-bit integer numbers"),
        ("lab.tif", lab, "its colours are LAB"),
    ):
        image.save(tmp_path / name)
        with pytest.raises(UserError, match=rf"{name}: cannot be read: .*{says}.*: save it as RGB") as error:
            decode_picture(PictureFile(path=name), tmp_path, 16)
        assert "\n" not in str(error.value)
        assert says in picture_problem(PictureFile(path=name), tmp_path)


# Damaged pictures ---------------------------------------------------------------------------------------


@pytest.mark.parametrize("form", ["PNG", "JPEG", "WEBP", "GIF", "TIFF", "BMP"])
@pytest.mark.parametrize("share", [0.02, 0.5, 0.9])
def test_a_cut_off_picture_is_refused_in_one_line(form, share, tmp_path):
    noise = np.random.default_rng(0).integers(0, 256, (90, 70, 3), dtype=np.uint8)
    data = saved(Image.fromarray(noise), form)
    (tmp_path / "cut").write_bytes(data[: int(len(data) * share)])
    with pytest.raises(UserError, match="cut: cannot be read") as error:
        decode_picture(PictureFile(path="cut"), tmp_path, 16)
    assert "\n" not in str(error.value) and "0x" not in str(error.value)
    problem = picture_problem(PictureFile(path="cut"), tmp_path)
    assert problem.startswith("Pillow cannot read its image: ") and "\n" not in problem
    with pytest.raises(OSError, match="replace it with the complete file"):
        decode(data[: int(len(data) * share)])


def test_an_enormous_picture_is_refused_in_one_line(tmp_path):
    """A file of a few bytes that states 40,000 x 40,000 pixels."""
    (tmp_path / "bomb.png").write_bytes(png(40_000, 8, 2, [b""] * 40_000))
    found = picture_problem(PictureFile(path="bomb.png"), tmp_path)
    assert "exceeds limit" in found and found.endswith("write a smaller picture") and "\n" not in found
    with pytest.raises(UserError, match=r"bomb\.png: cannot be read: .*exceeds limit"):
        decode_picture(PictureFile(path="bomb.png"), tmp_path, 16)


def test_an_enormous_text_in_a_picture_is_refused():
    text = b"a\0\0" + zlib.compress(b" " * (2 << 20))
    assert "Pillow cannot read its image" in picture_problem(
        PictureFile(data=png(1, 8, 0, [b"\0"], (b"zTXt", text))), None
    )


def test_an_image_without_a_file_is_named_by_its_row():
    with pytest.raises(UserError, match="the image of sample '7': cannot be read"):
        decode_picture(PictureFile(data=b"text", name="the image of sample '7'"), None, 8)


# Tables of demonstrations -------------------------------------------------------------------------------


def test_copied_pictures_are_shown_by_the_same_decoder(tmp_path):
    exif = Image.Exif()
    exif[ORIENTATION] = 3
    encoded = [
        saved(Image.fromarray(photograph()), "JPEG", exif=exif),
        saved(drawing(), "PNG"),
        saved(Image.fromarray(photograph()), "PNG"),
    ]
    kind = pa.struct({"bytes": pa.binary(), "path": pa.string()})
    table = pa.table({"view": pa.array([{"bytes": each, "path": None} for each in encoded], kind)})
    pq.write_table(table, tmp_path / "a.parquet")
    copy_pictures([tmp_path / "a.parquet"], "view", 3, tmp_path / "copy")
    pictures = EncodedPictures(tmp_path / "copy")
    for row, data in enumerate(encoded):
        np.testing.assert_array_equal(pictures.picture(row), pixels(data))
    assert pictures.picture(1)[2, 2].tolist() == [255, 255, 255]
    assert pictures.picture(0)[0, 0, 0] > 200  # turned upside down


@pytest.mark.parametrize("form", ["PNG", "JPEG"])
def test_a_cut_off_picture_of_a_table_is_refused_when_it_is_copied(form, tmp_path):
    data = saved(Image.fromarray(photograph()), form)
    kind = pa.struct({"bytes": pa.binary(), "path": pa.string()})
    rows = [{"bytes": each, "path": None} for each in (data, data, data[: len(data) // 2])]
    pq.write_table(pa.table({"view": pa.array(rows, kind)}), tmp_path / "a.parquet")
    with pytest.raises(UserError, match=r"a\.parquet: image 2 of 'view' cannot be read: .*replace it"):
        copy_pictures([tmp_path / "a.parquet"], "view", 3, tmp_path / "copy")
    check_encoded(data + b"\0" * 200)  # programs append bytes; the picture is complete
