"""The VLM4VLA study: which vision-language model should be the backbone of a robot policy."""

import os
import sys
from types import TracebackType


def _interrupted(kind: type[BaseException], error: BaseException, trace: TracebackType | None) -> None:
    """Print one line for Ctrl-C while the command's modules are imported. Later, `cli.main` does."""
    if issubclass(kind, KeyboardInterrupt):
        print("interrupted: nothing has started: run the same command again", file=sys.stderr, flush=True)
    else:
        sys.__excepthook__(kind, error, trace)


# Python gives `-m` as the program's name until it has found the module.
if os.path.basename(sys.argv[0]) in ("vlm4vla", "-m"):
    sys.excepthook = _interrupted
