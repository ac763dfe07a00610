"""What to say of a word that is not among those that are known."""

from __future__ import annotations

import difflib
from typing import Any


def nearest(word: str, known: Any) -> str:
    """` Did you mean X?` for the known word that is nearest, or the list of all."""
    known = sorted(map(str, known))
    close = difflib.get_close_matches(word, known, n=1, cutoff=0.5)
    return f"did you mean {close[0]!r}?" if close else f"known: {', '.join(known)}"


class UserError(Exception):
    """Something the user can mend: one line that names the file or key, what is wrong and what to write."""
