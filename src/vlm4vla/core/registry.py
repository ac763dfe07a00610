"""The registry of families, benchmarks and auxiliary tasks: built-in names and those of a user's files."""

from __future__ import annotations

import hashlib
import inspect
import os
import re
import sys
import traceback
import types
from collections.abc import Collection, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal, TypeVar
from urllib.parse import quote, unquote

from vlm4vla.core.errors import UserError, one_line

LONGEST_WORDS = 300  # characters of the words of an exception in a message
# Absolute paths of extension files, separated as in PATH. A path's own colons and percent signs are quoted.
VARIABLE = "VLM4VLA_EXTENSIONS"
NAME = r"[a-z0-9]([a-z0-9._-]*[a-z0-9_-])?"
LONGEST_NAME = 100  # characters; a name is a folder of the results

Kind = Literal["family", "benchmark", "auxiliary task"]
C = TypeVar("C", bound=type)

# Values of `family` in config.yaml and the adapters that serve them. A name is the transformers `model_type`,
# except for PaliGemma 2, which shares PaliGemma's and differs in its text model only.
FAMILIES: dict[str, str] = {
    "qwen2_5_vl": "vlm4vla.backbones.families.qwen2_5_vl:Qwen25VL",
    "qwen3_vl": "vlm4vla.backbones.families.qwen3_vl:Qwen3VL",
    "qwen3_vl_moe": "vlm4vla.backbones.families.qwen3_vl_moe:Qwen3VLMoe",
    "paligemma": "vlm4vla.backbones.families.paligemma:PaliGemma",
    "paligemma2": "vlm4vla.backbones.families.paligemma:PaliGemma2",
    "kosmos-2": "vlm4vla.backbones.families.kosmos2:Kosmos2",
    "internvl": "vlm4vla.backbones.families.internvl:InternVL",
}

# Auxiliary tasks, named as in figure 4 of arXiv 2601.03309.
TASKS: dict[str, str] = {
    "robopoint": "vlm4vla.auxiliary.tasks.robopoint:RoboPoint",
    "vica-332k": "vlm4vla.auxiliary.tasks.vica:Vica",
    "bridgevqa": "vlm4vla.auxiliary.tasks.vqa:BridgeVqa",
    "robo2vlm": "vlm4vla.auxiliary.tasks.robo2vlm:Robo2Vlm",
    "robobrain2": "vlm4vla.auxiliary.tasks.robobrain:RoboBrain",
    "vqa-mix": "vlm4vla.auxiliary.tasks.vqa:VqaMix",
    "omni-generation": "vlm4vla.auxiliary.tasks.omni_generation:OmniGeneration",
}


@dataclass
class Extension:
    """A file that has run, its SHA-256 (hex), and the classes that it registered, by kind and name."""

    path: Path
    sha256: str
    classes: dict[tuple[Kind, str], Any] = field(default_factory=dict)


_ran: dict[tuple[Path, str], Extension] = {}  # each content of each file runs once per process
_running: Extension | None = None  # the extension whose file is running now
_active: list[Extension] | None = None  # the files of the current configuration; None before one is read


def require(kind: Kind, given: Any, base: type, attributes: Sequence[str]) -> None:
    """Raise UserError unless `given` is a concrete subclass of `base` that has all `attributes`."""
    if not (isinstance(given, type) and issubclass(given, base)):
        what = getattr(given, "__name__", repr(given))
        raise UserError(f"{what}: not a subclass of {base.__name__}: write `class {what}({base.__name__})`")
    if inspect.isabstract(given):
        missing = ", ".join(sorted(given.__abstractmethods__))
        raise UserError(
            f"{given.__name__}: the {kind} is incomplete: write its method {missing}, which "
            f"{base.__name__} describes"
        )
    missing = [name for name in attributes if not hasattr(given, name)]
    if missing:
        raise UserError(
            f"{given.__name__}.{missing[0]}: missing: write this attribute, which {base.__name__} describes"
        )


def register(kind: Kind, name: str, given: C, taken: Collection[str]) -> C:
    """Register the class `given` as `name` in the file that is running. `taken`: the built-in names.

    Raises UserError for a name that is malformed or taken. Outside a running file, for instance in a test
    that imports the file, only the checks are made.
    """
    if not isinstance(name, str) or not re.fullmatch(NAME, name) or len(name) > LONGEST_NAME:
        raise UserError(
            f"{given.__name__}: {name!r} is not a valid name: write at most {LONGEST_NAME} lowercase "
            "letters, digits, dots, dashes and underscores, with no dot, dash or underscore at the beginning "
            "and no dot at the end"
        )
    if name in taken or (_running is not None and (kind, name) in _running.classes):
        raise UserError(f"{given.__name__}: the {kind} {name!r} already exists: write another name")
    if _running is not None:
        _running.classes[kind, name] = given
    return given


