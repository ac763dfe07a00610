"""A page with the films of one benchmark: all policies start from the same initial state."""

from __future__ import annotations

import base64
from collections.abc import Mapping, Sequence
from html import escape

from vlm4vla.report import names
from vlm4vla.report.pages.page import html_page
from vlm4vla.report.rows.films import Film


def film_page(films: Sequence[Film], benchmark: str, labels: Mapping[str, str], scale: str) -> str:
    """HTML with the first filmed episode of `benchmark` under each of the models in `labels`.

    The page contains the films. They play automatically, in a loop.
    """
    title = f"Films: {names.benchmark(benchmark, scale)}"
    own = [film for film in films if film.benchmark == benchmark and film.model in labels]
    if not own:
        return html_page(title, "<p>No episode of this benchmark was filmed.</p>")
    number = min(film.episode for film in own)
    shown: dict[str, Film] = {}
    for film in own:
        if film.episode == number:
            shown.setdefault(film.model, film)
    instructions = "; ".join(next(iter(shown.values())).instructions)
    body = [
        f'<p class="words">Episode {number}, from the same initial state under every policy: '
        f"{escape(instructions)}. A blue frame means that all instructions were solved, an orange frame that "
        "they were not.</p>"
    ]
    for model, label in labels.items():
        if model not in shown:
            continue
        film = shown[model]
        data = base64.b64encode(film.path.read_bytes()).decode()
        mark = ' class="solved"' if film.success else ""
        body.append(
            f'<figure{mark}><img alt="film of {escape(label)}" src="data:image/gif;base64,{data}">'
            f"<figcaption>{escape(label)}: {_outcome(film)}</figcaption></figure>"
        )
    return html_page(title, "\n".join(body))


def _outcome(film: Film) -> str:
    if len(film.instructions) > 1:
        return f"solved {film.solved} of {len(film.instructions)}"
    return "solved" if film.success else "not solved"
