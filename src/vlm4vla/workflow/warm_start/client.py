"""The command `vlm4vla` of a run's jobs while a worker is there: runs the command in a child of the worker.

This file is a program: `python -I -S client.py FOLDER ARGUMENTS`. It imports nothing else of the package, so
that it starts in a few milliseconds. `FOLDER` has the worker's socket, and is the first folder in PATH.

The client sends the worker its arguments, standard streams and surroundings. It passes signals to the child
and ends as the child ended. If there is no worker, or if the worker refuses or dies, the client becomes the
real command (exec). After the death of a worker, the command waits for the lock of the output while the child
still works, and then finds its work finished.
"""

from __future__ import annotations

import json
import os
import resource
import signal
import socket
import sys
from typing import Any

SOCKET = "socket"
COMMAND = "vlm4vla"
# Signals that end a process, and those that stop it and let it continue
PASSED = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP, signal.SIGQUIT, signal.SIGUSR1, signal.SIGUSR2)
STOPPED = (signal.SIGTSTP, signal.SIGCONT)
# Variables that a child takes over. No module reads them when it is imported.
OF_JOB = frozenset({"TMPDIR", "TMP", "TEMP", "TEMPDIR", "PWD", "OLDPWD", "SHLVL", "_"})
_LENGTH = 4  # bytes of the number of bytes of a request


def surroundings(environment: dict[str, str]) -> dict[str, Any]:
    """What a child inherits and cannot change: a job gets a child only if the worker has the same.

    The modules that the worker has imported have read the variables: threads, caches, devices.
    """
    return {
        "variables": {name: value for name, value in environment.items() if name not in OF_JOB},
        "affinity": sorted(os.sched_getaffinity(0)),
        "limits": [list(resource.getrlimit(each)) for each in (resource.RLIMIT_AS, resource.RLIMIT_NOFILE)],
        "nice": os.nice(0),
    }


def without_folder(environment: dict[str, str], folder: str) -> dict[str, str]:
    """The variables of the real command: PATH without the client's folder."""
    path = [each for each in environment.get("PATH", "").split(os.pathsep) if each != folder]
    return environment | {"PATH": os.pathsep.join(path)}


def ask(connection: socket.socket, request: dict[str, Any]) -> None:
    """Send a request with this process's standard streams."""
    content = json.dumps(request).encode()
    socket.send_fds(connection, [len(content).to_bytes(_LENGTH, "big")], [0, 1, 2])
    connection.sendall(content)


def read_request(connection: socket.socket) -> tuple[dict[str, Any], list[int]]:
    """A request and its standard streams. Raises OSError or ValueError if it is not whole."""
    head, streams, _, _ = socket.recv_fds(connection, _LENGTH, 3)
    try:
        content = b""
        wanted = int.from_bytes(head, "big")
        while len(content) < wanted:
            part = connection.recv(wanted - len(content))
            if not part:
                raise ValueError("the client has left")
            content += part
        if len(head) != _LENGTH or len(streams) != 3:
            raise ValueError("the length or the standard streams are missing")
        return json.loads(content), streams
    except (OSError, ValueError):
        for stream in streams:
            os.close(stream)
        raise


def run(folder: str, arguments: list[str], environment: dict[str, str]) -> int | None:
    """The wait status of the child that ran the command; None if the worker did not run it to its end."""
    with socket.socket(socket.AF_UNIX) as connection:
        try:
            connection.connect(os.path.join(folder, SOCKET))
            request = {
                "arguments": arguments,
                "folder": os.getcwd(),
                "umask": os.umask(0o077),
                "environment": environment,
                "surroundings": surroundings(environment),
            }
            os.umask(request["umask"])
            ask(connection, request)

            def pass_on(number: int, _: Any) -> None:
                connection.send(bytes([signal.SIGSTOP if number == signal.SIGTSTP else number]))
                if number == signal.SIGTSTP:
                    os.kill(os.getpid(), signal.SIGSTOP)

            for number in (*PASSED, *STOPPED):
                if signal.getsignal(number) != signal.SIG_IGN:
                    signal.signal(number, pass_on)
            answer = b""
            while not answer.endswith(b"\n"):
                part = connection.recv(64)
                if not part:
                    return None
                answer += part
            return int(answer)
        except (OSError, ValueError):
            return None
        finally:
            for number in (*PASSED, *STOPPED):
                if signal.getsignal(number) != signal.SIG_IGN:
                    signal.signal(number, signal.SIG_DFL)


def end_as(status: int) -> None:
    """End as a process with this wait status has ended: with its exit status, or by the same signal."""
    if os.WIFSIGNALED(status):
        resource.setrlimit(resource.RLIMIT_CORE, (0, resource.getrlimit(resource.RLIMIT_CORE)[1]))
        os.kill(os.getpid(), os.WTERMSIG(status))
    os._exit(os.waitstatus_to_exitcode(status))


def main() -> None:
    """Run the command in a child of the worker, or become the real command."""
    # Until the child runs, a signal ends this process without a traceback.
    if signal.getsignal(signal.SIGINT) != signal.SIG_IGN:
        signal.signal(signal.SIGINT, signal.SIG_DFL)
    folder, *arguments = sys.argv[1:]
    environment = without_folder(dict(os.environ), folder)
    status = run(folder, arguments, environment)
    if status is not None:
        end_as(status)
    try:
        os.execvpe(COMMAND, [COMMAND, *arguments], environment)
    except OSError as error:
        print(f"error: {COMMAND}: {error.strerror}: install the package again", file=sys.stderr)
        sys.exit(127)


if __name__ == "__main__":
    main()
