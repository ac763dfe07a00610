"""Pictures and videos whose files state more pixels than anybody needs: refused before they are decoded.

The files have a few bytes. Each test measures what Python and NumPy reserve. For Pillow's own memory, one
test reads in a process that may not have more.
"""

import io
import struct
import subprocess
import sys
import tracemalloc
import zlib

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from PIL import Image

from vlm4vla.core.errors import UserError
from vlm4vla.data.demonstrations.encoded_pictures import copy_pictures
from vlm4vla.data.pictures.decoding import MOST_PIXELS, PictureError, check_encoded, shown_picture
from vlm4vla.data.pictures.files import PictureFile, decode_picture, picture_problem
from vlm4vla.data.pictures.png import decode, encode

SIDE = 9000  # 81 million pixels: fewer than Pillow's own limit, which is 179 million


def chunk(name, content):
    check = zlib.crc32(name + content)
    return struct.pack(">I", len(content)) + name + content + struct.pack(">I", check)


def png(width, height, *chunks, kind=2, data=b""):
    header = struct.pack(">IIBBBBB", width, height, 8, kind, 0, 0, 0)
    parts = [chunk(b"IHDR", header), *chunks, chunk(b"IDAT", zlib.compress(data)), chunk(b"IEND", b"")]
    return b"\x89PNG\r\n\x1a\n" + b"".join(parts)


def saved(form, **options):
    buffer = io.BytesIO()
    Image.new("RGB", (40, 30), (200, 40, 90)).save(buffer, form, **options)
    return bytearray(buffer.getvalue())


def jpeg():
    """A JPEG with another height and width in its frame header (ITU-T T.81, B.2.2)."""
    data = saved("JPEG")
    at = data.find(b"\xff\xc0")
    data[at + 5 : at + 9] = struct.pack(">HH", SIDE, SIDE)
    return bytes(data)


def animated(form):
    frames = [Image.new("RGB", (8, 8), (shade, 0, 0)) for shade in (0, 90, 180)]
    buffer = io.BytesIO()
    frames[0].save(buffer, form, save_all=True, append_images=frames[1:], duration=100)
    return bytearray(buffer.getvalue())


def animated_webp():
    data = animated("WEBP")
    assert data[12:16] == b"VP8X"
    data[24:30] = (SIDE - 1).to_bytes(3, "little") * 2
    return bytes(data)


def animated_gif():
    data = animated("GIF")
    data[6:10] = struct.pack("<HH", SIDE, SIDE)  # the logical screen
    return bytes(data)


def animated_png():
    data = bytes(animated("PNG"))
    header = struct.pack(">IIBBBBB", SIDE, SIDE, 8, 2, 0, 0, 0)
    at = data.find(b"IHDR") - 4
    return data[:at] + chunk(b"IHDR", header) + data[at + 25 :]


def webp(lossless):
    data = saved("WEBP", lossless=lossless)
    if lossless:
        bits = int.from_bytes(data[21:25], "little") & ~0xFFFFFFF
        data[21:25] = (bits | (SIDE - 1) | (SIDE - 1) << 14).to_bytes(4, "little")
    else:
        data[26:30] = struct.pack("<HH", SIDE, SIDE)
    return bytes(data)


def bmp():
    data = saved("BMP")
    data[18:26] = struct.pack("<ii", SIDE, SIDE)
    return bytes(data)


def tiff():
    data = saved("TIFF")
    assert data[:4] == b"II*\0"
    start = struct.unpack_from("<I", data, 4)[0]
    for entry in range(struct.unpack_from("<H", data, start)[0]):
        at = start + 2 + 12 * entry
        if struct.unpack_from("<H", data, at)[0] in (256, 257):  # ImageWidth, ImageLength
            struct.pack_into("<HII", data, at + 2, 4, 1, SIDE)
    return bytes(data)


