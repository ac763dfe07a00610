"""A local server with as much of the hub's HTTP interface as `snapshot_download` of datasets needs."""

from __future__ import annotations

import hashlib
import json
import threading
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from urllib.parse import unquote

COMMIT = "0123456789abcdef0123456789abcdef01234567"


class HubServer:
    """Serves the datasets `sets`, {name: folder}, at the commit `COMMIT` and the tag `v1`.

    Those in `gated` need the token `good`. `downloads` lists the paths of the downloaded files.
    """

    def __init__(self, sets: dict[str, Path], gated: set[str] = frozenset()):
        self.downloads: list[str] = []
        hub = self

        class Handler(BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.1"

            def do_GET(self) -> None:
                hub._answer(self, sets, gated)

            do_HEAD = do_GET

            def log_message(self, *_: object) -> None:
                pass

        self._server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self.address = f"http://127.0.0.1:{self._server.server_address[1]}"
        threading.Thread(target=self._server.serve_forever, daemon=True).start()

    def close(self) -> None:
        self._server.shutdown()
        self._server.server_close()

    def _answer(self, request, sets, gated) -> None:
        path = unquote(request.path.partition("?")[0])
        parts = path.strip("/").removeprefix("api/").removeprefix("datasets/").split("/")
        name, rest = "/".join(parts[:2]), parts[2:]
        if name not in sets:
            return self._send(request, 401, {"error": "no"}, {"X-Error-Code": "RepoNotFound"})
        if name in gated and request.headers.get("authorization") != "Bearer good":
            return self._send(request, 403, {"error": "gated"}, {"X-Error-Code": "GatedRepo"})
        kind, revision = rest[0], rest[1]
        if revision not in (COMMIT, "v1"):
            return self._send(request, 404, {"error": "no"}, {"X-Error-Code": "RevisionNotFound"})
        folder = sets[name]
        if kind == "revision":
            files = [{"rfilename": str(file.relative_to(folder))} for file in _files(folder)]
            return self._send(request, 200, {"id": name, "sha": COMMIT, "siblings": files})
        if kind == "tree":
            tree = [
                {
                    "type": "file",
                    "path": str(file.relative_to(folder)),
                    "size": file.stat().st_size,
                    "oid": _hash(file),
                }
                for file in _files(folder)
            ]
            return self._send(request, 200, tree)
        file = folder.joinpath(*rest[2:])
        if not file.is_file():
            return self._send(request, 404, {"error": "no"}, {"X-Error-Code": "EntryNotFound"})
        if request.command == "GET":
            self.downloads.append("/".join(rest[2:]))
        headers = {"X-Repo-Commit": COMMIT, "ETag": f'"{_hash(file)}"'}
        self._send(request, 200, file.read_bytes(), headers)

    def _send(self, request, status, body, headers=None) -> None:
        data = body if isinstance(body, bytes) else json.dumps(body).encode()
        request.send_response(status)
        kind = "application/octet-stream" if isinstance(body, bytes) else "application/json"
        for key, value in {"Content-Type": kind, "Content-Length": str(len(data)), **(headers or {})}.items():
            request.send_header(key, value)
        request.end_headers()
        if request.command == "GET":
            request.wfile.write(data)


def _files(folder: Path) -> list[Path]:
    return sorted(file for file in folder.rglob("*") if file.is_file())


def _hash(file: Path) -> str:
    return hashlib.sha1(file.read_bytes()).hexdigest()
