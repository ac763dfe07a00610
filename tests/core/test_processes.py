"""Child processes end with the process that started them. All processes here are real."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import textwrap
import time

import pytest
from process_checks import LIMIT_S, running, wait_until

from vlm4vla.core.processes import Child, exit_on_sigterm

SLEEP = [sys.executable, "-S", "-c", "import time; time.sleep(600)"]
# Starts a copy of itself as its child, until `depth` is 0. Each process writes its process number to a file.
PARENT = """
    import os, sys, time
    from pathlib import Path
    from vlm4vla.core.processes import Child, exit_on_sigterm
    folder, depth, way = Path(sys.argv[1]), int(sys.argv[2]), sys.argv[3]
    def write_and_wait():
        (folder / f"pid{depth}.new").write_text(str(os.getpid()))
        (folder / f"pid{depth}.new").rename(folder / f"pid{depth}")
        time.sleep(600)
    if depth == 0:
        write_and_wait()
    with Child([sys.executable, sys.argv[0], sys.argv[1], str(depth - 1), way]):
        if way == "exits":
            with exit_on_sigterm():
                write_and_wait()
        write_and_wait()
"""


@pytest.mark.parametrize(
    ("sent", "way", "status"),
    [
        (signal.SIGKILL, "waits", -signal.SIGKILL),
        (signal.SIGTERM, "waits", -signal.SIGTERM),
        (signal.SIGTERM, "exits", 128 + signal.SIGTERM),
    ],
)
def test_children_and_grandchildren_end_with_the_parent(tmp_path, sent, way, status):
    script = tmp_path / "parent.py"
    script.write_text(textwrap.dedent(PARENT))
    parent = subprocess.Popen([sys.executable, str(script), str(tmp_path), "2", way])
    files = [tmp_path / f"pid{depth}" for depth in (2, 1, 0)]
    wait_until(lambda: all(file.exists() for file in files))
    pids = [int(file.read_text()) for file in files]
    assert pids[0] == parent.pid and all(map(running, pids))
    parent.send_signal(sent)
    assert parent.wait(LIMIT_S) == status
    wait_until(lambda: not any(map(running, pids)))


def test_the_kernel_sends_the_chosen_signal(tmp_path):
    """A child that ignores SIGTERM outlives its parent unless `death_signal` is SIGKILL."""
    program = f"""
        import os, signal, sys, time
        from pathlib import Path
        from vlm4vla.core.processes import Child
        stubborn = "import signal, time; signal.signal(signal.SIGTERM, signal.SIG_IGN); "
        stubborn += "print('ready', flush=True); time.sleep(600)"
        child = Child([sys.executable, "-S", "-c", stubborn], log=Path({str(tmp_path / "log")!r}),
                      death_signal=signal.SIGKILL)
        while child.last_line() != "ready":
            time.sleep(0.05)
        print(child.pid, flush=True)
        os.kill(os.getpid(), signal.SIGKILL)
    """
    ended = subprocess.run([sys.executable, "-c", textwrap.dedent(program)], capture_output=True, text=True)
    assert ended.returncode == -signal.SIGKILL
    pid = int(ended.stdout)
    wait_until(lambda: not running(pid))


def test_an_exception_ends_the_child():
    with pytest.raises(RuntimeError), Child(SLEEP) as child:
        assert child.status is None
        raise RuntimeError
    assert child.status == -signal.SIGTERM


def test_a_child_that_ignores_sigterm_is_killed(tmp_path):
    stubborn = (
        "import signal, time; signal.signal(signal.SIGTERM, signal.SIG_IGN); print('ready', flush=True)"
    )
    command = [sys.executable, "-S", "-c", stubborn + "; time.sleep(600)"]
    with Child(command, log=tmp_path / "log", patience_s=0.2) as child:
        wait_until(lambda: child.last_line() == "ready")
    assert child.status == -signal.SIGKILL


def test_a_child_gets_its_environment_folder_and_log(tmp_path, monkeypatch):
    monkeypatch.setenv("INHERITED", "yes")
    report = "import os, sys; print(os.getcwd(), os.environ['INHERITED'], os.environ['ADDED']); "
    report += "print(repr(sys.stdin.read())); print('last', file=sys.stderr); print(); sys.exit(3)"
    log = tmp_path / "new" / "folder" / "log"
    command = [sys.executable, "-c", report]
    child = Child(command, environment={"ADDED": "too"}, folder=tmp_path, log=log)
    assert child.wait() == child.status == 3
    assert child.last_line() == "last"
    assert sorted(log.read_text().split("\n")) == ["", "", "''", f"{tmp_path} yes too", "last"]
    child.end()  # a child that has ended is left alone
    assert child.status == 3


def test_a_child_without_output_says_so(tmp_path):
    child = Child([sys.executable, "-S", "-c", ""], log=tmp_path / "log")
    assert child.wait() == 0 and child.last_line() == "no output"


def test_the_earlier_handler_of_sigterm_comes_back():
    before = signal.getsignal(signal.SIGTERM)
    with pytest.raises(SystemExit) as caught, exit_on_sigterm():
        os.kill(os.getpid(), signal.SIGTERM)
        time.sleep(LIMIT_S)
    assert caught.value.code == 143
    assert signal.getsignal(signal.SIGTERM) is before
