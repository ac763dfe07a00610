"""A packed study from a stranger: what `check` refuses, each in one line, before anybody unpacks it."""

import hashlib
import json
import tracemalloc
import zipfile
import zlib
from pathlib import Path

import pytest

from vlm4vla.core.errors import UserError
from vlm4vla.provenance import check as module
from vlm4vla.provenance.check import check
from vlm4vla.provenance.crate import METADATA
from vlm4vla.provenance.pack import SUMS

GOOD = "results/smoke/summary.md"


def described(contents: dict[str, bytes]) -> bytes:
    graph = [{"@id": name, "sha256": hashlib.sha256(data).hexdigest()} for name, data in contents.items()]
    return json.dumps({"@graph": graph}).encode()


def packed(
    path: Path, extra=(), *, metadata: bytes | None = None, sums: bytes | None = None, good=b"hello\n"
):
    """A packed study of one file. `extra`: further members, (ZipInfo or name, bytes), which it lists."""
    contents = {GOOD: good} | {getattr(each, "filename", each): data for each, data in extra}
    metadata = described(contents) if metadata is None else metadata
    hashes = contents | {METADATA: metadata}
    listed = "".join(f"{hashlib.sha256(data).hexdigest()}  {name}\n" for name, data in hashes.items())
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr(GOOD, good)
        for each, data in extra:
            archive.writestr(each, data)
        archive.writestr(METADATA, metadata)
        archive.writestr(SUMS, listed.encode() if sums is None else sums)
    return path


def entry(name: str, mode: int) -> zipfile.ZipInfo:
    info = zipfile.ZipInfo(name)
    info.external_attr = mode << 16
    return info


def refused(path: Path) -> str:
    with pytest.raises(UserError) as error:
        check(path)
    assert "\n" not in str(error.value) and str(path) in str(error.value)
    return str(error.value)


def test_a_good_study_passes(tmp_path):
    assert check(packed(tmp_path / "a.zip")) == 2


@pytest.mark.parametrize(
    ("name", "problem"),
    [
        ("../evil.txt", "leaves its folder"),
        ("results/../../evil.txt", "leaves its folder"),
        ("results/./x.txt", "leaves its folder"),
        ("results//x.txt", "leaves its folder"),
        ("/etc/x", "absolute"),
        ("C:/x.txt", "not a path"),
        ("results\\x.txt", "not a path"),
        ("//server/x.txt", "absolute"),
        ("..", "leaves its folder"),
        ("results/..", "leaves its folder"),
        ("./x.txt", "leaves its folder"),
        ("c:x.txt", "not a path"),
        ("a" * 5000, "too long"),
        ("results/" + "a" * 256, "too long"),
        ("results/\x1b[31mred", "not a path"),
        ("results/\u202etxt.exe", "not a path"),
    ],
)
def test_names_that_lead_elsewhere(tmp_path, name, problem):
    assert problem in refused(packed(tmp_path / "a.zip", [(name, b"x")]))


@pytest.mark.parametrize("mode", [0o120777, 0o020644, 0o010644, 0o140644])
def test_links_devices_pipes_and_sockets(tmp_path, mode):
    extra = [(entry("results/link", mode), b"/etc/hostname")]
    assert "not a file" in refused(packed(tmp_path / "a.zip", extra))


@pytest.mark.filterwarnings("ignore:Duplicate name")
def test_two_members_of_one_name(tmp_path):
    path = packed(tmp_path / "a.zip")
    with zipfile.ZipFile(path, "a") as archive:
        archive.writestr(GOOD, b"another")
    assert "is there twice" in refused(path)


def test_a_file_and_a_folder_of_one_name(tmp_path):
    extra = [("results/a", b"x"), ("results/a/b", b"y")]
    assert "results/a: is a file and a folder" in refused(packed(tmp_path / "a.zip", extra))


