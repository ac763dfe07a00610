"""A hub on this machine's loopback that takes uploads, and serves what it has got.

It answers the requests of huggingface_hub 2.4 for `create_repo`, `upload_folder` (with Git LFS), tags and
`snapshot_download`.
"""

from __future__ import annotations

import base64
import hashlib
import json
import threading
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from urllib.parse import unquote, urlsplit

from fast_yaml import load_yaml

TOKEN = "good"


@dataclass
class Repository:
    """`files`: path -> bytes. `commits`: subject and changed paths of each commit, the oldest first."""

    private: bool
    files: dict[str, bytes] = field(default_factory=dict)
    commits: list[tuple[str, list[str]]] = field(default_factory=list)
    tags: dict[str, str] = field(default_factory=dict)

    @property
    def sha(self) -> str:
        return f"{len(self.commits):040x}"


class UploadHub:
    """`repositories`: ("models" or "datasets", name) -> repository. `stored`: LFS objects by their SHA-256.

    `puts`: the objects that were sent, in order. `requests`: method and path of every request. `large`: files
    with more bytes go to Git LFS, as do all safetensors and Parquet files. `hanging`: after so many objects,
    an upload never ends. `read_only`: the token may not write.
    """

    def __init__(self) -> None:
        self.repositories: dict[tuple[str, str], Repository] = {}
        self.stored: dict[str, bytes] = {}
        self.puts: list[str] = []
        self.requests: list[tuple[str, str]] = []
        self.large = 1000
        self.all_regular = False
        self.hanging: int | None = None
        self.hung = threading.Event()
        self.read_only = False
        hub = self

        class Handler(BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.1"

            def log_message(self, *_: object) -> None:
                pass

            def do_GET(self) -> None:
                hub._answer(self)

            do_HEAD = do_POST = do_PUT = do_DELETE = do_GET

        self._server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self._server.daemon_threads = True
        self.url = f"http://127.0.0.1:{self._server.server_address[1]}"
        threading.Thread(target=self._server.serve_forever, daemon=True).start()

    def close(self) -> None:
        self._server.shutdown()
        self._server.server_close()

    def _answer(self, request: BaseHTTPRequestHandler) -> None:
        path = unquote(urlsplit(request.path).path)
        body = request.rfile.read(int(request.headers.get("Content-Length") or 0))
        self.requests.append((request.command, path))
        parts = path.strip("/").split("/")
        if parts[0] == "lfs":
            return self._put(request, parts[1], body)
        if request.headers.get("Authorization") != f"Bearer {TOKEN}":
            return _send(request, 401, {"error": "Invalid credentials"})
        if path == "/api/whoami-v2":
            return _send(request, 200, {"type": "user", "name": "me", "auth": {}})
        if path == "/api/validate-yaml":
            text = json.loads(body)["content"]
            load_yaml(text.split("---")[1])
            return _send(request, 200, {"errors": [], "warnings": []})
        if path == "/api/repos/create":
            return self._create(request, json.loads(body))
        if path.endswith(".git/info/lfs/objects/batch"):
            return self._batch(request, json.loads(body))
        if parts[0] == "api" and parts[1] in ("models", "datasets"):
            kind, name, rest = parts[1], "/".join(parts[2:4]), parts[4:]
        else:
            kind = "datasets" if parts[0] == "datasets" else "models"
            own = parts[1:] if kind == "datasets" else parts
            name, rest = "/".join(own[:2]), own[2:]
        found = self.repositories.get((kind, name))
        if found is None:
            return _send(request, 404, {"error": "not found"}, {"X-Error-Code": "RepoNotFound"})
        return self._of_repository(request, found, name, rest, body)

    def _create(self, request, wanted) -> None:
        if self.read_only:
            return _send(request, 403, {"error": "this token cannot write"})
        kind = f"{wanted.get('type') or 'model'}s"
        name = f"{wanted.get('organization') or 'me'}/{wanted['name']}"
        prefix = "datasets/" if kind == "datasets" else ""
        answer = {"url": f"{self.url}/{prefix}{name}", "name": name, "id": name}
        if (kind, name) in self.repositories:
            return _send(request, 409, {"error": "exists", **answer})
        self.repositories[kind, name] = Repository(private=wanted.get("visibility") == "private")
        return _send(request, 200, answer)

    def _batch(self, request, wanted) -> None:
        objects = []
        for each in wanted["objects"]:
            action = {"upload": {"href": f"{self.url}/lfs/{each['oid']}"}}
            objects.append({**each, **({} if each["oid"] in self.stored else {"actions": action})})
        _send(request, 200, {"transfer": "basic", "objects": objects})

    def _put(self, request, oid: str, body: bytes) -> None:
        if self.hanging is not None and len(self.puts) >= self.hanging:
            self.hung.set()
            threading.Event().wait(600)
        assert hashlib.sha256(body).hexdigest() == oid
        self.stored[oid] = body
        self.puts.append(oid)
        _send(request, 200, {})

    def _of_repository(self, request, found: Repository, name: str, rest: list[str], body: bytes) -> None:
        if rest[:1] == ["revision"] and rest[1] not in ("main", found.sha, *found.tags):
            return _send(request, 404, {"error": "no"}, {"X-Error-Code": "RevisionNotFound"})
        if not rest or rest[0] == "revision":
            siblings = [{"rfilename": path} for path in sorted(found.files)]
            answer = {"id": name, "sha": found.sha, "private": found.private, "siblings": siblings}
            return _send(request, 200, answer)
        if rest[0] == "tree":
            entries = [
                {"type": "file", "path": path, "size": len(data), "oid": _git_hash(data)}
                for path, data in sorted(found.files.items())
            ]
            return _send(request, 200, entries)
        if rest[0] == "preupload":
            return _send(
                request, 200, {"files": [self._mode(found, each) for each in json.loads(body)["files"]]}
            )
        if rest[0] == "commit":
            return self._commit(request, found, name, body)
        if rest[0] == "tag":
            return self._tag(request, found, rest[1], body)
        path = "/".join(rest[2:])
        if rest[0] != "resolve" or path not in found.files:
            return _send(request, 404, {"error": "no"}, {"X-Error-Code": "EntryNotFound"})
        headers = {"X-Repo-Commit": found.sha, "ETag": f'"{_git_hash(found.files[path])}"'}
        return _send(request, 200, found.files[path], headers)

    def _mode(self, found: Repository, file) -> dict:
        path = file["path"]
        lfs = path.endswith((".safetensors", ".parquet", ".zip")) or file["size"] > self.large
        mode = "lfs" if lfs and not self.all_regular else "regular"
        held = found.files.get(path)
        known = {} if held is None else {"oid": hashlib.sha256(held).hexdigest() if lfs else _git_hash(held)}
        return {"path": path, "uploadMode": mode, "shouldIgnore": False, **known}

    def _commit(self, request, found: Repository, name: str, body: bytes) -> None:
        subject, changed = "", []
        for line in body.splitlines():
            item = json.loads(line)
            key, value = item["key"], item["value"]
            if key == "header":
                subject = value["summary"]
                continue
            changed.append(value["path"])
            if key == "file":
                found.files[value["path"]] = base64.b64decode(value["content"])
            elif key == "lfsFile":
                found.files[value["path"]] = self.stored[value["oid"]]
            elif key == "deletedFile":
                del found.files[value["path"]]
            else:
                raise AssertionError(key)
        found.commits.append((subject, changed))
        _send(request, 200, {"commitUrl": f"{self.url}/{name}/commit/{found.sha}", "commitOid": found.sha})

    def _tag(self, request, found: Repository, revision: str, body: bytes) -> None:
        if request.command == "DELETE":
            if found.tags.pop(revision, None) is None:
                return _send(request, 404, {"error": "no"}, {"X-Error-Code": "RevisionNotFound"})
            return _send(request, 200, {})
        found.tags[json.loads(body)["tag"]] = found.sha
        return _send(request, 200, {})


def _git_hash(data: bytes) -> str:
    return hashlib.sha1(f"blob {len(data)}\0".encode() + data).hexdigest()


def _send(request: BaseHTTPRequestHandler, status: int, body: object, headers: dict | None = None) -> None:
    data = body if isinstance(body, bytes) else json.dumps(body).encode()
    kind = "application/octet-stream" if isinstance(body, bytes) else "application/json"
    request.send_response(status)
    for key, value in {"Content-Type": kind, "Content-Length": str(len(data)), **(headers or {})}.items():
        request.send_header(key, value)
    request.end_headers()
    if request.command != "HEAD":
        request.wfile.write(data)
