"""Child processes that end when this process ends, however it ends.

This process can end in three ways, and each needs its own measure:

- An exception: use `Child` as a context manager. Leaving the block ends the child.
- SIGTERM, which Slurm and Snakemake send to stop a job: `exit_on_sigterm` turns the signal into SystemExit,
  so the block is left as with any exception.
- SIGKILL, a crash, or SIGTERM without `exit_on_sigterm`: no code of this process runs any more. The kernel
  then sends the child the signal that the child asked for when it started (prctl(2), PR_SET_PDEATHSIG).

The kernel's signal reaches the child only, not the child's own children. A child of this package starts its
own children in one of these ways, too; any other program must end its children itself when it gets SIGTERM.
"""

from __future__ import annotations

import contextlib
import ctypes
import os
import signal
import subprocess
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, Self

PATIENCE_S = 15.0  # seconds between SIGTERM and SIGKILL when a child is ended
_PR_SET_PDEATHSIG = 1  # from linux/prctl.h
_LIBC = ctypes.CDLL(None)  # loaded now, because loading a library between fork and exec can deadlock


class Child:
    """A child process that ends when this process ends: see the module's docstring.

    The thread that starts the child must live as long as the child: the kernel sends `death_signal` when that
    thread ends.

    `environment`: variables that are added to this process's environment.
    `log`: the file that gets the child's standard output and standard error. The child then has an empty
    standard input. Without `log`, the child uses this process's three streams.
    `folder`: the child's working directory, by default this process's.
    `patience_s`: seconds that `end` gives the child after SIGTERM.
    `death_signal`: the signal that the kernel sends the child when this process dies.
    """

    def __init__(
        self,
        command: Sequence[str],
        *,
        environment: Mapping[str, str] | None = None,
        log: Path | None = None,
        folder: Path | None = None,
        patience_s: float = PATIENCE_S,
        death_signal: signal.Signals = signal.SIGTERM,
    ):
        self.log, self.patience_s = log, patience_s
        parent = os.getpid()

        def end_with_parent() -> None:
            _LIBC.prctl(_PR_SET_PDEATHSIG, int(death_signal))
            if os.getppid() != parent:  # the parent died before the call above
                os._exit(1)

        with contextlib.ExitStack() as stack:
            streams: dict[str, Any] = {}
            if log is not None:
                log.parent.mkdir(parents=True, exist_ok=True)
                file = stack.enter_context(log.open("wb"))
                streams = {"stdin": subprocess.DEVNULL, "stdout": file, "stderr": subprocess.STDOUT}
            self._process = subprocess.Popen(
                list(command),
                cwd=folder,
                env={**os.environ, **(environment or {})},
                preexec_fn=end_with_parent,
                **streams,
            )

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.end()

    @property
    def pid(self) -> int:
        return self._process.pid

    @property
    def status(self) -> int | None:
        """The exit status, negative for a signal, or None while the child runs."""
        return self._process.poll()

    def wait(self) -> int:
        """Wait until the child has ended and return its exit status."""
        return self._process.wait()

    def end(self) -> None:
        """Send SIGTERM, and SIGKILL if the child still runs after `patience_s` seconds."""
        if self.status is not None:
            return
        self._process.terminate()
        try:
            self._process.wait(self.patience_s)
        except subprocess.TimeoutExpired:
            self._process.kill()
            self._process.wait()

    def last_line(self) -> str:
        """The last line of the log that is not blank."""
        lines = self.log.read_text(errors="replace").splitlines() if self.log is not None else []
        return next((line.strip() for line in reversed(lines) if line.strip()), "no output")


@contextlib.contextmanager
def exit_on_sigterm() -> Iterator[None]:
    """Within the block, SIGTERM raises SystemExit(143), so context managers end their child processes.

    Call it in the main thread: Python allows no other thread to set a signal handler.
    """

    def leave(number: int, _: object) -> None:
        raise SystemExit(128 + number)

    previous = signal.signal(signal.SIGTERM, leave)
    try:
        yield
    finally:
        signal.signal(signal.SIGTERM, previous)