@pytest.mark.filterwarnings("ignore:Duplicate name")
@pytest.mark.parametrize("name", [SUMS, METADATA])
def test_a_list_that_is_there_twice(tmp_path, name):
    path = packed(tmp_path / "a.zip")
    with zipfile.ZipFile(path, "a") as archive:
        archive.writestr(name, b"another")
    assert f"{name}: is there twice" in refused(path)


def test_a_second_name_that_only_other_programs_read(tmp_path):
    """The Unicode path of Info-ZIP (APPNOTE.TXT, 4.6.9): version, CRC of the first name, second name."""
    info = zipfile.ZipInfo("results/a.txt")
    content = b"\1" + zlib.crc32(b"results/a.txt").to_bytes(4, "little") + b"../evil.txt"
    info.extra = b"\x75\x70" + len(content).to_bytes(2, "little") + content
    assert "has a second name" in refused(packed(tmp_path / "a.zip", [(info, b"x")]))


def test_another_name_in_the_members_own_header(tmp_path):
    path = packed(tmp_path / "a.zip")
    data = path.read_bytes()
    path.write_bytes(data.replace(GOOD.encode(), GOOD.replace("s", "S").encode(), 1))
    assert "cannot be read" in refused(path)


def test_members_that_share_their_bytes(tmp_path):
    """Two entries of the directory with one offset, as in files that unpack to more than they could hold."""
    path = packed(tmp_path / "a.zip", [("results/b.txt", b"hello\n")])
    data = bytearray(path.read_bytes())
    first = data.find(b"PK\x01\x02")
    second = data.find(b"PK\x01\x02", first + 4)
    data[second + 42 : second + 46] = data[first + 42 : first + 46]
    path.write_bytes(bytes(data))
    assert "results/b.txt: cannot be read" in refused(path)


def test_a_member_that_is_larger_than_stated(tmp_path):
    path = packed(tmp_path / "a.zip", [("results/b.txt", bytes(5_000_000))])
    data = bytearray(path.read_bytes())
    for signature, offset in ((b"PK\x01\x02", 24), (b"PK\x03\x04", 22)):
        at = data.find(b"results/b.txt", data.find(signature)) - (46 if signature[2] == 1 else 30)
        data[at + offset : at + offset + 4] = (10).to_bytes(4, "little")
    path.write_bytes(bytes(data))
    assert "results/b.txt: " in refused(path)


@pytest.mark.parametrize("content", [b"", b"PK", b"PK\x05\x06", b"PK\x05\x06" + bytes(18), b"x" * 100_000])
def test_a_file_that_is_no_zip(tmp_path, content):
    (tmp_path / "a.zip").write_bytes(content)
    refused(tmp_path / "a.zip")


def test_an_encrypted_member(tmp_path):
    path = packed(tmp_path / "a.zip")
    data = bytearray(path.read_bytes())
    for signature, offset in ((b"PK\x01\x02", 8), (b"PK\x03\x04", 6)):
        at = data.find(signature)
        while at >= 0:
            data[at + offset] |= 1
            at = data.find(signature, at + 4)
    path.write_bytes(bytes(data))
    assert "encrypted" in refused(path)


@pytest.mark.parametrize(
    "metadata",
    [
        b"",
        b"{",
        b"[]",
        b"{}",
        b'{"@graph": 5}',
        b'{"@graph": {}}',
        b'{"@graph": []}',
        b"\xff\xfe",
        b"[" * 9999,
    ],
)
def test_metadata_that_is_none(tmp_path, metadata):
    assert METADATA in refused(packed(tmp_path / "a.zip", metadata=metadata))


@pytest.mark.parametrize("sums", [b"", b"abc", b"\xff\n", b"0" * 64 + b" one space\n"])
def test_a_list_of_hashes_that_is_none(tmp_path, sums):
    assert SUMS in refused(packed(tmp_path / "a.zip", sums=sums))


