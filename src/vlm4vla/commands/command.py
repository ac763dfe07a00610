"""What a command of `vlm4vla` is: its function, its arguments and its line in `--help`."""

from __future__ import annotations

import argparse
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

_METAVARS = {Path: "PATH", int: "N", float: "NUMBER"}


def option(*names: str, **keywords: Any) -> tuple[tuple[str, ...], dict[str, Any]]:
    """The arguments of one `ArgumentParser.add_argument` call. Values of options are named by their type."""
    if names[0].startswith("-") and keywords.get("type") in _METAVARS:
        keywords = {"metavar": _METAVARS[keywords["type"]]} | keywords
    return names, keywords


@dataclass(frozen=True)
class Command:
    """A sub-command that is not a stage.

    `run`: takes the parsed arguments. `arguments`: made by `option`. `timed`: print the time that the command
    took, which is not wanted after output for programs. `of_workflow`: a rule runs the command, so `--help`
    lists it with the stages. `resumes`: after an interruption, the command goes on from what it has saved.
    """

    help: str
    run: Callable[[argparse.Namespace], None]
    arguments: tuple[tuple[tuple[str, ...], dict[str, Any]], ...]
    timed: bool = True
    of_workflow: bool = False
    resumes: bool = False


FILES = {"type": Path, "nargs": "*", "default": []}
OUTPUT_HELP = "the file or folder that is written"
OUTPUT = option("--output", type=Path, required=True, help=OUTPUT_HELP)
