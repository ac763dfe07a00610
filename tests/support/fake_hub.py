"""A hub on this machine's loopback: the few answers that huggingface_hub asks for, and faults in them."""

from __future__ import annotations

import hashlib
import json
import socket
import threading
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from urllib.parse import unquote

COMMIT = "0123456789abcdef0123456789abcdef01234567"
NAME = "lab/model"


class FakeHub:
    """Serves `files` (name: bytes) of `NAME` at `COMMIT`, and of its branch main.

    `gated`: files need the token "good"; `drops`: names whose first answer breaks off half-way; `slow`: names
    that never come to an end. `asked`: (method, file, bytes=... header) of every file that was asked for.
    """

    def __init__(self, files: dict[str, bytes]):
        self.files = files
        self.gated = False
        self.drops: set[str] = set()
        self.slow: set[str] = set()
        self.broken = False  # every answer is 503
        self.asked: list[tuple[str, str, str | None]] = []
        self.started = threading.Event()  # half of a slow file is out
        hub = self

        class Handler(BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.1"

            def log_message(self, *_):
                pass

            def do_HEAD(self):
                hub.answer(self, body=False)

            def do_GET(self):
                hub.answer(self, body=True)

        self.server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self.server.daemon_threads = True
        self.url = f"http://127.0.0.1:{self.server.server_address[1]}"
        threading.Thread(target=self.server.serve_forever, daemon=True).start()

    def close(self) -> None:
        self.server.shutdown()
        self.server.server_close()

    def fetched(self) -> list[str]:
        """Files whose bytes were asked for, in order."""
        return [name for method, name, _ in self.asked if method == "GET"]

    def answer(self, request: BaseHTTPRequestHandler, body: bool) -> None:
        path = unquote(request.path.split("?")[0])
        if self.broken:
            return self._fault(request, 503, "")
        for revision in (COMMIT, "main"):
            if path == f"/api/models/{NAME}/revision/{revision}":
                return self._json(request, {"id": NAME, "sha": COMMIT, "siblings": []})
            if path == f"/api/models/{NAME}/tree/{revision}":
                return self._json(request, [self._entry(name) for name in sorted(self.files)])
            prefix = f"/{NAME}/resolve/{revision}/"
            if path.startswith(prefix) and path.removeprefix(prefix) in self.files:
                return self._file(request, path.removeprefix(prefix), body)
        if NAME in path:
            return self._fault(request, 404, "RevisionNotFound")
        return self._fault(request, 401, "RepoNotFound")

    def _entry(self, name: str) -> dict:
        return {"type": "file", "path": name, "size": len(self.files[name]), "oid": self._etag(name)}

    def _etag(self, name: str) -> str:
        return hashlib.sha1(self.files[name]).hexdigest()

    def _file(self, request: BaseHTTPRequestHandler, name: str, body: bool) -> None:
        wanted = request.headers.get("Range")
        self.asked.append((request.command, name, wanted))
        if self.gated and request.headers.get("Authorization") != "Bearer good":
            return self._fault(request, 403 if "Authorization" in request.headers else 401, "GatedRepo")
        whole = self.files[name]
        start = int(wanted.removeprefix("bytes=").split("-")[0]) if wanted else 0
        content = whole[start:]
        request.send_response(206 if start else 200)
        request.send_header("ETag", f'"{self._etag(name)}"')
        request.send_header("X-Repo-Commit", COMMIT)
        request.send_header("Content-Length", str(len(content)))
        if start:
            request.send_header("Content-Range", f"bytes {start}-{len(whole) - 1}/{len(whole)}")
        request.end_headers()
        if not body:
            return None
        half = len(content) // 2
        if name in self.drops:
            self.drops.discard(name)
            request.wfile.write(content[:half])
            request.wfile.flush()
            request.close_connection = True
            request.connection.shutdown(socket.SHUT_WR)
        elif name in self.slow:
            request.wfile.write(content[:half])
            request.wfile.flush()
            self.started.set()
            threading.Event().wait(600)
        else:
            request.wfile.write(content)
        return None

    def _json(self, request: BaseHTTPRequestHandler, value: object) -> None:
        content = json.dumps(value).encode()
        request.send_response(200)
        request.send_header("Content-Type", "application/json")
        request.send_header("Content-Length", str(len(content)))
        request.end_headers()
        request.wfile.write(content)

    def _fault(self, request: BaseHTTPRequestHandler, status: int, code: str) -> None:
        request.send_response(status)
        if code:
            request.send_header("X-Error-Code", code)
        request.send_header("Content-Length", "0")
        request.end_headers()
