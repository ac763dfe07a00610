"""uv, the resolver of the tests of requirements, from PATH or from the package index."""

from __future__ import annotations

import functools
import re
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Iterable
from pathlib import Path
from typing import NamedTuple

import pytest
from packaging.utils import canonicalize_name

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


class Resolution(NamedTuple):
    """What uv has chosen. `versions`: by normalised name. `parents`: who asks for each package, by name."""

    versions: dict[str, str]
    parents: dict[str, set[str]]

    def needed_by(self, roots: Iterable[str]) -> set[str]:
        """`roots`, and all packages for which one of them asks, directly or through others."""
        found = set(roots) & self.versions.keys()
        while added := {name for name, by in self.parents.items() if by & found} - found:
            found |= added
        return found


def resolution(*arguments: str) -> Resolution:
    """`uv pip compile` with the packages that ask for each. Raises AssertionError if nothing resolves."""
    options = ("--no-header", "--annotation-style", "line")
    done = uv("pip", "compile", "--quiet", *options, *arguments)
    assert done.returncode == 0, done.stderr
    parents = {}
    for line in done.stdout.splitlines():
        package, _, asking = line.partition("# via")
        for name in pins(package.strip()):
            parents[name] = {canonicalize_name(each.split()[0]) for each in asking.split(",") if each.split()}
    return Resolution(pins(done.stdout), parents)


def pins(text: str) -> dict[str, str]:
    """The lines `name==version` of a lock: normalised name to version."""
    found = re.findall(r"^([A-Za-z0-9][\w.-]*)==([^\s;]+)", text, flags=re.MULTILINE)
    return {re.sub(r"[-_.]+", "-", name).lower(): version for name, version in found}
