"""The command `vlm4vla`: commands for users, and commands that the workflow runs (commands, stages)."""

from __future__ import annotations

import argparse
import contextlib
import os
import select
import sys
import textwrap
import time
from collections.abc import Mapping, Sequence
from importlib import metadata
from pathlib import Path

from vlm4vla.commands import COMMANDS
from vlm4vla.commands.command import OUTPUT_HELP
from vlm4vla.core import completion, cpu_time
from vlm4vla.core.disk import cannot_write, no_space
from vlm4vla.core.errors import UserError, suggestion
from vlm4vla.stages.running import STAGES, run_stage
from vlm4vla.training.distributed import launch
from vlm4vla.training.distributed.processes import USER_ERROR_STATUS

COMPLETION = "completion"
DESCRIBE = "describe"
INTERRUPTED_STATUS = 130  # of a program that Ctrl-C ended, by the convention of shells
READER_LEFT_STATUS = 141  # of a program that SIGPIPE ended, by the same convention
_USAGE_STATUS = 2  # of argparse
# The folders that stages read, by the names of the options
_INPUTS = {
    "questions": "folder of the stage questions",
    "backbone": "folder of the stage backbone or auxiliary",
    "data": "folder of the stage auxiliary-data or fast-data",
    "demonstrations": "folder of the stage demonstrations",
    "vla": "folder of the stage vla",
    "against": "folder of the rollout with which the policy is compared, for early stopping",
}


def version() -> str:
    """The version of the installed package."""
    try:
        return metadata.version("vlm4vla")
    except metadata.PackageNotFoundError:
        return "(not installed)"


def _listed(commands: Mapping[str, str]) -> str:
    """Names and descriptions in two columns."""
    lines = []
    for name, text in commands.items():
        first, *rest = textwrap.wrap(text, 80)
        lines += [f"  {name:<26}{first}", *(f"{'':28}{line}" for line in rest)]
    return "\n".join(lines)


def _overview() -> str:
    """The commands for users, and apart from them the commands that the workflow runs."""
    own = {name: tool.help for name, tool in COMMANDS.items() if not tool.of_workflow}
    own[COMPLETION] = "print a script that completes commands and options in the shell"
    others = {name: stage.help for name, stage in STAGES.items()}
    others |= {name: tool.help for name, tool in COMMANDS.items() if tool.of_workflow}
    return (
        f"commands:\n{_listed(dict(sorted(own.items())))}\n\n"
        "commands that the workflow runs (users run `make` or `snakemake`, which write the settings):"
        f"\n{_listed(others)}\n\n`vlm4vla COMMAND --help` shows the options of a command."
    )


