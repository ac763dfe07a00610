"""Read plain values from a pickle stream without unpickling it.

CALVIN's language annotations are a .npy file with one Python dict, which NumPy can only unpickle. But
unpickling may run any code. This module instead interprets the opcodes, as `pickletools` names them, on a
stack of values. It supports dicts, lists, tuples, strings, numbers, bytes and NumPy arrays of numbers. The
few functions that the pickle of a NumPy array calls are recognised by name and never called. Everything else
is refused. So are streams that would take much memory or time: CALVIN's largest file has about 40 MB, half a
million opcodes, and values that are nested five deep.
"""

from __future__ import annotations

import pickletools
import re
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from vlm4vla.core.errors import UserError, one_line

RECONSTRUCT = {"numpy.core.multiarray _reconstruct", "numpy._core.multiarray _reconstruct"}
SCALAR = {"numpy.core.multiarray scalar", "numpy._core.multiarray scalar"}
NDARRAY, DTYPE, ENCODE = "numpy ndarray", "numpy dtype", "_codecs encode"
EMPTY_BYTES = {"__builtin__ bytes", "builtins bytes"}  # old protocols write b"" as a call of these
KNOWN = RECONSTRUCT | SCALAR | EMPTY_BYTES | {NDARRAY, DTYPE, ENCODE}
NUMERIC = re.compile(r"[<>|=]?[biuf]\d{1,2}")  # dtypes of supported arrays
TEXT = re.compile(r"[<>|=]?[US][1-9]\d{0,5}")  # texts of a fixed length
OBJECT = re.compile(r"[<>|=]?O\d?")
IGNORED = {"PROTO", "FRAME"}
CONSTANTS = {"NONE": None, "NEWTRUE": True, "NEWFALSE": False}
PUSHED = {
    *("INT", "BININT", "BININT1", "BININT2", "LONG", "LONG1", "LONG4", "FLOAT", "BINFLOAT"),
    *("UNICODE", "SHORT_BINUNICODE", "BINUNICODE", "BINUNICODE8"),
    *("SHORT_BINBYTES", "BINBYTES", "BINBYTES8"),
}
MARK = object()
LARGEST_FILE = 1_000_000_000  # bytes
MOST_OPCODES = 5_000_000
MOST_KEYS = 10_000  # of one dict: with chosen integers as keys, a large dict takes time without end
LONGEST_REASON = 200  # characters
MOST_DEPTH = 50  # of values in values
MOST_COPIED = 1_000_000_000  # bytes of texts and numbers that are made again at each reference


class NotPlain(ValueError):
    """The stream contains something other than plain values."""


@dataclass(frozen=True)
class _Name:
    """A name that the pickle would import."""

    name: str


@dataclass
class _Dtype:
    """A NumPy dtype as text."""

    text: str


@dataclass
class _Array:
    """An array whose contents may follow later in the stream."""

    value: Any = None
    complete: bool = False


def read_object_npy(path: Path) -> Any:
    """Return the value in a .npy file of one object. Raises UserError for other files and other values."""
    try:
        if path.stat().st_size > LARGEST_FILE:
            raise NotPlain(f"more than {LARGEST_FILE} bytes")
        with path.open("rb") as file:
            first = np.lib.format.read_magic(file) == (1, 0)
            read = np.lib.format.read_array_header_1_0 if first else np.lib.format.read_array_header_2_0
            _, _, dtype = read(file)
            if dtype != np.dtype(object):
                raise NotPlain(f"an array of {dtype}, not of one object")
            value = read_plain_pickle(file.read())
    except FileNotFoundError:
        raise UserError(f"{path}: not found: write the folder that contains it") from None
    except Exception as error:  # NumPy and pickletools raise errors of many types for damaged files
        reason = one_line(str(error))[:LONGEST_REASON] or type(error).__name__
        raise UserError(f"{path}: does not contain plain values ({reason}): use the published file") from None
    while isinstance(value, list) and len(value) == 1:  # an array of zero dimensions, or of one
        value = value[0]
    return value


