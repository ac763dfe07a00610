"""Errors that the user can correct, and suggestions for misspelt words."""

from __future__ import annotations

import difflib
from typing import Any


class UserError(Exception):
    """An error that the user can correct.

    The message is one line: the file or key, what is wrong with it, and what to write instead.
    """


def one_line(text: str) -> str:
    """`text` with line breaks and other control characters as escapes, such as `\\n`."""
    return "".join(each if each.isprintable() else repr(each)[1:-1] for each in text)


def suggestion(word: str, known: Any) -> str:
    """`did you mean 'X'?` for the most similar known word, or the list of all known words."""
    known = sorted(one_line(str(each)) for each in known)
    close = difflib.get_close_matches(word, known, n=1, cutoff=0.5)
    return f"did you mean {close[0]!r}?" if close else f"known: {', '.join(known)}"
