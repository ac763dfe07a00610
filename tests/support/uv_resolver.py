"""uv, the resolver of the tests of requirements, from PATH or from the package index."""

from __future__ import annotations

import functools
import re
import shutil
import subprocess
import sys
import tempfile
from pathlib import Path

import pytest

VERSION = "0.13.9"


@functools.cache
def find_uv() -> Path:
    """The program `uv`. Skips the test if uv is neither installed nor can be installed from the index."""
    if found := shutil.which("uv"):
        return Path(found)
    folder = Path(tempfile.mkdtemp(prefix="uv-"))
    command = [sys.executable, "-m", "pip", "install", "--quiet", "--no-deps", "--retries", "1"]
    done = subprocess.run(
        [*command, "--target", str(folder), f"uv=={VERSION}"], capture_output=True, text=True, timeout=300
    )
    if done.returncode:
        reason = (done.stderr.strip().splitlines() or ["no message"])[-1]
        pytest.skip(f"uv is not installed and no package index can be reached, so nothing resolves: {reason}")
    return folder / "bin" / "uv"


def uv(*arguments: str) -> subprocess.CompletedProcess:
    """Run uv. Skips the test if no package index can be reached."""
    done = subprocess.run([str(find_uv()), *arguments], capture_output=True, text=True, timeout=300)
    if done.returncode and re.search(r"Failed to fetch|error sending request|Request failed", done.stderr):
        pytest.skip(f"uv cannot reach a package index: {done.stderr.strip().splitlines()[0]}")
    return done


def compiled(*arguments: str) -> dict[str, str]:
    """`uv pip compile`: normalised name to version. Raises AssertionError if nothing resolves."""
    done = uv("pip", "compile", "--quiet", "--no-header", "--no-annotate", *arguments)
    assert done.returncode == 0, done.stderr
    return pins(done.stdout)


def pins(text: str) -> dict[str, str]:
    """The lines `name==version` of a lock: normalised name to version."""
    found = re.findall(r"^([A-Za-z0-9][\w.-]*)==([^\s;]+)", text, flags=re.MULTILINE)
    return {re.sub(r"[-_.]+", "-", name).lower(): version for name, version in found}
