"""The summary of a study in words."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from vlm4vla.core.artefacts import write_text
from vlm4vla.report.pages.summary import markdown, read_analyses, restructured_text, summary_sections
from vlm4vla.study.outputs import SUMMARY


def run(*, analysis: Sequence[Path], output: Path) -> list[Path]:
    """Write summary.md, and summary.rst for the front page of Snakemake's report, to the results folder.

    `analysis`: the analysis/*.json files of the tables. `output`: the study's results folder, which also has
    the measured times. Raises UserError for a file that cannot be read.
    """
    analyses = read_analyses(analysis)
    settings = next(iter(analyses.values()))["settings"]
    title = f"The study {settings['study']}, {settings['scale']} scale"
    sections = summary_sections(analyses, output)
    write_text(output / "summary.md", markdown(title, sections))
    write_text(output / "summary.rst", restructured_text(title, sections))
    return [output / name for name in SUMMARY]
