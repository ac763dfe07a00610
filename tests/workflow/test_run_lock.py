"""One run at a time in a results folder, and the message says who runs."""

import errno
import fcntl
import os
import subprocess
import sys

import pytest

from vlm4vla.core.errors import UserError
from vlm4vla.core.output_lock import alone
from vlm4vla.workflow import run_lock

HOLD = """
import sys
from pathlib import Path
from vlm4vla.workflow.run_lock import hold
hold(Path(sys.argv[1]), ["--cores", "8", "all_tables"])
print("held", flush=True)
sys.stdin.read()
"""


@pytest.fixture
def holder(tmp_path):
    process = subprocess.Popen(
        [sys.executable, "-c", HOLD, str(tmp_path)], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    )
    assert process.stdout.readline().strip() == "held"
    yield process
    process.kill()
    process.wait()


def test_a_second_run_is_told_who_holds_the_folder(holder, tmp_path):
    with pytest.raises(UserError) as error:
        run_lock.hold(tmp_path, [])
    line = str(error.value)
    assert f"process {holder.pid} on " in line and "snakemake --cores 8 all_tables" in line
    assert str(tmp_path) in line and "\n" not in line


def test_another_folder_is_free(holder, tmp_path):
    run_lock.hold(tmp_path / "published", [])
    assert (tmp_path / "published" / run_lock.FILE).is_file()


def test_a_killed_run_leaves_no_lock(holder, tmp_path):
    holder.kill()
    holder.wait()
    run_lock.hold(tmp_path, [])


def test_jobs_do_not_inherit_the_lock(holder, tmp_path):
    """A job that outlives its run must not keep the folder locked."""
    run_lock.hold(tmp_path / "own", [])
    handle = run_lock._held[-1]
    assert not os.get_inheritable(handle.fileno())
    run_lock._held.remove(handle)
    handle.close()


def test_an_unreadable_note_of_the_holder(holder, tmp_path):
    (tmp_path / run_lock.FILE).write_text("[]")
    with pytest.raises(UserError, match="its process is not known"):
        run_lock.hold(tmp_path, [])


@pytest.mark.parametrize("number", [errno.ENOSYS, errno.ENOTSUP, errno.ENOLCK])
def test_a_file_system_without_locks(tmp_path, monkeypatch, number, capsys):
    def refuse(*_):
        raise OSError(number, os.strerror(number))

    monkeypatch.setattr(fcntl, "flock", refuse)
    run_lock.hold(tmp_path, [])
    with alone(tmp_path / "stage") as waited:
        assert not waited
    assert "has no locks" in capsys.readouterr().out


def test_other_errors_of_locks_are_raised(tmp_path, monkeypatch):
    def refuse(*_):
        raise OSError(errno.EIO, "input/output error")

    monkeypatch.setattr(fcntl, "flock", refuse)
    with pytest.raises(OSError, match="input/output"), alone(tmp_path / "stage"):
        pass
