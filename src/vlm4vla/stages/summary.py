"""The stage summary: the study in words."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from vlm4vla.core.artefacts import write_text
from vlm4vla.report.pages.summary import (
    _best,
    _cost,
    _findings,
    _how_sure,
    _verdicts,
    _what_was_run,
    markdown,
    read_analyses,
    restructured_text,
)
from vlm4vla.study.outputs import SUMMARY


def run(*, analysis: Sequence[Path], output: Path) -> list[Path]:
    """Write summary.md and, for the front page of Snakemake's report, summary.rst into the results folder
    `output`, from the tables' analysis/*.json and the times that lie in `output`. Raises UserError."""
    analyses = read_analyses(analysis)
    settings = next(iter(analyses.values()))["settings"]
    title = f"The study {settings['study']}, {settings['scale']} scale"
    sections = [
        _what_was_run(analyses),
        _best(analyses),
        _findings(analyses),
        _how_sure(analyses),
        _verdicts(analyses),
        _cost(output),
    ]
    sections = [section for section in sections if section.points or section.rows]
    write_text(output / "summary.md", markdown(title, sections))
    write_text(output / "summary.rst", restructured_text(title, sections))
    return [output / name for name in SUMMARY]
