"""The published study: the analysis of this study, applied to the numbers of the paper and of others."""

from __future__ import annotations

from pathlib import Path

from vlm4vla.core.artefacts import file_hash, write_json, write_text
from vlm4vla.report.judged.stage import write
from vlm4vla.report.judged.table_file import read_table
from vlm4vla.report.judged.tables import judged_table
from vlm4vla.report.judged.verdicts import judge
from vlm4vla.report.published_study import correlation_table, tables
from vlm4vla.report.published_study.comparisons import compare_all
from vlm4vla.report.published_study.flags import find_flags
from vlm4vla.report.published_study.numbers import EXPERT, read_numbers
from vlm4vla.report.published_study.scores import read_scores
from vlm4vla.report.rows.paper_numbers import read_published_correlation
from vlm4vla.study.layout import ARTEFACTS
from vlm4vla.study.outputs import OTHER_SOURCES, PUBLISHED_SOURCES, PUBLISHED_TABLES, published_outputs


def run(published: Path, scores: Path | None, output: Path) -> list[Path]:
    """Write the files of `outputs` to the folder `output`, and return their paths.

    `published`: folder with the paper's numbers as CSV files. `scores`: CSV file `model,score` with question
    scores of the backbones, from which the correlation is recomputed. Raises UserError (one line) for a file
    that cannot be used.
    """
    numbers = read_numbers(published)
    backbones = [n.model for n in numbers if n.table == "main" and n.kind != EXPERT]
    given = {} if scores is None else read_scores(scores, set(backbones))
    flags, compared = find_flags(numbers), compare_all(numbers)
    made = {name: tables.score_table(name, numbers, flags, compared) for name in tables.TITLES}
    made["correlation"] = correlation_table.build(numbers, read_published_correlation(published), given)
    made["comparisons"] = tables.comparisons_table(compared)
    made["flagged"] = tables.flagged_table(numbers, flags)
    sources = {name: file_hash(published / name) for name in PUBLISHED_SOURCES}
    settings = {"study": "published", "published": sources}
    settings |= {} if scores is None else {"scores": file_hash(scores)}
    for name in PUBLISHED_TABLES:
        made[name].write(output / ARTEFACTS["table"].folder, name)
        if name == "comparisons":
            path = output / ARTEFACTS["table"].path(table=name, format="tex")
            write_text(path, tables.latex_floats(made[name]))
        write_json(output / ARTEFACTS["analysis"].path(table=name), made[name].analysis(settings))
    for name in OTHER_SOURCES:
        table = read_table(published / name)
        comparisons = judge(table)
        judged = judged_table(table, comparisons)
        tables_folder = output / ARTEFACTS["table"].folder
        write(judged, tables_folder, output / ARTEFACTS["figure"].folder / judged.name, table, comparisons)
    return [output / name for name in published_outputs()]
