"""The files of --configfile, checked before Snakemake reads them: it would drop or trip over some of them."""

from __future__ import annotations

import sys
from collections.abc import Sequence
from pathlib import Path

from vlm4vla.config.layer_files import Layer, read_layer
from vlm4vla.conventions.scales import BASE
from vlm4vla.core.errors import UserError

OPTIONS = ("--configfile", "--configfiles")


def layer_files(words: Sequence[str]) -> list[Path]:
    """The files of `--configfile` among the arguments of Snakemake.

    Raises UserError if the option is there twice, because Snakemake then takes the last one only.
    """
    found: list[list[Path]] = []
    taking = False
    for word in words:
        option, equals, value = word.partition("=")
        if option in OPTIONS:
            found.append([Path(value)] if equals else [])
            taking = not equals
        elif word.startswith("-"):
            taking = False
        elif taking:
            found[-1].append(Path(word))
    if len(found) > 1:
        files = " ".join(str(path) for paths in found for path in paths)
        raise UserError(
            f"--configfile is there {len(found)} times, and Snakemake reads only the last one: write "
            f"--configfile {files}"
        )
    return found[0] if found else []


def read_all(words: Sequence[str]) -> list[tuple[str, Layer]]:
    """config.yaml of this folder and the files of `--configfile`: names and contents, in order.

    Raises UserError for a file that `read_layer` refuses.
    """
    paths = [*([BASE] if BASE.exists() else []), *layer_files(words)]
    return [(str(path), read_layer(path)) for path in paths]


def with_overrides(layers: Sequence[tuple[str, Layer]], overrides: Layer) -> list[tuple[str, Layer]]:
    """The layers, and the values of `--config` as the last one."""
    return [*layers, *([("--config", overrides)] if overrides else [])]


def refuse_faulty_layers(words: Sequence[str], folder: Path) -> None:
    """Print one line and exit with status 1 if a layer cannot be read. Do nothing in other workflows.

    Snakemake reads these files before it runs the Snakefile, and ends with a traceback or without the name of
    the file. `folder`: where Snakemake was started.
    """
    if any(word.partition("=")[0] in ("-s", "--snakefile", "-d", "--directory") for word in words):
        return
    snakefile = folder / "Snakefile"
    if not snakefile.is_file() or b"vlm4vla" not in snakefile.read_bytes():
        return
    try:
        read_all(words)
    except UserError as error:
        print(f"error: {error}", file=sys.stderr)
        raise SystemExit(1) from None
