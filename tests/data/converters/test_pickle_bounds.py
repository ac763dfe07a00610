"""Streams that would take the reader of CALVIN's pickles much memory or time end early, in one line."""

import pickle
import struct
import subprocess
import sys
import time
import tracemalloc
from contextlib import contextmanager

import numpy as np
import pytest

from vlm4vla.core.errors import UserError
from vlm4vla.data.converters import plain_pickle
from vlm4vla.data.converters.plain_pickle import NotPlain, read_object_npy, read_plain_pickle


def stream(*parts):
    return b"\x80\x04" + b"".join(parts) + b"."


@contextmanager
def bounded(megabytes, seconds):
    """Fail if the block needs more memory than this in Python and NumPy, or more processor time."""
    tracemalloc.start()
    began = time.process_time()
    try:
        yield
    finally:
        peak = tracemalloc.get_traced_memory()[1]
        tracemalloc.stop()
    assert time.process_time() - began < seconds
    assert peak < megabytes * 1e6


CODECS = b"c_codecs\nencode\n"
DTYPE = b"cnumpy\ndtype\n"


def text(content):
    return b"X" + struct.pack("<I", len(content)) + content


def test_a_text_that_is_made_again_at_each_reference(monkeypatch):
    """A megabyte that 100,000 calls would copy: 100 GB."""
    monkeypatch.setattr(plain_pickle, "MOST_COPIED", 10_000_000)
    call = CODECS + b"h\x00" + text(b"latin1") + b"\x86R"
    data = stream(b"(", text(b"a" * 1_000_000), b"q\x00", call * 100_000, b"l")
    with bounded(40, 5), pytest.raises(NotPlain, match="repeated values"):
        read_plain_pickle(data)


def test_a_scalar_of_a_long_text_that_is_made_again(monkeypatch):
    monkeypatch.setattr(plain_pickle, "MOST_COPIED", 10_000_000)
    size = 999_999
    made = DTYPE + text(b"S%d" % size) + b"\x85R"
    again = b"cnumpy.core.multiarray\nscalar\nh\x00h\x01\x86R"
    first = made + b"q\x00B" + struct.pack("<I", size) + bytes([97]) * size + b"q\x01"
    with bounded(40, 5), pytest.raises(NotPlain, match="repeated values"):
        read_plain_pickle(stream(b"(", first, again * 10_000, b"l"))


def test_more_opcodes_than_any_annotations_have(monkeypatch):
    monkeypatch.setattr(plain_pickle, "MOST_OPCODES", 100_000)
    with bounded(40, 5), pytest.raises(NotPlain, match="more than 100000 opcodes"):
        read_plain_pickle(stream(b"(", b"N" * 5_000_000, b"l"))


@pytest.mark.parametrize(
    "nest",
    [
        lambda inner: b"]" + inner + b"a",
        lambda inner: inner + b"\x85",
        lambda inner: b"}" + text(b"k") + inner + b"s",
        lambda inner: b"(" + inner + b"t",
    ],
)
def test_values_that_are_nested_deep(nest):
    for depth, fits in ((40, True), (60, False), (900, False)):
        inner = b"N"
        for _ in range(depth):
            inner = nest(inner)
        if fits:
            read_plain_pickle(stream(inner))
            continue
        with bounded(10, 5), pytest.raises(NotPlain, match="nested more than 50 deep"):
            read_plain_pickle(stream(inner))


def test_a_list_of_100_000_levels_in_a_file(tmp_path):
    path = tmp_path / "ann.npy"
    np.save(path, np.array(None, dtype=object), allow_pickle=True)
    header = path.read_bytes()[:128]
    path.write_bytes(header + stream(b"]" * 100_000, b"a" * 99_999))
    with bounded(80, 10), pytest.raises(UserError, match="nested more than 50 deep") as error:
        read_object_npy(path)
    assert "\n" not in str(error.value)


def test_keys_that_collide():
    """Python's hash of k * (2**61 - 1) is 0 for each k, so a dict of many takes quadratic time."""
    prime = 2**61 - 1
    assert hash(7 * prime) == hash(8 * prime) == 0
    pairs = b"".join(pickle.dumps(k * prime, 2)[2:-1] + b"N" for k in range(50_000))
    with bounded(80, 10), pytest.raises(NotPlain, match="a dict with more than"):
        read_plain_pickle(stream(b"}(", pairs, b"u"))
    with bounded(80, 10), pytest.raises(NotPlain, match="a dict with more than"):
        one_by_one = b"".join(pickle.dumps(k * prime, 2)[2:-1] + b"Ns" for k in range(12_000))
        read_plain_pickle(stream(b"}", one_by_one))


@pytest.mark.parametrize("code", [b"f9", b"i3", b"u0", b"f99"])
def test_numbers_of_a_size_that_numpy_does_not_have(code):
    array = b"cnumpy.core.multiarray\nscalar\n" + DTYPE + text(code) + b"\x85RC\x08" + bytes(8) + b"\x86R"
    with pytest.raises(NotPlain, match="numbers of the type"):
        read_plain_pickle(stream(array))


@pytest.mark.parametrize("digits", [5000, 100_000])
def test_an_enormous_integer(tmp_path, digits):
    """As text it is refused by Python, and as bytes it is an integer whose text is not printed."""
    with pytest.raises(ValueError):
        read_plain_pickle(stream(b"L" + b"9" * digits + b"L\n"))
    number = 10**4000
    assert read_plain_pickle(pickle.dumps([number], 2)) == [number]


def test_a_file_that_is_too_large(tmp_path):
    """A file of 2 GB, most of which the disk does not store, is not read."""
    path = tmp_path / "ann.npy"
    np.save(path, np.array(None, dtype=object), allow_pickle=True)
    with path.open("r+b") as file:
        file.truncate(2_000_000_000)
    with bounded(5, 5), pytest.raises(UserError, match="more than 1000000000 bytes"):
        read_object_npy(path)


def test_lengths_beyond_the_end_reserve_no_memory():
    """The length of a text is 2 GB, of bytes 2**60, of a long integer 2 GB; none follows."""
    program = (
        "import resource, sys\n"
        "from vlm4vla.data.converters.plain_pickle import read_plain_pickle\n"
        "pages = int(open('/proc/self/statm').read().split()[0])\n"
        "resource.setrlimit(resource.RLIMIT_AS, (pages * resource.getpagesize() + 100_000_000,) * 2)\n"
        "most = b'\\x00\\x00\\x00\\x7f'\n"
        "for data in (b'X' + most, b'B' + most, b'\\x8b' + most, b'\\x8e' + (2**60).to_bytes(8, 'little')):\n"
        "    try:\n"
        "        read_plain_pickle(b'\\x80\\x04' + data + b'a.')\n"
        "    except ValueError as error:\n"
        "        print('refused')\n"
    )
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True)
    assert done.stdout == "refused\n" * 4, done.stderr
