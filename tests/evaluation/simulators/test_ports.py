"""A port is bound before it is told to anyone, and a taken port is found at once."""

import json
import socket
import subprocess
import sys
import threading
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import pytest

from vlm4vla.core.errors import UserError
from vlm4vla.core.processes import Child
from vlm4vla.evaluation.simulators import harness, ports
from vlm4vla.evaluation.simulators.job_keys import PROOF, JobKey

LOOPBACK = "127.0.0.1"
SERVE = """
import http.server, sys
http.server.HTTPServer(('127.0.0.1', int(sys.argv[1])), http.server.BaseHTTPRequestHandler).serve_forever()
"""


def test_any_free_port_is_bound_and_announced(tmp_path):
    with ports.listen(LOOPBACK, 0) as listening:
        assert ports.announced(tmp_path / "a.json") is None
        ports.announce(listening, tmp_path / "a.json")
        host, port = ports.announced(tmp_path / "a.json")
        assert (host, port) == listening.getsockname() and port > 0
        with socket.create_connection((host, port), timeout=10):  # waits until the server accepts it
            pass


def test_a_port_of_a_server_that_has_ended_can_be_bound_again():
    with ports.listen(LOOPBACK, 0) as first:
        port = first.getsockname()[1]
        with socket.create_connection((LOOPBACK, port)), first.accept()[0]:
            pass
    with ports.listen(LOOPBACK, port) as second:
        assert second.getsockname()[1] == port


def taken(reuse):
    other = socket.socket()
    other.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, reuse)
    other.bind((LOOPBACK, 0))
    other.listen()
    return other


@pytest.mark.parametrize("reuse", [0, 1])
def test_a_taken_port_is_refused_in_one_line(reuse):
    with taken(reuse) as other:
        port = other.getsockname()[1]
        with pytest.raises(UserError, match=f"^{LOOPBACK}:{port}: the policy server cannot listen") as caught:
            ports.listen(LOOPBACK, port)
    assert "Address already in use" in str(caught.value) and "\n" not in str(caught.value)


@pytest.mark.parametrize(
    ("host", "port"), [("192.0.2.1", 0), ("no such host", 0), ("", 70000), (LOOPBACK, 70000), (LOOPBACK, -1)]
)
def test_an_address_that_is_not_of_this_machine_is_refused_in_one_line(host, port):
    with pytest.raises(UserError, match=f"^{host}:{port}: ") as caught:
        ports.listen(host, port)
    assert "\n" not in str(caught.value)


def test_an_ipv6_address_has_brackets_in_a_url():
    assert ports.address("::1", 80) == "[::1]:80" and ports.address(LOOPBACK, 80) == "127.0.0.1:80"


def test_the_process_that_listens_is_found():
    port = ports.free_port(LOOPBACK)
    assert ports.other_listener(port, 1) is None  # nobody listens
    # The server's process starts a process that listens, as a shell script does.
    command = ["sh", "-c", f'"{sys.executable}" -c "{SERVE}" {port}; true']
    with Child(command) as server, subprocess.Popen(["sleep", "60"]) as stranger:
        try:
            assert harness.wait_for_answer(server, LOOPBACK, port, 1) is not None  # it has no /health
            assert ports.other_listener(port, server.pid) is None
            assert "python" in ports.other_listener(port, stranger.pid)
        finally:
            stranger.kill()


class Answering:
    """A server that answers every request in the same way: that of another program or of another job."""

    def __init__(self, text, status=200):
        class Handler(BaseHTTPRequestHandler):
            def do_GET(self):
                self.send_response(status)
                self.end_headers()
                self.wfile.write(text.encode())

            def log_message(self, *_):
                pass

        self.server = ThreadingHTTPServer((LOOPBACK, 0), Handler)
        self.port = self.server.server_address[1]

    def __enter__(self):
        threading.Thread(target=self.server.serve_forever, daemon=True).start()
        return self

    def __exit__(self, *_):
        self.server.shutdown()
        self.server.server_close()


@pytest.mark.parametrize(
    ("text", "status"),
    [
        ('{"status": "ok"}', 200),  # vla-eval's own server
        (json.dumps({"status": "ok", PROOF: "0" * 64}), 200),
        (json.dumps({PROOF: None}), 200),
        ("[]", 200),
        ("this policy server answers only the simulators of its own job", 403),
    ],
)
def test_a_server_that_is_not_this_jobs_is_refused_at_once(text, status):
    with Answering(text, status) as other, Child(["sleep", "60"]) as server:
        problem = harness.wait_for_answer(server, LOOPBACK, other.port, 30, JobKey.create())
    assert problem == f"is not this job's: another program answers at 127.0.0.1:{other.port}"


def test_an_external_server_that_lost_its_port_is_not_confused_with_the_one_that_has_it():
    with Answering('{"status": "ok"}') as other, Child(["sleep", "60"]) as server:
        problem = harness.wait_for_answer(server, LOOPBACK, other.port, 30)
    assert problem.startswith("is not this job's: process ") and f"127.0.0.1:{other.port}" in problem


def test_proxies_of_the_environment_are_not_asked(monkeypatch):
    monkeypatch.setenv("http_proxy", "http://192.0.2.1:9")
    monkeypatch.delenv("no_proxy", raising=False)
    with Answering("[]") as other, Child(["sleep", "60"]) as server:
        problem = harness.wait_for_answer(server, LOOPBACK, other.port, 10, JobKey.create())
    assert "another program answers" in problem


def test_a_server_that_never_listens_or_ends_is_told(tmp_path):
    with Child(["sleep", "60"], log=tmp_path / "log") as server:
        assert harness.wait_for_port(server, tmp_path / "a", 0.3) == (0, "does not listen after 0.3 s")
    with Child(["sh", "-c", "echo error: no policy; exit 1"], log=tmp_path / "log") as server:
        port, problem = harness.wait_for_port(server, tmp_path / "a", 30)
    assert (port, problem) == (0, "ended with status 1 before it answered (error: no policy)")
