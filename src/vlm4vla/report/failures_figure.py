"""How policies fail: strips of frames from the first failed episode that each of some policies was filmed in."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path

from vlm4vla.report import names, style
from vlm4vla.report.films import Film, frames_of

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
    with style.canvas(9.6, 0.5 + 1.42 * max(len(films), 1)) as figure:
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
                    0.03, 0.04, f"{second:.1f} s", transform=axis.transAxes, fontsize=6.5, color="white",
                    bbox={"facecolor": "black", "alpha": 0.55, "pad": 1, "linewidth": 0},
                )
            axes[0].set_title(_title(film, labels, scale), loc="left", fontsize=8)
        style.save(figure, stem)


def _title(film: Film, labels: Mapping[str, str], scale: str) -> str:
    after = f" after {film.solved} of {len(film.instructions)}" if len(film.instructions) > 1 else ""
    return (
        f"{names.benchmark(film.benchmark, scale)}, {labels.get(film.model, names.model(film.model))}, episode "
        f"{film.episode}: failed{after} at \N{LEFT DOUBLE QUOTATION MARK}{film.failed_at}\N{RIGHT DOUBLE QUOTATION MARK}"
    )
