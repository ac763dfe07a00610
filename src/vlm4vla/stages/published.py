"""The published study: the study's analysis applied to the paper's numbers alone."""

from __future__ import annotations

from pathlib import Path

from vlm4vla.core.artefacts import file_hash, write_json, write_text
from vlm4vla.report.published_study import correlation_table, tables
from vlm4vla.report.published_study.comparisons import compare_all
from vlm4vla.report.published_study.flags import find_flags
from vlm4vla.report.published_study.numbers import EXPERT, read_numbers
from vlm4vla.report.published_study.scores import read_scores
from vlm4vla.report.rows.paper_numbers import read_published_correlation
from vlm4vla.study.published_outputs import SOURCES, TABLES, outputs


def run(published: Path, scores: Path | None, output: Path) -> list[Path]:
    """Write the files of `outputs` under `output`; return their paths.

    `published`: the folder of the paper's numbers as CSV. `scores`: a CSV `model,score` of the backbones'
    question scores, with which the correlation is computed again. Raises UserError (one line) for a file that
    cannot be used.
    """
    numbers = read_numbers(published)
    backbones = [n.model for n in numbers if n.table == "main" and n.kind != EXPERT]
    given = {} if scores is None else read_scores(scores, set(backbones))
    flags, compared = find_flags(numbers), compare_all(numbers)
    made = {name: tables.score_table(name, numbers, flags, compared) for name in tables.TITLES}
    made["correlation"] = correlation_table.build(numbers, read_published_correlation(published), given)
    made["comparisons"] = tables.comparisons_table(compared)
    made["flagged"] = tables.flagged_table(numbers, flags)
    sources = {name: file_hash(published / name) for name in SOURCES}
    settings = {"study": "published", "published": sources}
    settings |= {} if scores is None else {"scores": file_hash(scores)}
    for name in TABLES:
        made[name].write(output / "tables", name)
        if name == "comparisons":
            write_text(output / "tables" / f"{name}.tex", tables.pages(made[name]))
        write_json(output / "analysis" / f"{name}.json", made[name].analysis(settings))
    return [output / name for name in outputs()]