LARGE = {
    "PNG": png(SIDE, SIDE),
    "grey PNG": png(SIDE, SIDE, kind=0),
    "long PNG": png(MOST_PIXELS + 1, 1),
    "JPEG": jpeg(),
    "lossy WebP": webp(False),
    "lossless WebP": webp(True),
    "animated WebP": animated_webp(),
    "animated GIF": animated_gif(),
    "animated PNG": animated_png(),
    "BMP": bmp(),
    "TIFF": tiff(),
    "PPM": f"P6 {SIDE} {SIDE} 255\n".encode(),
}


@pytest.mark.parametrize("name", LARGE)
def test_a_large_picture_is_refused_before_it_is_decoded(name, tmp_path):
    data = LARGE[name]
    (tmp_path / "large").write_bytes(data)
    tracemalloc.start()
    with pytest.raises(PictureError, match=r"has \d+ x \d+ pixels, more than 50,000,000: write a smaller"):
        shown_picture(data)
    with pytest.raises(UserError, match="large: cannot be read: has") as error:
        decode_picture(PictureFile(path="large"), tmp_path, 16)
    assert "\n" not in str(error.value)
    assert "pixels, more than" in picture_problem(PictureFile(path="large"), tmp_path)
    assert "pixels, more than" in picture_problem(PictureFile(data=data), None)
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert peak < 2_000_000
    with pytest.raises(PictureError, match="pixels, more than"):
        check_encoded(data)
    with pytest.raises(OSError, match="pixels, more than"):
        decode(data)


def test_an_ordinary_picture_of_each_kind_is_read():
    for data in (saved("PNG"), saved("JPEG"), saved("WEBP"), saved("WEBP", lossless=True), saved("TIFF")):
        assert shown_picture(bytes(data)).size == (40, 30)
    for form in ("WEBP", "GIF", "PNG"):
        assert shown_picture(bytes(animated(form))).size == (8, 8)


@pytest.mark.parametrize("name", ["lossy WebP", "animated WebP", "PNG"])
def test_pillow_reserves_no_memory_for_it(name, tmp_path):
    """In a process that may have 150 MB more than after its imports: the picture would need 324 MB."""
    (tmp_path / "large").write_bytes(LARGE[name])
    program = f"""
import resource
from PIL import Image
Image.init()
from vlm4vla.data.pictures.decoding import shown_picture
pages = int(open("/proc/self/statm").read().split()[0])
resource.setrlimit(resource.RLIMIT_AS, (pages * resource.getpagesize() + 150_000_000,) * 2)
try:
    shown_picture(open({str(tmp_path / "large")!r}, "rb").read())
except OSError as error:
    print(error)
"""
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True)
    assert "pixels, more than 50,000,000" in done.stdout, done.stderr


@pytest.mark.parametrize("kind", [b"tEXt", b"zTXt", b"iTXt", b"iCCP", b"eXIf"])
def test_a_large_chunk_of_a_png_is_refused_or_left_out(kind):
    """100 MB of text or of a colour profile, compressed to 100 kB where the chunk can be compressed."""
    packed = zlib.compress(bytes(100_000_000), 9)
    content = {
        b"tEXt": b"a\0" + bytes(2_000_000),
        b"zTXt": b"a\0\0" + packed,
        b"iTXt": b"a\0\1\0\0\0" + packed,
        b"iCCP": b"a\0\0" + packed,
        b"eXIf": bytes(2_000_000),
    }[kind]
    data = png(2, 1, chunk(kind, content), data=b"\0" + bytes(6))
    tracemalloc.start()
    try:
        assert shown_picture(data).size == (2, 1)
    except PictureError as error:
        assert "\n" not in str(error)
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert peak < 12_000_000


def test_many_chunks_of_text():
    """Each is below the limit of one; together they have 400 MB, compressed to 400 kB."""
    text = chunk(b"zTXt", b"a\0\0" + zlib.compress(bytes(1_000_000), 9))
    data = png(2, 1, *[text] * 400, data=b"\0" + bytes(6))
    tracemalloc.start()
    with pytest.raises(PictureError) as error:
        shown_picture(data)
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert "\n" not in str(error.value) and peak < 150_000_000