def test_a_changed_byte_a_missing_and_an_added_file(tmp_path):
    listed = packed(tmp_path / "a.zip")
    with zipfile.ZipFile(listed) as archive:
        sums = archive.read(SUMS)
    assert "changed" in refused(packed(tmp_path / "b.zip", sums=sums, good=b"hellO\n"))
    with zipfile.ZipFile(listed, "a") as archive:
        archive.writestr("results/extra.txt", b"x")
    assert "not a file of the packed study" in refused(listed)


def test_a_cut_file(tmp_path):
    path = packed(tmp_path / "a.zip")
    path.write_bytes(path.read_bytes()[:-30])
    assert "not a complete zip file" in refused(path)


def test_memory_does_not_grow_with_a_member(tmp_path):
    path = packed(tmp_path / "a.zip", [("results/large.bin", bytes(64_000_000))])  # 64 kB in the file
    tracemalloc.start()
    check(path)
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert peak < 16_000_000


@pytest.mark.parametrize("list_of", ["sums", pytest.param("metadata", marks=pytest.mark.exhaustive)])
def test_memory_does_not_grow_with_a_list(tmp_path, list_of):
    """80 MB in one line, in 80 kB of the file: as SHA256SUMS, and as the description of the study."""
    line = b"0" * 80_000_000
    path = packed(tmp_path / "a.zip", **{list_of: line})
    tracemalloc.start()
    message = refused(path)
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert (
        "a line of more than 5000 bytes" if list_of == "sums" else "larger than 10008000 bytes"
    ) in message
    assert peak < 32_000_000


def test_a_list_of_more_files_than_a_study_has(tmp_path, monkeypatch):
    monkeypatch.setattr(module, "MOST_FILES", 1)
    assert "lists more than 1 files" in refused(packed(tmp_path / "a.zip"))


@pytest.mark.parametrize("method", [zipfile.ZIP_BZIP2, zipfile.ZIP_LZMA, 93, 99])
def test_other_compression_than_that_of_pack(tmp_path, method):
    """The number of the method is changed in the file, so that no program needs to know the method."""
    path = packed(tmp_path / "a.zip")
    data = bytearray(path.read_bytes())
    at = data.find(b"PK\x01\x02")
    data[at + 10 : at + 12] = method.to_bytes(2, "little")
    path.write_bytes(bytes(data))
    assert f"compressed by method {method}" in refused(path)


# Offsets in the local header of a member, in its central header, and in the record at the end
# (https://pkware.cachefly.net/webdocs/casestudies/APPNOTE.TXT, 4.3.7, 4.3.12 and 4.3.16).
HEADERS = {b"PK\x03\x04": range(4, 30), b"PK\x01\x02": range(4, 46), b"PK\x05\x06": range(4, 22)}


@pytest.mark.parametrize("signature", HEADERS)
@pytest.mark.parametrize("value", [0x00, 0x20, 0xFF])
def test_each_byte_of_a_header(tmp_path, signature, value):
    """A result, or one line: zipfile raises NotImplementedError, struct.error and others for some of them."""
    whole = packed(tmp_path / "a.zip").read_bytes()
    start = whole.find(signature)
    for offset in HEADERS[signature]:
        data = bytearray(whole)
        data[start + offset] = value
        path = tmp_path / "changed.zip"
        path.write_bytes(bytes(data))
        try:
            assert check(path) == 2  # dates, and other bytes that no content depends on
        except UserError as error:
            assert str(path) in str(error) and "\n" not in str(error)


def test_a_link_in_an_unpacked_folder(tmp_path):
    with zipfile.ZipFile(packed(tmp_path / "a.zip")) as archive:
        archive.extractall(tmp_path / "folder")
    assert check(tmp_path / "folder") == 2
    file = tmp_path / "folder" / GOOD
    file.rename(tmp_path / "elsewhere")
    file.symlink_to(tmp_path / "elsewhere")
    assert "a link" in refused(tmp_path / "folder")
