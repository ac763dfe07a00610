"""How policies fail: strips of frames from the first filmed episode that each of some policies failed."""

from __future__ import annotations

import textwrap
from collections.abc import Mapping, Sequence
from pathlib import Path

from vlm4vla.report import names
from vlm4vla.report.figures import style
from vlm4vla.report.rows.films import Film, frames_of

FRAMES = 8
STRIPS = 4  # per benchmark
TITLE = 140  # characters in a line of a title


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
    titles = [textwrap.fill(_title(film, labels, scale), TITLE) for film in films]
    heights = [1.3 + style.LINE * (title.count("\n") + 1) for title in titles]
    with style.canvas(9.6, sum(heights) or 1.4) as figure:
        if not films:
            axis = figure.subplots()
            axis.set_axis_off()
            style.empty(axis, "no filmed episode failed")
        strips = figure.subfigures(len(films), 1, squeeze=False, height_ratios=heights)[:, 0] if films else []
        for strip, film, title in zip(strips, films, titles, strict=True):
            axes = strip.subplots(1, FRAMES)
            for axis in axes:
                axis.set_axis_off()
            for axis, (second, frame) in zip(axes, frames_of(film.path, FRAMES), strict=False):
                axis.imshow(frame, interpolation="nearest")
                time = axis.text(
                    0.03,
                    0.04,
                    f"{second:.1f} s",
                    transform=axis.transAxes,
                    fontsize=6.5,
                    color="white",
                    bbox={"facecolor": "black", "alpha": 0.55, "pad": 1, "linewidth": 0},
                )
                time.set_in_layout(False)
            strip.suptitle(title, x=0.005, ha="left", fontsize=8)
        style.save(figure, stem)


def _title(film: Film, labels: Mapping[str, str], scale: str) -> str:
    after = f" after {film.solved} of {len(film.instructions)}" if len(film.instructions) > 1 else ""
    policy = f"{names.benchmark(film.benchmark, scale)}, {labels.get(film.model, names.model(film.model))}"
    return f"{policy}, episode {film.episode}: failed{after}, at '{film.failed_at}'"