def test_more_pixels_than_the_header_states():
    """A picture in the layout of our own writer, with 100 MB of pixels behind a header of 2 x 1."""
    data = png(2, 1, data=bytes(100_000_000))
    tracemalloc.start()
    with pytest.raises(OSError, match="its pixels are not 7 bytes"):
        decode(data)
    assert tracemalloc.get_traced_memory()[1] < 2_000_000
    tracemalloc.stop()
    own = np.random.default_rng(0).integers(0, 256, (5, 4, 3), dtype=np.uint8)
    np.testing.assert_array_equal(decode(encode(own)), own)
    assert np.asarray(Image.open(io.BytesIO(encode(own)))).tolist() == own.tolist()


@pytest.mark.parametrize(
    "data",
    [
        b"%!PS-Adobe-3.0 EPSF-3.0\n%%BoundingBox: 0 0 9 9\n%%EndComments\nshowpage\n",
        b"/* XPM */\nstatic char *a[] = {\n",
        b"#define a_width 8\n#define a_height 1\nstatic char a_bits[] = {\n0x00};\n",
    ],
)
def test_formats_that_are_no_pictures_of_datasets(data):
    """EPS is a program, which Pillow would give to Ghostscript."""
    with pytest.raises(PictureError, match=r"save it as PNG or JPEG|no picture that Pillow knows"):
        shown_picture(data)


def test_a_large_picture_in_a_table_of_demonstrations_is_named(tmp_path):
    rows = [{"bytes": bytes(saved("JPEG")), "path": None}, {"bytes": LARGE["JPEG"], "path": None}]
    table = pa.table({"view": pa.array(rows, pa.struct({"bytes": pa.binary(), "path": pa.string()}))})
    pq.write_table(table, tmp_path / "a.parquet")
    with pytest.raises(UserError, match=r"a\.parquet: image 1 of 'view' cannot be read: has 9000 x 9000"):
        copy_pictures([tmp_path / "a.parquet"], "view", 2, tmp_path / "copy")


def test_a_large_video_is_refused(tmp_path):
    av = pytest.importorskip("av")
    path = tmp_path / "large.mkv"
    with av.open(str(path), "w") as container:
        stream = container.add_stream("rawvideo", rate=1)
        stream.width, stream.height, stream.pix_fmt = 16, 16, "gray"
        for packet in stream.encode(av.VideoFrame.from_ndarray(np.zeros((16, 16), np.uint8), "gray")):
            container.mux(packet)
        container.mux(stream.encode())
    data = bytearray(path.read_bytes())
    for tag in (b"\xb0", b"\xba"):  # PixelWidth and PixelHeight of Matroska, each an integer of one byte
        at = data.find(tag + b"\x81\x10")
        assert at > 0
        data[at : at + 3] = tag + b"\x81\xff"
    path.write_bytes(bytes(data))
    import vlm4vla.data.pictures.decoding as decoding

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(decoding, "MOST_PIXELS", 1000)
        with pytest.raises(UserError, match=r"large\.mkv: has 255 x 255 pixels, more than 1,000"):
            decode_picture(PictureFile(path="large.mkv", seconds=0.0), tmp_path, 8)


@pytest.mark.parametrize("name", ["../outside.png", "/etc/host", "link.png", "folder/link.png", "a" * 300])
def test_the_file_of_a_picture_must_be_in_its_folder(tmp_path, name):
    folder = tmp_path / "pictures"
    (tmp_path / "elsewhere").mkdir()
    folder.mkdir()
    for place in (tmp_path / "outside.png", tmp_path / "elsewhere" / "link.png", folder / "in.png"):
        place.write_bytes(bytes(saved("PNG")))
    (folder / "link.png").symlink_to(tmp_path / "outside.png")
    (folder / "folder").symlink_to(tmp_path / "elsewhere")
    found = picture_problem(PictureFile(path=name), folder)
    assert found is not None and "\n" not in found
    assert any(words in found for words in ("leaves its folder", "absolute", "link out of", "too long"))
    assert picture_problem(PictureFile(path="in.png"), folder) is None
