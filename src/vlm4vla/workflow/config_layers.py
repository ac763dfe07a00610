"""The options --configfile and --config, checked before Snakemake reads them: it drops some in silence."""

from __future__ import annotations

import os
import re
import sys
from collections.abc import Sequence
from pathlib import Path

from vlm4vla.config.layer_files import Layer, check_text, read_layer
from vlm4vla.conventions.scales import BASE
from vlm4vla.core.errors import UserError

FILES = ("--configfile", "--configfiles")
VALUES = ("--config", "-C")
SNAKEFILE, FOLDER = ("--snakefile", "-s"), ("--directory", "-d")
OF_A_JOB = "--mode"  # Snakemake writes it into the command of a job, with encoded values of --config
_KEY = re.compile(r"[a-zA-Z_][\w-]*\w")  # as Snakemake takes it


def values_of(options: Sequence[str], words: Sequence[str]) -> list[list[str]]:
    """The values of each occurrence of an option, which has several names, in the arguments of Snakemake."""
    found: list[list[str]] = []
    taking = False
    for word in words:
        name, equals, value = word.partition("=")
        short = next((each for each in options if len(each) == 2 and word.startswith(each)), None)
        if name in options:
            found.append([value] if equals else [])
            taking = not equals
        elif short is not None:  # -Ca=1
            found.append([word.removeprefix(short)])
            taking = False
        elif word.startswith("-"):
            taking = False
        elif taking:
            found[-1].append(word)
    return found


def layer_files(words: Sequence[str]) -> list[Path]:
    """The files of `--configfile` among the arguments of Snakemake.

    Raises UserError if the option is there twice, because Snakemake then takes the last one only, and for a
    file that is there twice.
    """
    found = _only_one("--configfile", values_of(FILES, words))
    for name in found:
        if not name:
            raise UserError("--configfile: an empty path: write the path of a file")
        if not Path(name).suffix and not os.path.lexists(name):
            raise UserError(
                f"--configfile: no file {name!r}: write the path of a file; if the word is a "
                "target, write it before --configfile"
            )
        if found.count(name) > 1:
            raise UserError(f"--configfile: {name} is there {found.count(name)} times: write each file once")
    return [Path(name) for name in found]


def _only_one(option: str, found: Sequence[Sequence[str]]) -> list[str]:
    """The values of the only occurrence of an option. Raises UserError if there are several."""
    values = [value for each in found for value in each]
    if len(found) > 1:
        raise UserError(
            f"{option} is there {len(found)} times, and Snakemake reads only the last one: write {option} "
            + " ".join(values)
        )
    return values


def check_overrides(words: Sequence[str]) -> None:
    """Raise UserError for values of `--config` that Snakemake drops, or ends on with a traceback."""
    seen = set()
    for entry in _only_one("--config", values_of(VALUES, words)):
        key, equals, value = entry.partition("=")
        if not equals or not _KEY.fullmatch(key):
            first, dot, rest = key.partition(".")
            wanted = f"'{first}={{{rest}: {value}}}'" if equals and dot and first and rest else "KEY=VALUE"
            raise UserError(f"--config: {entry!r} is not a key with a value: write {wanted}")
        if key in seen:
            raise UserError(f"--config: {key} is there twice, and only one of them would count: remove one")
        seen.add(key)
        if value.lstrip().startswith(("{", "[")):
            check_text(value, f"--config: {key}")


def read_all(words: Sequence[str], folder: Path = Path()) -> list[tuple[str, Layer]]:
    """config.yaml of the run's folder and the files of `--configfile`: names and contents, in order.

    Raises UserError for a file that `read_layer` refuses.
    """
    base = folder / BASE
    paths = [*([base] if base.exists() else []), *layer_files(words)]
    return [(str(path), read_layer(path)) for path in paths]


def with_overrides(layers: Sequence[tuple[str, Layer]], overrides: Layer) -> list[tuple[str, Layer]]:
    """The layers, and the values of `--config` as the last one."""
    return [*layers, *([("--config", overrides)] if overrides else [])]


def refuse_faulty_layers(words: Sequence[str], folder: Path) -> None:
    """Print one line and exit with status 1 if a layer cannot be read. Do nothing in other workflows.

    Snakemake reads these files before it runs the Snakefile, and ends with a traceback or without the name of
    the file. `folder`: where Snakemake was started.
    """
    snakefile = folder / next((value for each in values_of(SNAKEFILE, words) for value in each), "Snakefile")
    of_run = next((value for each in values_of(FOLDER, words) for value in each), "")
    if any(word.partition("=")[0] == OF_A_JOB for word in words) or not snakefile.is_file():
        return
    if b"vlm4vla" not in snakefile.read_bytes():
        return
    try:
        check_overrides(words)
        read_all(words, Path(of_run))
    except UserError as error:
        print(f"error: {error}", file=sys.stderr)
        raise SystemExit(1) from None
