"""What is built in and what a user's own files add: families, benchmarks and auxiliary tasks by name."""

from __future__ import annotations

import hashlib
import inspect
import os
import re
import sys
import traceback
import types
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal, TypeVar

from vlm4vla.core.errors import UserError

VARIABLE = "VLM4VLA_EXTENSIONS"  # absolute paths, as PATH has them


Kind = Literal["family", "benchmark", "auxiliary task"]


NAME = r"[a-z0-9][a-z0-9._-]*"


C = TypeVar("C", bound=type)


@dataclass
class Extension:
    """A file that was run: its SHA-256 (hex), and the classes that it registered by kind and name."""

    path: Path
    sha256: str
    classes: dict[tuple[Kind, str], Any] = field(default_factory=dict)


_ran: dict[tuple[Path, str], Extension] = {}  # each content of each file runs once a process


_running: Extension | None = None  # whose file runs now


BENCHMARK_CLASSES: dict[str, str] = {
    "calvin": "vlm4vla.benchmarks.calvin:Calvin",
    "bridge": "vlm4vla.benchmarks.bridge:Bridge",
    "libero-10": "vlm4vla.benchmarks.libero:Libero",
}


_active: list[Extension] | None = None  # of the present configuration; None: none was read yet


def _require(kind: Kind, given: Any, base: type, attributes: Sequence[str]) -> None:
    """Raise UserError unless `given` is a class that is made of `base` and has all that it needs."""
    if not (isinstance(given, type) and issubclass(given, base)):
        what = getattr(given, "__name__", repr(given))
        raise UserError(f"{what}: no {kind}: write `class {what}({base.__name__})`")
    if inspect.isabstract(given):
        lacking = ", ".join(sorted(given.__abstractmethods__))
        raise UserError(f"{given.__name__}: no {kind} yet: write its {lacking}, as {base.__name__} says")
    lacking = [name for name in attributes if not hasattr(given, name)]
    if lacking:
        raise UserError(f"{given.__name__}.{lacking[0]}: missing: write it, as {base.__name__} says")


def _register(kind: Kind, name: str, given: C, taken: Any) -> C:
    if not isinstance(name, str) or not re.fullmatch(NAME, name):
        raise UserError(
            f"{given.__name__}: {name!r} is no name: write small letters, digits, dots, dashes, underlines"
        )
    if name in taken or (_running is not None and (kind, name) in _running.classes):
        raise UserError(f"{given.__name__}: the {kind} {name!r} is there already: write another name")
    if _running is not None:  # else the file is imported in another way, for instance by its test
        _running.classes[kind, name] = given
    return given


def activate(paths: Sequence[str]) -> None:
    """Run the files `paths` and take their names, and no other file's, for known from now on.

    Raises UserError, one line that names the file, for one that is not there, fails, registers nothing, or
    registers what another one has.
    """
    global _active
    found, owners = [], {}
    for path in paths:
        extension = _load(path)
        for kind, name in extension.classes:
            other = owners.setdefault((kind, name), extension)
            if other is not extension:
                raise UserError(
                    f"{path}: the {kind} {name!r} is in {other.path} already: write another name, or name "
                    "one of the files"
                )
        found.append(extension)
    _active = found


def active() -> list[Extension]:
    """The files of the configuration; in a job, those that the workflow has told it."""
    if _active is None:
        activate([path for path in os.environ.get(VARIABLE, "").split(os.pathsep) if path])
    return _active or []


def share() -> None:
    """Tell the files to the processes that this one starts."""
    paths = [str(extension.path.resolve()) for extension in active()]
    if paths:
        os.environ[VARIABLE] = os.pathsep.join(paths)
    else:
        os.environ.pop(VARIABLE, None)


def names(kind: Kind) -> list[str]:
    """Registered names, in the order of the files."""
    return [name for extension in active() for its, name in extension.classes if its == kind]


def classes(kind: Kind) -> list[Any]:
    """Registered classes, in the order of `names`."""
    return [given for extension in active() for (its, _), given in extension.classes.items() if its == kind]


def find(kind: Kind, name: str) -> Any | None:
    """The class that is registered as `name`; None where there is none."""
    return next((e.classes[kind, name] for e in active() if (kind, name) in e.classes), None)


def hash_of(kind: Kind, name: str) -> str | None:
    """SHA-256 (hex) of the file that `name` comes from; None for a name that no file registers."""
    return next((e.sha256 for e in active() if (kind, name) in e.classes), None)


