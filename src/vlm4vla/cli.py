"""The command `vlm4vla`: one sub-command a stage, and the tools beside them."""

from __future__ import annotations

import argparse
import os
import sys
import time
from collections.abc import Sequence
from pathlib import Path

from vlm4vla.commands import COMMANDS
from vlm4vla.core.errors import UserError
from vlm4vla.stages.running import OPTIONAL, STAGES, run_stage
from vlm4vla.training.distributed import launch
from vlm4vla.training.distributed.processes import TOLD


def parser() -> argparse.ArgumentParser:
    """The command's arguments."""
    top = argparse.ArgumentParser(prog="vlm4vla", description="Stages of the VLM4VLA study, and its tools.")
    commands = top.add_subparsers(dest="command", required=True)
    for stage, (_, _, inputs) in STAGES.items():
        command = commands.add_parser(stage, help=f"run the stage {stage}")
        command.add_argument("--settings", required=True, help="the stage's settings, as JSON")
        for name in inputs:
            command.add_argument(f"--{name}", type=Path, required=stage not in OPTIONAL, help="a folder")
        command.add_argument("--output", type=Path, required=True)
    for name, tool in COMMANDS.items():
        command = commands.add_parser(name, help=tool.help)
        for names, how in tool.arguments:
            command.add_argument(*names, **how)
    return top


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the command; a user's mistake is one line on standard error and exit status 1."""
    # Before torch or numpy load: one thread a job, the workflow runs as many jobs as there are cores.
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
        return TOLD if launch.is_worker() else 1
    if (tool is None and not launch.is_worker()) or (tool is not None and tool.timed):
        print(f"{parsed.command}: done in {time.monotonic() - started:.0f} s", flush=True)
    return 0


if __name__ == "__main__":
    sys.exit(main())
