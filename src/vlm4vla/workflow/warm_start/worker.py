"""The process that has imported torch and transformers, and forks a child for each job of a run.

It is a program: `python -m vlm4vla.workflow.warm_start.worker FOLDER`. It serves the socket in `FOLDER` until
its standard input ends, which is when the run's Snakemake ends, and until its children have ended.

A child is a new process of one job, as if the command had been started. It must not depend on what the worker
or another job did, so the worker only imports. It runs no operation of torch, opens no display and no GPU,
and forks only while it has a single thread. Modules that start threads or open displays when they are
imported (pyarrow, mujoco) are left to the jobs.
"""

from __future__ import annotations

import atexit
import contextlib
import importlib
import os
import selectors
import shutil
import signal
import socket
import sys
import tempfile
import threading
from pathlib import Path
from typing import Any

from vlm4vla.core import imports
from vlm4vla.workflow.warm_start.client import COMMAND, PASSED, SOCKET, STOPPED, read_request, surroundings

# What the stages import when they start to work. Importing a family's adapter imports its transformers class.
MODULES = (
    *dict.fromkeys(name for names in imports.MODULES.values() for name in names),
    "vlm4vla.cli",
    "vlm4vla.backbones.building",
    "vlm4vla.backbones.checkpoint",
    "vlm4vla.training.components.precision",
    "transformers.models.auto.modeling_auto",
    "transformers.models.auto.image_processing_auto",
    "transformers.models.auto.tokenization_auto",
    "torch._dynamo",  # torch imports it when an optimiser is built
)
_REQUEST_S = 10.0  # a client sends its request at once


def source_state(package: Path) -> tuple[int, int]:
    """The number of the package's source files and the time of the latest change, in nanoseconds.

    A job that starts as usual runs the source of that moment, and its provenance says so.
    """
    times = [path.stat().st_mtime_ns for path in package.rglob("*.py")]
    return len(times), max(times)


class WarmJob:
    """What a client asks for. `streams`: file descriptors of standard input, output and error."""

    def __init__(self, request: dict[str, Any], streams: list[int]):
        self.arguments: list[str] = request["arguments"]
        self.folder: str = request["folder"]
        self.umask: int = request["umask"]
        self.environment: dict[str, str] = request["environment"]
        self.surroundings: dict[str, Any] = request["surroundings"]
        self.streams = streams


class WarmWorker:
    """Accepts clients, forks children, and tells each client how its child has ended."""

    def __init__(self, folder: Path, environment: dict[str, str]):
        self.package = Path(importlib.import_module("vlm4vla").__file__ or "").parent
        self.source = source_state(self.package)
        self.surroundings = surroundings(environment)
        self.selector = selectors.DefaultSelector()
        self.clients: dict[int, socket.socket] = {}  # by the process id of the child
        self.run_ended = False
        self.listener = socket.socket(socket.AF_UNIX)
        self.listener.bind(str(folder / ".socket"))
        self.listener.listen(128)
        self.listener.setblocking(False)
        (folder / ".socket").rename(folder / SOCKET)  # now clients can find it
        self.woken, self.waker = socket.socketpair()
        for each in (self.woken, self.waker):
            each.setblocking(False)
        signal.set_wakeup_fd(self.waker.fileno())
        signal.signal(signal.SIGCHLD, lambda *_: None)
        for what in (self.listener, self.woken, 0):
            self.selector.register(what, selectors.EVENT_READ)

    def serve(self) -> WarmJob | None:
        """Serve until the run has ended and the children have. Return a job in each child, and None here."""
        while not self.run_ended or self.clients:
            for key, _ in self.selector.select():
                if key.fileobj is self.listener:
                    job = self._accept()
                    if job is not None:
                        return job
                elif key.fileobj is self.woken:
                    with contextlib.suppress(BlockingIOError):
                        self.woken.recv(4096)
                    self._report_ended()
                elif key.fileobj == 0:
                    if not os.read(0, 4096):
                        self.selector.unregister(0)
                        self.selector.unregister(self.listener)
                        self.listener.close()
                        self.run_ended = True
                else:
                    self._pass_on(key.data, key.fileobj)
        return None

    def _accept(self) -> WarmJob | None:
        """Answer one client. Return its job in the new child; None in the worker."""
        try:
            connection, _ = self.listener.accept()
        except OSError:
            return None
        connection.settimeout(_REQUEST_S)
        try:
            request, streams = read_request(connection)
            job = WarmJob(request, streams)
        except (OSError, ValueError, KeyError):
            connection.close()
            return None
        pid = None
        try:
            if self._can_serve(job):
                pid = os.fork()
        except OSError:  # no memory or no process left: the job starts as usual, or says so
            pid = None
        if pid == 0:
            self._leave()
            connection.close()
            return job
        for stream in streams:
            os.close(stream)
        if pid is None:
            connection.close()  # a refusal: the client becomes the real command
        else:
            self.clients[pid] = connection
            self.selector.register(connection, selectors.EVENT_READ, pid)
        return None

    def _can_serve(self, job: WarmJob) -> bool:
        return (
            job.surroundings == self.surroundings
            and len(os.listdir("/proc/self/task")) == 1
            and source_state(self.package) == self.source
        )

    def _leave(self) -> None:
        """In a child: close what belongs to the worker, and handle signals as a new process does."""
        signal.set_wakeup_fd(-1)
        signal.signal(signal.SIGCHLD, signal.SIG_DFL)
        for number in (*PASSED, *STOPPED):
            signal.signal(number, signal.SIG_DFL)
        signal.signal(signal.SIGINT, signal.default_int_handler)
        self.selector.close()
        for each in (self.listener, self.woken, self.waker, *self.clients.values()):
            each.close()

    def _pass_on(self, pid: int, connection: Any) -> None:
        """Send a child the signals that its client got. A client that has left was killed."""
        if self.clients.get(pid) is not connection:  # the child has ended in the meantime
            return
        try:
            numbers = connection.recv(64)
        except OSError:
            numbers = b""
        if not numbers:
            self.selector.unregister(connection)
            numbers = bytes([signal.SIGCONT, signal.SIGKILL])
        for number in numbers:
            with contextlib.suppress(ProcessLookupError):
                os.kill(pid, number)

    def _report_ended(self) -> None:
        """Tell the clients of the children that have ended how they ended."""
        while True:
            try:
                pid, status = os.waitpid(-1, os.WNOHANG)
            except ChildProcessError:
                return
            if pid == 0:
                return
            connection = self.clients.pop(pid)
            with contextlib.suppress(KeyError):  # a client that has left
                self.selector.unregister(connection)
            with contextlib.suppress(OSError):
                connection.sendall(f"{status}\n".encode())
            connection.close()