def check(sha256: str | None) -> None:
    """Refuse, in a job, a file that is not what it was when the workflow made its plan (UserError)."""
    if sha256 is None or any(extension.sha256 == sha256 for extension in active()):
        return
    files = ", ".join(str(extension.path) for extension in active())
    raise UserError(
        f"extensions: {files} changed since the run began: run the workflow again"
        if files
        else f"extensions: {VARIABLE} names no file: write the paths of the user's own files into it, "
        "or let the workflow run the stage"
    )


def _load(name: str) -> Extension:
    path = Path(name).expanduser()
    if path.suffix != ".py" or not path.is_file():
        raise UserError(
            f"extensions: no Python file {name!r}: write the path of a .py file, as seen from {Path.cwd()}"
        )
    source = path.read_bytes()
    digest = hashlib.sha256(source).hexdigest()
    key = (path.resolve(), digest)
    if key not in _ran:
        _ran[key] = _run(path, source, digest)
    return _ran[key]


def _run(path: Path, source: bytes, digest: str) -> Extension:
    """Run `source`, the very bytes that were hashed, as a module of its own."""
    global _running
    module = types.ModuleType(f"vlm4vla_extension_{re.sub(r'[^a-zA-Z0-9]', '_', path.stem)}_{digest[:8]}")
    module.__file__ = str(path)
    sys.modules[module.__name__] = module  # dataclasses look up their module there
    before, _running = _running, Extension(path, digest)
    try:
        exec(compile(source, str(path), "exec"), module.__dict__)
        made = _running
    except UserError as error:
        raise UserError(f"{path}: {error}") from None
    except Exception as error:  # whatever a user's code may raise
        raise UserError(f"{path}: {_told(error, path)}: mend it, or take it out of `extensions`") from None
    finally:
        _running = before
    if not made.classes:
        raise UserError(
            f"{path}: registers nothing: write @family, @benchmark or @auxiliary_task of vlm4vla.extensions "
            "above a class"
        )
    return made


def _told(error: Exception, path: Path) -> str:
    """`line 7: NameError: name 'x' is not defined`; the line is the file's own."""
    words = (str(error).splitlines() or [""])[0]
    if isinstance(error, SyntaxError):
        return f"line {error.lineno}: {error.msg}"
    lines = [
        frame.lineno for frame in traceback.extract_tb(error.__traceback__) if frame.filename == str(path)
    ]
    where = f"line {lines[-1]}: " if lines else ""
    return f"{where}{type(error).__name__}" + (f": {words}" if words else "")


# Names as in figure 4 of arXiv 2601.03309.
TASKS: dict[str, str] = {
    "robopoint": "vlm4vla.auxiliary.tasks.robopoint:RoboPoint",
    "vica-332k": "vlm4vla.auxiliary.tasks.vica:Vica",
    "bridgevqa": "vlm4vla.auxiliary.tasks.bridgevqa:BridgeVqa",
    "robo2vlm": "vlm4vla.auxiliary.tasks.robo2vlm:Robo2Vlm",
    "robobrain2": "vlm4vla.auxiliary.tasks.robobrain:RoboBrain",
    "vqa-mix": "vlm4vla.auxiliary.tasks.vqa_mix:VqaMix",
    "omni-generation": "vlm4vla.auxiliary.tasks.omni_generation:OmniGeneration",
}


# What config.yaml may write as `family`, and the adapter that serves it. A name is the transformers
# `model_type`, except that PaliGemma 2 shares PaliGemma's and differs in its text model only.
FAMILIES: dict[str, str] = {
    "qwen2_5_vl": "vlm4vla.backbones.families.qwen2_5_vl:Qwen25VL",
    "qwen3_vl": "vlm4vla.backbones.families.qwen3_vl:Qwen3VL",
    "qwen3_vl_moe": "vlm4vla.backbones.families.qwen3_vl_moe:Qwen3VLMoe",
    "paligemma": "vlm4vla.backbones.families.paligemma:PaliGemma",
    "paligemma2": "vlm4vla.backbones.families.paligemma:PaliGemma2",
    "kosmos-2": "vlm4vla.backbones.families.kosmos2:Kosmos2",
    "internvl": "vlm4vla.backbones.families.internvl:InternVL",
}
