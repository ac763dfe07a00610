"""The fenced blocks of a page, as a reader would paste them."""

from __future__ import annotations

import re
import shlex
from pathlib import Path


def blocks(page: Path) -> list[tuple[str, str]]:
    """(language, text) of each fenced block, in order."""
    return re.findall(r"^```(\w*)\n(.*?)^```$", page.read_text(), flags=re.DOTALL | re.MULTILINE)


def pasted(page: Path, language: str) -> str:
    """All blocks of one language, one below the other."""
    return "\n".join(text for name, text in blocks(page) if name == language)


def commands(page: Path) -> list[list[str]]:
    """The words of each shell command, in order. `&&` separates commands; comments are left out."""
    found: list[list[str]] = []
    for line in pasted(page, "bash").replace("\\\n", " ").splitlines():
        words = shlex.split(line, comments=True)
        while "&&" in words:
            at = words.index("&&")
            found.append(words[:at])
            words = words[at + 1 :]
        if words:
            found.append(words)
    return found
