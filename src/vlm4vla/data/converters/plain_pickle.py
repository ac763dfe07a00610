"""Read plain values from a pickle stream without unpickling it.

CALVIN's language annotations are a .npy file with one Python dict, which NumPy can only unpickle. But
unpickling may run any code. This module instead interprets the opcodes, as `pickletools` names them, on a
stack of values. It supports dicts, lists, tuples, strings, numbers, bytes and NumPy arrays of numbers. The
few functions that the pickle of a NumPy array calls are recognised by name and never called. Everything else
is refused.
"""

from __future__ import annotations

import pickletools
import re
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from vlm4vla.core.errors import UserError

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
        with path.open("rb") as file:
            first = np.lib.format.read_magic(file) == (1, 0)
            read = np.lib.format.read_array_header_1_0 if first else np.lib.format.read_array_header_2_0
            _, _, dtype = read(file)
            if dtype != np.dtype(object):
                raise NotPlain(f"an array of {dtype}, not of one object")
            value = read_plain_pickle(file.read())
    except FileNotFoundError:
        raise UserError(f"{path}: not found: write the folder that contains it") from None
    except (ValueError, OSError, RecursionError) as error:
        raise UserError(f"{path}: does not contain plain values ({error}): use the published file") from None
    while isinstance(value, list) and len(value) == 1:  # an array of zero dimensions, or of one
        value = value[0]
    return value


def read_plain_pickle(data: bytes) -> Any:
    """Return the value that a pickle stream describes. Raises ValueError (`NotPlain`) if it is not plain."""
    machine = _Machine()
    for opcode, argument, _ in pickletools.genops(data):
        machine.step(opcode.name, argument)
    return _Resolver().resolve(machine.result)


class _Machine:
    """Interprets opcodes. `result` is the value on the stack at the end, which may contain `_Array`s."""

    def __init__(self) -> None:
        self.stack: list[Any] = []
        self.memo: dict[int, Any] = {}
        self.result: Any = None
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
                value = _numbers((), text, data)[()].item()
            case _, () if name in EMPTY_BYTES:
                value = b""
            case "_codecs encode", (str(text), "latin1"):
                value = text.encode("latin1")
            case _:
                raise NotPlain(f"a call of {name or type(called).__name__}")
        self.stack.append(value)

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
    values = np.frombuffer(data, dtype=np.dtype(text))
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

    def resolve(self, value: Any) -> Any:
        """Return a plain copy of `value`.

        Raises NotPlain for a value that contains itself, a name alone, or an array without contents.
        """
        if isinstance(value, (_Name, _Dtype)) or (isinstance(value, _Array) and not value.complete):
            raise NotPlain("a name or an array without contents")
        if not isinstance(value, (_Array, list, tuple, dict)):
            return value
        if id(value) not in self._copies:
            if id(value) in self._in_progress:
                raise NotPlain("a value that contains itself")
            self._in_progress.add(id(value))
            self._copies[id(value)] = self._copy(value)
        return self._copies[id(value)]

    def _copy(self, value: Any) -> Any:
        if isinstance(value, _Array):
            return self.resolve(value.value)
        if isinstance(value, dict):
            return {key: self.resolve(part) for key, part in value.items()}
        return type(value)(self.resolve(part) for part in value)
