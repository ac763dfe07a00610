"""Plain values are read as `pickle` reads them. Everything else is refused, and no code runs."""

import io
import os
import pickle
import struct

import numpy as np
import pytest

from vlm4vla.core.errors import UserError
from vlm4vla.data.converters.plain_pickle import NotPlain, read_object_npy, read_plain_pickle

ARRAY = np.arange(24, dtype=np.float32).reshape(2, 3, 4)
VALUES = {
    "language": {"ann": ["open the drawer", "schiebe den Würfel"], "task": ["open_drawer", "push"]},
    "info": {"episodes": [], "indx": [(0, 3), (7, 2**40)]},
    "numbers": [0, -1, 255, 256, -(2**31), 2**63, 1.5, -0.0, True, False, None],
    "bytes": b"\x00\xff",
    "nested": ((), (1,), (1, 2), (1, 2, 3), (1, 2, 3, 4)),
    "scalar": [np.int64(5), np.float32(0.5), np.bool_(True)],
    3: "an integer as key",
}
ARRAYS = [
    ARRAY,
    np.asfortranarray(ARRAY[0]),
    ARRAY.astype(">i4"),
    np.array([True, False]),
    np.zeros((0, 3)),
    np.array([1, 2], dtype=np.uint8),
    np.array([["lift the block"], ["push é"]]),
    np.array([b"lift"]),
]


@pytest.mark.parametrize("protocol", range(5))
def test_plain_values_equal_those_of_pickle(protocol):
    found = read_plain_pickle(pickle.dumps(VALUES, protocol))
    assert found == VALUES
    assert [type(value) for value in found["numbers"]] == [type(value) for value in VALUES["numbers"]]
    assert type(found["nested"][3]) is tuple


@pytest.mark.parametrize("protocol", range(2, 5))
@pytest.mark.parametrize("array", ARRAYS, ids=lambda array: f"{array.dtype.str}{array.shape}")
def test_arrays_equal_those_of_pickle(protocol, array):
    found = read_plain_pickle(pickle.dumps({"emb": array, "again": [array, array]}, protocol))
    for copy in (found["emb"], *found["again"]):
        np.testing.assert_array_equal(copy, array)
        assert copy.dtype == array.dtype and copy.shape == array.shape


def test_the_object_of_a_npy_file_is_read(tmp_path):
    path = tmp_path / "ann.npy"
    np.save(path, VALUES | {"emb": ARRAY}, allow_pickle=True)
    found = read_object_npy(path)
    np.testing.assert_array_equal(found.pop("emb"), ARRAY)
    assert found == VALUES


class Attack:
    def __init__(self, called, *arguments):
        self.called, self.arguments = called, arguments

    def __reduce__(self):
        return self.called, self.arguments


@pytest.mark.parametrize("protocol", [0, 2, 4, 5])
@pytest.mark.parametrize("called", [os.system, eval, exec, getattr, np.load, np.frombuffer])
def test_a_call_is_refused_and_not_executed(tmp_path, protocol, called):
    mark = tmp_path / "run"
    data = pickle.dumps([1, Attack(called, f"touch {mark}")], protocol)
    with pytest.raises(NotPlain, match="the name"):
        read_plain_pickle(data)
    assert not mark.exists()


def stream(*parts):
    return b"\x80\x02" + b"".join(parts) + b"."


HUGE = stream(
    *(b"cnumpy.core.multiarray\n_reconstruct\n", b"cnumpy\nndarray\n", b"K\x00\x85", b"C\x01b", b"\x87R"),
    *(
        b"(K\x01",
        b"J\xff\xff\xff\x7f\x85",
        b"cnumpy\ndtype\nX\x02\x00\x00\x00f8\x85R",
        b"\x89",
        b"C\x00",
        b"tb",
    ),
)


@pytest.mark.parametrize(
    "data",
    [
        pickle.dumps(VALUES)[:-5],  # cut off
        b"",
        b"not a pickle",
        pickle.dumps({(1, 2): 3}),  # a tuple as key
        pickle.dumps({1, 2}),  # a set
        pickle.dumps(bytearray(b"a")),
        pickle.dumps(np.array(["2020"], dtype="M8[Y]")),  # dates in an array
        pickle.dumps(np.array([VALUES], dtype=object).astype("O"))[:-2] + b"0.",
        stream(b"cnumpy\ndtype\n"),  # a name alone
        stream(b"h\x07"),  # an unknown reference
        stream(b"K\x01a"),  # an item appended to a number
        stream(b"t"),  # no mark
        stream(b"0"),
        stream(b"]q\x00h\x00a"),  # a list that contains itself
        HUGE,
        stream(b"B" + struct.pack("<i", 2**30) + b"x"),
    ],
)
def test_other_streams_are_refused(data):
    with pytest.raises(ValueError):
        read_plain_pickle(data)


def test_a_value_with_many_references_is_copied_once():
    """Thirty nested lists, each with the one before twice: a billion items if they were all copied."""
    parts = [b"]q\x00K\x01a"] + [b"]q%c(h%ch%ce" % (n + 1, n, n) for n in range(30)]
    found = read_plain_pickle(stream(*parts[:1], *parts[1:]))
    for _ in range(30):
        assert found[0] is found[1]
        found = found[0]


@pytest.mark.parametrize("content", [b"", b"\x93NUMPY\x01\x00", "array"])
def test_another_file_is_refused_with_one_line(tmp_path, content):
    path = tmp_path / "ann.npy"
    if content == "array":
        np.save(path, np.arange(3))
    else:
        path.write_bytes(content)
    with pytest.raises(
        UserError, match=r"ann\.npy: does not contain plain values \(.*\): use the published file"
    ) as error:
        read_object_npy(path)
    assert "\n" not in str(error.value)
    with pytest.raises(UserError, match=r"gone\.npy: not found"):
        read_object_npy(tmp_path / "gone.npy")


def test_a_file_that_would_run_code_is_refused_with_one_line(tmp_path):
    path, mark = tmp_path / "ann.npy", tmp_path / "run"
    value = np.empty((), dtype=object)
    value[()] = Attack(os.system, f"touch {mark}")
    np.save(path, value, allow_pickle=True)
    with pytest.raises(UserError, match=r"the name posix\.system"):
        read_object_npy(path)
    assert not mark.exists()
    assert io.BytesIO(path.read_bytes()).read(6) == b"\x93NUMPY"
