"""How policies fail: strips of frames from the first filmed episode that each of some policies failed."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path

from vlm4vla.report import names
from vlm4vla.report.figures import style
from vlm4vla.report.rows.films import Film, frames_of

FRAMES = 8
STRIPS = 4  # per benchmark


def first_failures(films: Sequence[Film], benchmarks: Sequence[str], strips: int = STRIPS) -> list[Film]:
    """For each benchmark, the first failed film of up to `strips` policies, in the order of `films`."""
    chosen = []
    for benchmark in benchmarks:
        first: dict[tuple[str, str, str], Film] = {}
        for film in films:
            if film.benchmark == benchmark and not film.success:
                first.setdefault((film.model, film.auxiliary, film.variant), film)
        chosen += list(first.values())[:strips]
    return chosen


def draw_failures(films: Sequence[Film], labels: Mapping[str, str], scale: str, stem: Path) -> None:
    """Write `stem`.{pdf,png}: one row per film, with its frames from left to right and their times.

    `labels`: the names of the models.
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
            for axis, (second, frame) in zip(axes, frames_of(film.path, FRAMES), strict=False):
                axis.imshow(frame, interpolation="nearest")
                axis.text(
                    0.03,
                    0.04,
                    f"{second:.1f} s",
                    transform=axis.transAxes,
                    fontsize=6.5,
                    color="white",
                    bbox={"facecolor": "black", "alpha": 0.55, "pad": 1, "linewidth": 0},
                )
            # A text, not a title: it is wider than its frame, and the frame must not grow.
            text = _title(film, labels, scale)
            title = axes[0].text(0, 1.07, text, transform=axes[0].transAxes, fontsize=8)
            title.set_in_layout(False)
        style.save(figure, stem)


def _title(film: Film, labels: Mapping[str, str], scale: str) -> str:
    after = f" after {film.solved} of {len(film.instructions)}" if len(film.instructions) > 1 else ""
    policy = f"{names.benchmark(film.benchmark, scale)}, {labels.get(film.model, names.model(film.model))}"
    return f"{policy}, episode {film.episode}: failed{after}, at '{film.failed_at}'"
