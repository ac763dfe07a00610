"""The port of a policy server: bound before the policy is loaded, and told to the job in a file.

The server binds its port itself, so no other process can take it between the choice of a port and its use.
"""

from __future__ import annotations

import contextlib
import json
import socket
from pathlib import Path

import psutil

from vlm4vla.core.artefacts import write_json
from vlm4vla.core.errors import UserError

# Programs that listen for a server in a container, by the beginnings of their names.
_CONTAINERS = ("docker", "containerd", "conmon", "rootless", "podman", "apptainer", "slirp4netns", "pasta")


def listen(host: str, port: int) -> socket.socket:
    """A socket that listens on `host` and `port`; port 0 is any free port.

    Connections wait until the server accepts them. Raises UserError if the port is taken, or if the host is
    not an address of this machine.
    """
    if not 0 <= port < 2**16:  # getaddrinfo would take the remainder
        raise UserError(f"{host}:{port}: not a port: write a number from 0 to {2**16 - 1}")
    try:
        family, _, _, _, address = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)[0]
        found = socket.socket(family, socket.SOCK_STREAM)
    except (OSError, UnicodeError) as error:
        raise UserError(f"{host}:{port}: not an address: {_reason(error)}") from None
    try:
        # A port on which a server has just ended can be bound again; one that is listened on cannot.
        found.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        found.bind(address)
        found.listen(128)
    except OSError as error:
        found.close()
        raise UserError(
            f"{host}:{port}: the policy server cannot listen there: {_reason(error)}: "
            "write another port (0 is any free one), or an address of this machine"
        ) from None
    return found


def _reason(error: Exception) -> str:
    return getattr(error, "strerror", None) or str(error)


def announce(listening: socket.socket, file: Path) -> None:
    """Write the host and the port of the socket to `file`."""
    host, port = listening.getsockname()[:2]
    write_json(file, {"host": host, "port": port})


def announced(file: Path) -> tuple[str, int] | None:
    """The host and the port in `file`, or None while the server has not written them."""
    try:
        record = json.loads(file.read_text())
    except FileNotFoundError:
        return None
    return record["host"], record["port"]


def free_port(host: str) -> int:
    """A port of `host` that no process listens on at the moment.

    Only for a server that cannot be given port 0. `other_listener` tells whether another process took the
    port in the meantime.
    """
    with listen(host, 0) as probe:
        return probe.getsockname()[1]


def address(host: str, port: int) -> str:
    """`host`:`port` as in a URL, where an IPv6 address stands in brackets."""
    return f"[{host}]:{port}" if ":" in host else f"{host}:{port}"


def other_listener(port: int, server: int) -> str | None:
    """The process that listens on `port`, in words, if it does not belong to the process `server`.

    None if `server` or one of its descendants listens, if the process is a container's, or if its owner
    does not let this process see it.
    """
    around = {each.pid for each in psutil.Process().parents()}  # a container that this process runs in
    for connection in psutil.net_connections("tcp"):
        if connection.status != psutil.CONN_LISTEN or connection.laddr.port != port or not connection.pid:
            continue
        with contextlib.suppress(psutil.Error):  # the process has ended in the meantime
            listener = psutil.Process(connection.pid)
            line = [each for each in (listener, *listener.parents()) if each.pid not in around]
            own = any(each.pid == server for each in line)
            if not own and not any(each.name().startswith(_CONTAINERS) for each in line):
                return f"process {listener.pid} ({listener.name()})"
    return None