def activate(paths: Sequence[str]) -> None:
    """Run the files `paths`. From now on exactly the names that they register are known.

    Raises UserError, one line that names the file, when a file does not exist, fails, registers nothing, or
    registers a name that another file has registered.
    """
    global _active
    found, owners = [], {}
    for path in paths:
        extension = _load(path)
        for kind, name in extension.classes:
            other = owners.setdefault((kind, name), extension)
            if other is not extension:
                raise UserError(
                    f"{path}: {other.path} already registers the {kind} {name!r}: write another name, or "
                    "remove one of the files from `extensions`"
                )
        found.append(extension)
    _active = found


def active() -> list[Extension]:
    """The files of the configuration. In a job, the files that the workflow passes in `VARIABLE`."""
    if _active is None:
        activate([path for path in os.environ.get(VARIABLE, "").split(os.pathsep) if path])
    return _active or []


def share() -> None:
    """Pass the files to the processes that this one starts."""
    paths = [str(extension.path.resolve()) for extension in active()]
    if paths:
        os.environ[VARIABLE] = os.pathsep.join(map(_quoted, paths))
    else:
        os.environ.pop(VARIABLE, None)


def _quoted(path: str) -> str:
    return path.replace("%", "%25").replace(os.pathsep, quote(os.pathsep, safe=""))


def names(kind: Kind) -> list[str]:
    """Names that the files register, in the order of the files."""
    return [name for extension in active() for its, name in extension.classes if its == kind]


def classes(kind: Kind) -> list[Any]:
    """Classes that the files register, in the order of `names`."""
    return [given for extension in active() for (its, _), given in extension.classes.items() if its == kind]


def find(kind: Kind, name: str) -> Any | None:
    """The class that a file registers as `name`, or None."""
    return next((e.classes[kind, name] for e in active() if (kind, name) in e.classes), None)


def hash_of(kind: Kind, name: str) -> str | None:
    """SHA-256 (hex) of the file that registers `name`, or None."""
    return next((e.sha256 for e in active() if (kind, name) in e.classes), None)


def check(sha256: str | None) -> None:
    """In a job: raise UserError if no active file has the SHA-256 that the workflow planned the job with."""
    if sha256 is None or any(extension.sha256 == sha256 for extension in active()):
        return
    files = ", ".join(str(extension.path) for extension in active())
    raise UserError(
        f"extensions: {files} changed after the run started: run the workflow again"
        if files
        else f"extensions: the environment variable {VARIABLE} is empty: write the extension files' paths "
        "into it, or let the workflow run the stage"
    )


def _load(name: str) -> Extension:
    path = Path(os.path.expanduser(name))
    if not path.is_file() and "%" in name:
        path = Path(unquote(name))  # from VARIABLE
    if path.suffix != ".py" or not path.is_file():
        raise UserError(
            f"extensions: no Python file {name!r}: write the path of a .py file, relative to {Path.cwd()}"
        )
    try:
        source = path.read_bytes()
    except OSError as error:
        raise UserError(
            f"extensions: {name!r} cannot be read ({error.strerror}): change its permissions, or "
            "remove it from `extensions`"
        ) from None
    digest = hashlib.sha256(source).hexdigest()
    key = (path.resolve(), digest)
    if key not in _ran:
        _ran[key] = _run(path, source, digest)
    return _ran[key]


def _run(path: Path, source: bytes, digest: str) -> Extension:
    """Run `source`, exactly the bytes that were hashed, as a module of its own."""
    global _running
    module = types.ModuleType(f"vlm4vla_extension_{re.sub(r'[^a-zA-Z0-9]', '_', path.stem)}_{digest[:8]}")
    module.__file__ = str(path)
    sys.modules[module.__name__] = module  # dataclasses look up their own module there
    before, _running = _running, Extension(path, digest)
    try:
        exec(compile(source, str(path), "exec"), module.__dict__)
        made = _running
    except UserError as error:
        raise UserError(f"{path}: {error}") from None
    except KeyboardInterrupt:
        raise
    except BaseException as error:  # a user's code can raise anything, and can end the process
        raise UserError(
            f"{path}: {_describe(error, path)}: fix the file, or remove it from `extensions`"
        ) from None
    finally:
        _running = before
    if not made.classes:
        raise UserError(
            f"{path}: registers nothing: write @family, @benchmark or @auxiliary_task from "
            "vlm4vla.extensions above a class"
        )
    return made


def _describe(error: BaseException, path: Path) -> str:
    """`line 7: NameError: name 'x' is not defined`, with the line number in the user's file."""
    try:
        words = one_line((str(error).splitlines() or [""])[0][:LONGEST_WORDS])
    except KeyboardInterrupt:
        raise
    except BaseException:  # the user's own exception, whose __str__ fails, or ends the process
        words = ""
    if isinstance(error, SyntaxError):
        return f"line {error.lineno}: {error.msg}" if error.lineno else error.msg
    lines = [
        frame.lineno for frame in traceback.extract_tb(error.__traceback__) if frame.filename == str(path)
    ]
    where = f"line {lines[-1]}: " if lines else ""
    if isinstance(error, ImportError) and (error.name or "").startswith("vlm4vla."):
        words += ": import what you need from vlm4vla.extensions"  # modules move, its names stay
    return f"{where}{type(error).__name__}" + (f": {words}" if words else "")
