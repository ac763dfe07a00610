"""How policies fail: strips of frames from the first filmed episode in which each of some policies failed."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path

from vlm4vla.report import names
from vlm4vla.report.figures import style
from vlm4vla.report.rows.films import Film, frames_of

FRAMES = 8
STRIPS = 4  # of each benchmark


def first_failures(films: Sequence[Film], benchmarks: Sequence[str], strips: int = STRIPS) -> list[Film]:
    """For each benchmark the first failed film of up to `strips` policies, in the order of `films`."""
    chosen = []
    for benchmark in benchmarks:
        first: dict[tuple[str, str, str], Film] = {}
        for film in films:
            if film.benchmark == benchmark and not film.success:
                first.setdefault((film.model, film.auxiliary, film.variant), film)
        chosen += list(first.values())[:strips]
    return chosen


def draw_failures(films: Sequence[Film], labels: Mapping[str, str], scale: str, stem: Path) -> None:
    """Write `stem`.{pdf,png}: a row a film, its frames from left to right with their times.

    `labels`: the models' names.
    """
    with style.canvas(9.6, 0.2 + 1.42 * max(len(films), 1)) as figure:
        figure.get_layout_engine().set(hspace=0.14)  # room for the titles
        if not films:
            axis = figure.subplots()
            axis.set_axis_off()
            style.empty(axis, "no filmed episode failed")
        grid = figure.subplots(max(len(films), 1), FRAMES, squeeze=False) if films else []
        for axes, film in zip(grid, films, strict=True):
            for axis in axes:
                axis.set_axis_off()
            for axis, (second, picture) in zip(axes, frames_of(film.path, FRAMES), strict=False):
                axis.imshow(picture, interpolation="nearest")
                axis.text(
                    0.03,
                    0.04,
                    f"{second:.1f} s",
                    transform=axis.transAxes,
                    fontsize=6.5,
                    color="white",
                    bbox={"facecolor": "black", "alpha": 0.55, "pad": 1, "linewidth": 0},
                )
            words = _title(film, labels, scale)
            # not a title: it is wider than its frame, which must not grow
            title = axes[0].text(0, 1.07, words, transform=axes[0].transAxes, fontsize=8)
            title.set_in_layout(False)
        style.save(figure, stem)


def _title(film: Film, labels: Mapping[str, str], scale: str) -> str:
    after = f" after {film.solved} of {len(film.instructions)}" if len(film.instructions) > 1 else ""
    where = f"{names.benchmark(film.benchmark, scale)}, {labels.get(film.model, names.model(film.model))}"
    return f"{where}, episode {film.episode}: failed{after}, at '{film.failed_at}'"