def parser() -> argparse.ArgumentParser:
    """The parser of the command line."""
    top = argparse.ArgumentParser(
        prog="vlm4vla",
        usage="%(prog)s [-h] [--version] COMMAND ...",
        description="The stages of the VLM4VLA study, and tools for its results.",
        epilog=_overview(),
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    top.add_argument("--version", action="version", version=f"%(prog)s {version()}")
    # Commands without `help` are not listed here. `_overview` lists them in two groups.
    commands = top.add_subparsers(
        dest="command", required=True, prog=top.prog, metavar="COMMAND", help=argparse.SUPPRESS
    )
    for name, stage in STAGES.items():
        command = commands.add_parser(name, description=stage.help)
        command.add_argument("--settings", required=True, metavar="JSON", help="settings of the stage")
        for folder in stage.inputs:
            required = stage.inputs_required
            command.add_argument(
                f"--{folder}", type=Path, required=required, metavar="FOLDER", help=_INPUTS[folder]
            )
        command.add_argument("--output", type=Path, required=True, metavar="PATH", help=OUTPUT_HELP)
    for name, tool in COMMANDS.items():
        command = commands.add_parser(name, description=tool.help)
        for names, keywords in tool.arguments:
            command.add_argument(*names, **keywords)
    command = commands.add_parser(
        COMPLETION,
        description="print a script that completes commands and options in the shell",
        epilog='In bash or zsh: eval "$(vlm4vla completion bash)" (or zsh), also in ~/.bashrc or ~/.zshrc.',
    )
    command.add_argument("shell", choices=completion.SHELLS, help="the shell that reads the script")
    return top


def _unknown_command(words: Sequence[str]) -> str | None:
    """One line about a command that does not exist; None if there is no such word."""
    known = [*STAGES, *COMMANDS, COMPLETION]
    word = next((word for word in words if not word.startswith("-")), None)
    if not words or words[0] != word or word in known:
        return None
    return f"unknown command {word!r}: {suggestion(word, known)}"


def _interrupted(command: str) -> str:
    """The line after Ctrl-C, with how to go on."""
    if command in STAGES:
        return f"interrupted: run {command} again: it goes on from what it has saved, if there is anything"
    tool = COMMANDS.get(command)
    if tool is not None and tool.resumes:
        return f"interrupted: run {command} again: it goes on from what it has saved"
    return f"interrupted: run {command} again: it starts from the beginning"


def _reader_has_left() -> bool:
    """Whether nobody reads this program's output any more, as in `vlm4vla estimate | head`.

    If so, what was not read is discarded: Python would end with a traceback when it writes it.
    """
    try:
        sys.stdout.flush()
        poll = select.poll()
        poll.register(sys.stdout.fileno(), 0)
        if not any(event & select.POLLERR for _, event in poll.poll(0)):
            return False
    except BrokenPipeError:
        pass
    except (OSError, ValueError):  # a closed or replaced standard output
        return False
    nowhere = os.open(os.devnull, os.O_WRONLY)
    os.dup2(nowhere, sys.stdout.fileno())
    os.close(nowhere)
    return True


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the command and return its exit status.

    A UserError is printed as one line on standard error and gives status 1. So do a full disk, and Ctrl-C,
    with status 130. A reader that has left, such as `head`, ends the command without a word. Without
    `arguments`, the command is that of the process, and a job prints the CPU time of the process at its end.
    """
    if arguments is None:
        cpu_time.own_process()
    try:
        status = _main(arguments)
    except (BrokenPipeError, SystemExit):  # the pipe of another program, and the end of argparse
        if not _reader_has_left():
            raise
        return READER_LEFT_STATUS
    return READER_LEFT_STATUS if _reader_has_left() else status


def _main(arguments: Sequence[str] | None) -> int:
    # Set before torch and numpy are loaded. One thread per job: the workflow runs one job per core.
    for name in ("OMP_NUM_THREADS", "MKL_NUM_THREADS", "OPENBLAS_NUM_THREADS"):
        os.environ.setdefault(name, "1")
    os.environ.setdefault("TOKENIZERS_PARALLELISM", "false")
    words = sys.argv[1:] if arguments is None else arguments
    words = [*words]
    if len(words) > 1 and words[0] == "backbone" and not words[1].startswith("-"):
        words[0] = DESCRIBE  # the stage of this name has options only
    unknown = _unknown_command(words)
    if unknown is not None:
        print(f"error: {unknown}", file=sys.stderr)
        return _USAGE_STATUS
    parsed = parser().parse_args(words)
    if parsed.command == COMPLETION:
        print(completion.script(parser(), parsed.shell), end="")
        return 0
    tool = COMMANDS.get(parsed.command)
    started = time.monotonic()
    is_job = (tool is None or tool.of_workflow) and not launch.is_worker()
    at_exit = cpu_time.PrintAtExit(parsed.command) if arguments is None and is_job else None
    try:
        if tool is None:
            run_stage(parsed)
        else:
            tool.run(parsed)
    except UserError as error:
        print(f"error: {error}", file=sys.stderr)
        return USER_ERROR_STATUS if launch.is_worker() else 1
    except Exception as error:
        if isinstance(error, BrokenPipeError):
            raise
        output = getattr(parsed, "output", None) or Path()
        line = no_space(error, output) or cannot_write(error, output)
        if line is None:
            raise
        with contextlib.suppress(OSError):  # the log may be on the same disk: the run's log names it then
            print(f"error: {line}", file=sys.stderr, flush=True)
        return USER_ERROR_STATUS if launch.is_worker() else 1
    except KeyboardInterrupt:
        if not launch.is_worker():  # the process that started the workers prints the line
            print(_interrupted(parsed.command), file=sys.stderr, flush=True)
        return INTERRUPTED_STATUS
    if (tool is None and not launch.is_worker()) or (tool is not None and tool.timed):
        print(f"{parsed.command}: done in {time.monotonic() - started:.0f} s", flush=True)
    if at_exit is not None:
        at_exit.succeeded = True
    return 0


if __name__ == "__main__":
    sys.exit(main())