def become(job: WarmJob) -> None:
    """Make this child the process of `job`: its streams, folder and variables, as after an exec."""
    for stream, wanted in zip(job.streams, (0, 1, 2), strict=True):
        os.dup2(stream, wanted)
        os.close(stream)
    os.chdir(job.folder)
    os.umask(job.umask)
    os.environ.clear()
    os.environ.update(job.environment)
    tempfile.tempdir = None  # the folder for temporary files depends on the variables
    sys.argv = [str(Path(sys.executable).with_name(COMMAND)), *job.arguments]
    imports.forget()


def run_job() -> int:
    """Run the command in sys.argv and return the exit status that Python would give."""
    try:
        return int(importlib.import_module("vlm4vla.cli").main())
    except SystemExit as ended:
        if ended.code is None or isinstance(ended.code, int):
            return ended.code or 0
        print(ended.code, file=sys.stderr)
        return 1
    except BaseException as error:
        sys.excepthook(type(error), error, error.__traceback__)
        return 128 + signal.SIGINT if isinstance(error, KeyboardInterrupt) else 1


def end(status: int) -> None:
    """End a child as Python ends, but without destroying the imported modules one by one.

    That would copy all memory that the child shares with the worker. `multiprocessing` ends its forked
    processes in the same way.
    """
    threading._shutdown()  # type: ignore[attr-defined]  # waits for threads, as at the end of Python
    atexit._run_exitfuncs()
    for stream in (sys.stdout, sys.stderr):
        try:
            if stream is not None:
                stream.flush()
        except (OSError, ValueError):
            status = status or 120  # Python's status if the last output cannot be written
    os._exit(status)


def preload() -> None:
    """Import what the stages import, and the adapters of all families."""
    imports.load(*MODULES)
    from vlm4vla.backbones.lookup import adapter_class
    from vlm4vla.core.registry import FAMILIES

    for family in FAMILIES:
        adapter_class(family)
    imports.load()  # exempts the adapters from garbage collections


def main() -> None:
    """Import, serve, and end with the run."""
    folder = Path(sys.argv[1])
    environment = dict(os.environ)
    os.environ.setdefault("TOKENIZERS_PARALLELISM", "false")  # as cli.main does before it imports
    sys.path[0] = str(Path(sys.executable).parent)  # as for the command, and not the current folder
    for number in (*PASSED, *STOPPED):
        if number != signal.SIGTERM:
            signal.signal(number, signal.SIG_IGN)  # Ctrl-C ends the jobs, and then the run and this process
    preload()
    job = WarmWorker(folder, environment).serve()
    if job is None:
        shutil.rmtree(folder, ignore_errors=True)
        os._exit(0)
    become(job)
    end(run_job())


if __name__ == "__main__":
    main()
