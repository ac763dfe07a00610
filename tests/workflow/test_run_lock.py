"""One run at a time in a results folder, and the message says who runs."""

import errno
import fcntl
import os
import platform
import subprocess
import sys
from pathlib import Path

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


@pytest.mark.parametrize("content", [b"[]", b"", b"\xff\xfe", b'{"pid": 1}', b"[" * 100_000])
def test_an_unreadable_note_of_the_holder(holder, tmp_path, content):
    (tmp_path / run_lock.FILE).write_bytes(content)
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


@pytest.mark.parametrize("number", [errno.EIO, errno.ESTALE, errno.EACCES])
@pytest.mark.parametrize("attempt", [1, 2])
def test_other_errors_of_locks_are_one_line(tmp_path, monkeypatch, number, attempt):
    """At once, or after another process has held the lock."""
    attempts = []

    def refuse(*_):
        attempts.append(1)
        if len(attempts) < attempt:
            raise BlockingIOError
        raise OSError(number, os.strerror(number))

    monkeypatch.setattr(fcntl, "flock", refuse)
    line = rf"stage: cannot be locked \({os.strerror(number)}\): "
    with pytest.raises(UserError, match=line), alone(tmp_path / "stage"):
        pytest.fail("the output is written without a lock")
    with pytest.raises(UserError, match=rf"\.run\.lock: cannot be locked \({os.strerror(number)}\): "):
        run_lock.hold(tmp_path, [])


def test_a_file_system_that_runs_out_of_locks_while_a_job_waits(tmp_path, monkeypatch, capsys):
    errors = iter([BlockingIOError(), OSError(errno.ENOLCK, os.strerror(errno.ENOLCK))])

    def refuse(*_):
        raise next(errors)

    monkeypatch.setattr(fcntl, "flock", refuse)
    with alone(tmp_path / "stage") as waited:
        assert waited
    assert "has no locks" in capsys.readouterr().out


@pytest.fixture
def lock(tmp_path) -> Path:
    path = tmp_path / ".snakemake" / "locks" / "0.input.lock"
    path.parent.mkdir(parents=True)
    path.write_text("")
    return path


def test_stale_lock_is_removed_and_the_lock_of_a_running_snakemake_stays(tmp_path, lock):
    script = tmp_path / "snakemake"
    script.write_text("import time; print('up', flush=True); time.sleep(60)")
    named = subprocess.Popen([sys.executable, str(script)], cwd=tmp_path, stdout=subprocess.PIPE)
    try:
        named.stdout.readline()  # when Popen returns, the kernel may not show the command line yet
        assert not run_lock.release_stale_lock(tmp_path) and lock.exists()
    finally:
        named.kill()
        named.communicate()
    assert run_lock.release_stale_lock(tmp_path)
    assert not lock.exists() and lock.parent.is_dir()


def test_lock_of_another_machine_stays(tmp_path, lock):
    (tmp_path / run_lock.LOCK_OWNER).write_text("login-2\n")
    assert not run_lock.release_stale_lock(tmp_path)
    run_lock.record_lock_owner(tmp_path)  # login-2 still has the lock
    assert (tmp_path / run_lock.LOCK_OWNER).read_text() == "login-2\n"
    lock.unlink()
    run_lock.record_lock_owner(tmp_path)
    assert (tmp_path / run_lock.LOCK_OWNER).read_text() == f"{platform.node()}\n"
    lock.write_text("")
    assert run_lock.release_stale_lock(tmp_path)


@pytest.mark.parametrize(
    "damage",
    [
        lambda owner: owner.write_bytes(b"\xff\xfe"),
        lambda owner: owner.write_bytes(b""),
        lambda owner: owner.mkdir(),
        lambda owner: owner.write_text("login-2\nlogin-3\n"),
        lambda owner: owner.symlink_to(owner),
        lambda owner: os.mkfifo(owner),
    ],
    ids=["no text", "empty", "a folder", "two lines", "a link to itself", "a pipe"],
)
def test_an_unreadable_owner_of_the_lock_is_another_machine(tmp_path, lock, damage):
    """Whose the lock is cannot be known, so it stays, and nothing fails."""
    damage(tmp_path / run_lock.LOCK_OWNER)
    assert not run_lock.release_stale_lock(tmp_path)
    assert lock.exists()


def test_a_stale_lock_that_cannot_be_removed_is_one_line(tmp_path, lock):
    lock.unlink()
    lock.mkdir()
    with pytest.raises(UserError, match=r"0\.input\.lock: the lock of a killed run cannot be removed \(Is a"):
        run_lock.release_stale_lock(tmp_path)


@pytest.mark.parametrize(
    "damage",
    [
        lambda folder: folder.write_text("of the user"),
        lambda folder: folder.symlink_to("nowhere"),
        lambda folder: (folder / "machine").mkdir(parents=True),
    ],
    ids=["a file", "a dead link", "the note a folder"],
)
def test_a_folder_of_snakemake_that_cannot_be_written_is_one_line(tmp_path, damage):
    damage(tmp_path / ".snakemake")
    assert not run_lock.release_stale_lock(tmp_path)
    with pytest.raises(UserError, match=r"\.snakemake: cannot be written \(.*\): change its permissions"):
        run_lock.record_lock_owner(tmp_path)


def test_a_lock_that_cannot_be_opened(tmp_path):
    (tmp_path / run_lock.FILE).mkdir()
    with pytest.raises(UserError, match=r"\.run\.lock: cannot be opened \(Is a directory\)"):
        run_lock.hold(tmp_path, [])
