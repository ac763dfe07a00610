"""The lock that a killed Snakemake leaves behind."""

from __future__ import annotations

import platform
import subprocess
import sys
from pathlib import Path

import pytest

from vlm4vla.workflow.run_lock import CLAIM, claim, release_stale_lock


@pytest.fixture
def lock(tmp_path) -> Path:
    path = tmp_path / ".snakemake" / "locks" / "0.input.lock"
    path.parent.mkdir(parents=True)
    path.write_text("")
    return path


def test_stale_lock_goes_and_that_of_a_living_run_stays(tmp_path, lock):
    script = tmp_path / "snakemake"
    script.write_text("import time; print('up', flush=True); time.sleep(60)")
    named = subprocess.Popen([sys.executable, str(script)], cwd=tmp_path, stdout=subprocess.PIPE)
    try:
        named.stdout.readline()  # Popen returns while the kernel still has no command line to show for it
        assert not release_stale_lock(tmp_path) and lock.exists()
    finally:
        named.kill()
        named.communicate()
    assert release_stale_lock(tmp_path)
    assert not lock.exists() and lock.parent.is_dir()


def test_lock_of_another_machine_stays(tmp_path, lock):
    (tmp_path / CLAIM).write_text("login-2\n")
    assert not release_stale_lock(tmp_path)
    claim(tmp_path)  # the lock is still login-2's
    assert (tmp_path / CLAIM).read_text() == "login-2\n"
    lock.unlink()
    claim(tmp_path)
    assert (tmp_path / CLAIM).read_text() == f"{platform.node()}\n"
    lock.write_text("")
    assert release_stale_lock(tmp_path)
