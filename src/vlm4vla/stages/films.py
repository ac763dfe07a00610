"""The films in the report: one page per benchmark, and a figure of failed episodes."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from vlm4vla.config.stages import FilmsSettings
from vlm4vla.core.artefacts import write_text
from vlm4vla.report import names
from vlm4vla.report.figures.failures import draw_failures, first_failures
from vlm4vla.report.pages.film_page import film_page
from vlm4vla.report.rows.cells import CEILING, FLOOR
from vlm4vla.report.rows.films import read_films
from vlm4vla.study.layout import ARTEFACTS
from vlm4vla.study.outputs import film_outputs


def run(settings: FilmsSettings, *, episodes: Sequence[Path], output: Path) -> list[Path]:
    """Write the files of `film_outputs` to the folder `output`, and return their paths.

    `episodes`: episodes.parquet of each rollout; the films are in the folder `videos` next to each. Raises
    UserError for files that cannot be read.
    """
    films = read_films(episodes)
    labels = {model: names.model(model) for model in settings.models}
    for benchmark in settings.benchmarks:
        page = film_page(films, benchmark, labels, settings.study_scale)
        write_text(output / ARTEFACTS["films"].path(benchmark=benchmark), page)
    own = [film for film in films if film.model not in (FLOOR, CEILING)]
    chosen = first_failures(own, settings.benchmarks)
    draw_failures(chosen, labels, settings.study_scale, output / ARTEFACTS["figure"].folder / "failures")
    return [output / name for name in film_outputs(settings.benchmarks)]