def read_plain_pickle(data: bytes) -> Any:
    """Return the value that a pickle stream describes. Raises ValueError (`NotPlain`) if it is not plain."""
    machine = _Machine()
    for number, (opcode, argument, _) in enumerate(pickletools.genops(data)):
        if number == MOST_OPCODES:
            raise NotPlain(f"more than {MOST_OPCODES} opcodes")
        machine.step(opcode.name, argument)
    return _Resolver().resolve(machine.result)


class _Machine:
    """Interprets opcodes. `result` is the value on the stack at the end, which may contain `_Array`s."""

    def __init__(self) -> None:
        self.stack: list[Any] = []
        self.memo: dict[int, Any] = {}
        self.result: Any = None
        self.copied = 0  # bytes
        self._steps: dict[str, Callable[[], None]] = {
            "EMPTY_DICT": lambda: self.stack.append({}),
            "EMPTY_LIST": lambda: self.stack.append([]),
            "EMPTY_TUPLE": lambda: self.stack.append(()),
            "MARK": lambda: self.stack.append(MARK),
            "TUPLE": lambda: self.stack.append(tuple(self._pop_to_mark())),
            "LIST": lambda: self.stack.append(self._pop_to_mark()),
            "DICT": self._make_dict,
            "TUPLE1": lambda: self._make_tuple(1),
            "TUPLE2": lambda: self._make_tuple(2),
            "TUPLE3": lambda: self._make_tuple(3),
            "APPEND": lambda: self._extend_list([self._pop()]),
            "APPENDS": lambda: self._extend_list(self._pop_to_mark()),
            "SETITEM": lambda: self._set_items([self._pop(), self._pop()][::-1]),
            "SETITEMS": lambda: self._set_items(self._pop_to_mark()),
            "STACK_GLOBAL": lambda: self._push_name(*[self._pop(), self._pop()][::-1]),
            "REDUCE": self._reduce,
            "BUILD": self._build,
        }

    def step(self, name: str, argument: Any) -> None:
        """Interpret one opcode."""
        if name in IGNORED:
            return
        if name in PUSHED:
            self.stack.append(argument)
        elif name in CONSTANTS:
            self.stack.append(CONSTANTS[name])
        elif name == "GLOBAL":
            self._push_name(*argument.split(" ", 1))
        elif name in ("PUT", "BINPUT", "LONG_BINPUT"):
            self.memo[int(argument)] = self._top()
        elif name == "MEMOIZE":
            self.memo[len(self.memo)] = self._top()
        elif name in ("GET", "BINGET", "LONG_BINGET"):
            if int(argument) not in self.memo:
                raise NotPlain(f"an unknown reference, {argument}")
            self.stack.append(self.memo[int(argument)])
        elif name == "STOP":
            self.result = self._pop()
        elif name in self._steps:
            self._steps[name]()
        else:
            raise NotPlain(f"the opcode {name}")

    def _pop(self) -> Any:
        if not self.stack or self.stack[-1] is MARK:
            raise NotPlain("an empty stack")
        return self.stack.pop()

    def _top(self) -> Any:
        value = self._pop()
        self.stack.append(value)
        return value

    def _pop_to_mark(self) -> list[Any]:
        values = []
        while self.stack and self.stack[-1] is not MARK:
            values.append(self.stack.pop())
        if not self.stack:
            raise NotPlain("a missing mark")
        self.stack.pop()
        return values[::-1]

    def _make_tuple(self, count: int) -> None:
        self.stack.append(tuple([self._pop() for _ in range(count)][::-1]))

    def _extend_list(self, values: list[Any]) -> None:
        target = self._top()
        if not isinstance(target, list):
            raise NotPlain(f"items of a {type(target).__name__}")
        target += values

    def _make_dict(self) -> None:
        values = self._pop_to_mark()
        self.stack.append({})
        self._set_items(values)

    def _set_items(self, values: list[Any]) -> None:
        target = self._top()
        keys = values[::2]
        if (
            not isinstance(target, dict)
            or len(values) % 2
            or not all(isinstance(k, (str, int)) for k in keys)
        ):
            raise NotPlain("keys that are neither strings nor integers")
        if len(target) + len(keys) > MOST_KEYS:
            raise NotPlain(f"a dict with more than {MOST_KEYS} keys")
        target.update(zip(keys, values[1::2], strict=True))

    def _push_name(self, module: Any, name: Any) -> None:
        if f"{module} {name}" not in KNOWN:
            raise NotPlain(f"the name {module}.{name}")
        self.stack.append(_Name(f"{module} {name}"))

    def _reduce(self) -> None:
        arguments, called = self._pop(), self._pop()
        name = called.name if isinstance(called, _Name) else None
        match name, arguments:
            case _, (_Name(name="numpy ndarray"), (0,), _) if name in RECONSTRUCT:
                value: Any = _Array()
            case "numpy dtype", (str(text), *_):
                value = _Dtype(text)
            case _, (_Dtype(text=text), bytes(data)) if name in SCALAR:
                self._count_copied(data)
                value = _numbers((), text, data)[()].item()
            case _, () if name in EMPTY_BYTES:
                value = b""
            case "_codecs encode", (str(text), "latin1"):
                self._count_copied(text)
                value = text.encode("latin1")
            case _:
                raise NotPlain(f"a call of {name or type(called).__name__}")
        self.stack.append(value)

    def _count_copied(self, data: bytes | str) -> None:
        """A stream can name a long text a million times, and each call makes it again."""
        self.copied += len(data)
        if self.copied > MOST_COPIED:
            raise NotPlain(f"more than {MOST_COPIED} bytes of repeated values")

    def _build(self) -> None:
        state, target = self._pop(), self._top()
        match target, state:
            case _Dtype(), (_, str(order), *_) if order in "<>|=":
                target.text = order + target.text.lstrip("<>|=")
            case _Array(complete=False), (_, tuple(shape), _Dtype(text=text), fortran, data):
                target.value, target.complete = _contents(shape, text, bool(fortran), data), True
            case _:
                raise NotPlain(f"a state of a {type(target).__name__}")


