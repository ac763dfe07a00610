"""The command `vlm4vla`: one sub-command per stage, and further commands (commands.py)."""

from __future__ import annotations

import argparse
import os
import sys
import time
from collections.abc import Sequence
from pathlib import Path

from vlm4vla.commands import COMMANDS
from vlm4vla.core.errors import UserError
from vlm4vla.stages.running import STAGES, run_stage
from vlm4vla.training.distributed import launch
from vlm4vla.training.distributed.processes import USER_ERROR_STATUS


def parser() -> argparse.ArgumentParser:
    """The parser of the command line."""
    top = argparse.ArgumentParser(
        prog="vlm4vla", description="The stages of the VLM4VLA study, and tools for its results."
    )
    commands = top.add_subparsers(dest="command", required=True)
    for name, stage in STAGES.items():
        command = commands.add_parser(name, help=f"run the stage {name}")
        command.add_argument("--settings", required=True, help="settings of the stage, as JSON")
        for folder in stage.inputs:
            required = stage.inputs_required
            command.add_argument(f"--{folder}", type=Path, required=required, help="a finished folder")
        command.add_argument("--output", type=Path, required=True)
    for name, tool in COMMANDS.items():
        command = commands.add_parser(name, help=tool.help)
        for names, keywords in tool.arguments:
            command.add_argument(*names, **keywords)
    return top


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the command. A UserError is printed as one line on standard error and gives exit status 1."""
    # Set before torch and numpy are loaded. One thread per job: the workflow runs one job per core.
    for name in ("OMP_NUM_THREADS", "MKL_NUM_THREADS", "OPENBLAS_NUM_THREADS"):
        os.environ.setdefault(name, "1")
    os.environ.setdefault("TOKENIZERS_PARALLELISM", "false")
    parsed = parser().parse_args(arguments)
    tool = COMMANDS.get(parsed.command)
    started = time.monotonic()
    try:
        if tool is None:
            run_stage(parsed)
        else:
            tool.run(parsed)
    except UserError as error:
        print(f"error: {error}", file=sys.stderr)
        return USER_ERROR_STATUS if launch.is_worker() else 1
    if (tool is None and not launch.is_worker()) or (tool is not None and tool.timed):
        print(f"{parsed.command}: done in {time.monotonic() - started:.0f} s", flush=True)
    return 0


if __name__ == "__main__":
    sys.exit(main())
