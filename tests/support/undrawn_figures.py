"""Tables whose numbers and words are tested need no figures, which take most of their time."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from pathlib import Path

import pytest
from matplotlib.figure import Figure

from vlm4vla.report.figures import style

FILES = {"pdf": b"%PDF-1.4\n%%EOF\n", "png": b"\x89PNG\r\n\x1a\n"}


@contextlib.contextmanager
def undrawn() -> Iterator[None]:
    """Figures are built, but not laid out: each of their files has only the first bytes of its format."""

    def savefig(figure: Figure, path: Path, *, format: str, **_options: object) -> None:
        Path(path).write_bytes(FILES[format])

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(style, "fit", lambda figure: None)
        patch.setattr(Figure, "savefig", savefig)
        yield
