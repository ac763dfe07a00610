"""Child processes of a job: started with a log, watched, and gone when the job is."""

from __future__ import annotations

import ctypes
import os
import signal
import socket
import subprocess
import time
import urllib.error
import urllib.request
from collections.abc import Mapping, Sequence
from pathlib import Path

PR_SET_PDEATHSIG = 1  # prctl(2)
PATIENCE_S = 15  # between asking a process to end and ending it


def _die_with_parent() -> None:
    """In the child: the kernel ends it when its parent dies, however that dies."""
    ctypes.CDLL(None).prctl(PR_SET_PDEATHSIG, signal.SIGTERM)


class Child:
    """A process that writes to `log`."""

    def __init__(self, command: Sequence[str], log: Path, environment: Mapping[str, str]):
        log.parent.mkdir(parents=True, exist_ok=True)
        self.log = log
        with log.open("wb") as handle:
            self._process = subprocess.Popen(
                list(command),
                stdin=subprocess.DEVNULL,
                stdout=handle,
                stderr=subprocess.STDOUT,
                env={**os.environ, **environment},
                preexec_fn=_die_with_parent,
            )

    @property
    def pid(self) -> int:
        return self._process.pid

    @property
    def status(self) -> int | None:
        """Exit status, negative for a signal; None while it runs."""
        return self._process.poll()

    def end(self) -> None:
        """Ask it to end, and end it when it does not."""
        if self.status is not None:
            return
        self._process.terminate()
        try:
            self._process.wait(PATIENCE_S)
        except subprocess.TimeoutExpired:
            self._process.kill()
            self._process.wait()

    def last_words(self) -> str:
        """The last line of its log that says something."""
        lines = [line.strip() for line in self.log.read_text(errors="replace").splitlines()]
        return next((line for line in reversed(lines) if line), "it wrote nothing")


def free_port(host: str) -> int:
    """A port of `host` that nobody listens on just now."""
    with socket.socket() as probe:
        probe.bind((host, 0))
        return probe.getsockname()[1]


def answers(host: str, port: int) -> bool:
    """Whether a vla-eval server at this address says that it is ready."""
    try:
        with urllib.request.urlopen(f"http://{host}:{port}/health", timeout=5) as reply:
            return reply.status == 200
    except (urllib.error.URLError, OSError):
        return False


def wait_for_answer(server: Child, host: str, port: int, seconds: float) -> str | None:
    """None once `server` answers; else why it never will."""
    deadline = time.monotonic() + seconds
    while time.monotonic() < deadline:
        if server.status is not None:
            return f"ended with status {server.status} before it answered ({server.last_words()})"
        if answers(host, port):
            return None
        time.sleep(0.5)
    return f"does not answer at {host}:{port} after {seconds:g} s"