def _contents(shape: tuple[Any, ...], text: str, fortran: bool, data: Any) -> Any:
    if OBJECT.fullmatch(text) and isinstance(data, list) and len(data) == _size(shape):
        return data
    if isinstance(data, bytes):
        return _numbers(shape, text, data, "F" if fortran else "C")
    raise NotPlain(f"an array of {text!r}")


def _numbers(shape: tuple[Any, ...], text: str, data: bytes, order: str = "C") -> np.ndarray:
    if not (NUMERIC.fullmatch(text) or TEXT.fullmatch(text)):
        raise NotPlain(f"numbers of the type {text!r}")
    try:
        values = np.frombuffer(data, dtype=np.dtype(text))
    except TypeError:  # such as f9
        raise NotPlain(f"numbers of the type {text!r}") from None
    if len(values) != _size(shape):
        raise NotPlain(f"{len(values)} numbers for the shape {shape}")
    return values.reshape(shape, order=order)


def _size(shape: tuple[Any, ...]) -> int:
    if not all(isinstance(length, int) and length >= 0 for length in shape):
        raise NotPlain(f"the shape {shape}")
    size = 1
    for length in shape:
        size *= length
    return size


class _Resolver:
    """Replaces `_Array`s by their contents. A value is copied once, even if it is referenced many times."""

    def __init__(self) -> None:
        self._copies: dict[int, Any] = {}
        self._in_progress: set[int] = set()

    def resolve(self, value: Any, depth: int = 0) -> Any:
        """Return a plain copy of `value`, which is `depth` values deep.

        Raises NotPlain for a value that contains itself, a name alone, an array without contents, and values
        that are nested too deep.
        """
        if depth > MOST_DEPTH:
            raise NotPlain(f"values nested more than {MOST_DEPTH} deep")
        if isinstance(value, (_Name, _Dtype)) or (isinstance(value, _Array) and not value.complete):
            raise NotPlain("a name or an array without contents")
        if not isinstance(value, (_Array, list, tuple, dict)):
            return value
        if id(value) not in self._copies:
            if id(value) in self._in_progress:
                raise NotPlain("a value that contains itself")
            self._in_progress.add(id(value))
            self._copies[id(value)] = self._copy(value, depth + 1)
        return self._copies[id(value)]

    def _copy(self, value: Any, depth: int) -> Any:
        if isinstance(value, _Array):
            return self.resolve(value.value, depth)
        if isinstance(value, dict):
            return {key: self.resolve(part, depth) for key, part in value.items()}
        return type(value)(self.resolve(part, depth) for part in value)
