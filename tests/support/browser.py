"""A page in a real Chromium, which Playwright controls from its own environment (envs/browser)."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

REPOSITORY = Path(__file__).parents[2]
PROGRAM = REPOSITORY / "tests/support/browser_program.py"
PYTHON = Path(os.environ.get("BROWSER_PYTHON") or REPOSITORY / ".venv-browser/bin/python")
CHROMIUM = next(
    filter(
        None,
        map(shutil.which, (os.environ.get("CHROMIUM", ""), "chromium", "chromium-browser", "google-chrome")),
    ),
    None,
)
SCREEN, PHONE = (1440, 900), (390, 844)  # width and height in CSS pixels

needs_browser = [
    pytest.mark.browser,
    pytest.mark.skipif(
        not PYTHON.is_file() or not CHROMIUM,
        reason="Chromium or .venv-browser is missing: run make test-browser",
    ),
]

# The page is wider than the window.
OVERFLOW = "document.documentElement.scrollWidth - document.documentElement.clientWidth"


@dataclass(frozen=True)
class Visit:
    """What a visit of a page has shown."""

    values: list[Any]  # of each step: the value of `evaluate`, or None
    errors: list[str]  # errors and warnings on the console, and errors of scripts
    requests: list[str]  # addresses, cut to 200 characters

    @property
    def outside(self) -> list[str]:
        """The requests that neither read a file of the disk nor data of the page. They were refused."""
        return [url for url in self.requests if not url.startswith(("file:", "data:", "blob:", "about:"))]


def visit(page: Path, size: tuple[int, int], steps: Sequence[Sequence[Any]] = ()) -> Visit:
    """Open `page` (a file) in a window of `size` CSS pixels, and follow `steps`.

    A step is ("evaluate", JAVASCRIPT), ("wait", JAVASCRIPT), ("click", SELECTOR), ("fill", SELECTOR, TEXT),
    ("press", KEY), ("viewport", WIDTH, HEIGHT), ("media", "light" | "dark" | "print"), ("goto", URL),
    ("screenshot", PNG) of the window, or ("whole", PNG) of the whole page.
    """
    request = {
        "url": page.resolve().as_uri(),
        "chromium": CHROMIUM,
        "width": size[0],
        "height": size[1],
        "steps": [[str(word) if isinstance(word, Path) else word for word in step] for step in steps],
    }
    done = subprocess.run(
        [str(PYTHON), str(PROGRAM)], input=json.dumps(request), capture_output=True, text=True, timeout=300
    )
    assert done.returncode == 0, done.stderr[-3000:]
    return Visit(**json.loads(done.stdout))
