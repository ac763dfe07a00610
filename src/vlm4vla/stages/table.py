"""The last stage: one table, with its figures and the numbers behind both, from episode records."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

from vlm4vla.config.stages import TableSettings
from vlm4vla.conventions.tables import TABLES
from vlm4vla.core.artefacts import write_json, write_text
from vlm4vla.core.imports import load
from vlm4vla.report.captions import CARRY_OVER, carry_over_sentence
from vlm4vla.report.pages.page import report_caption, table_page
from vlm4vla.report.pages.records_section import records_section
from vlm4vla.report.tables.inputs import TableInputs
from vlm4vla.study.layout import ARTEFACTS
from vlm4vla.study.outputs import outputs


def run(
    settings: TableSettings,
    *,
    episodes: Sequence[Path],
    capability: Sequence[Path] = (),
    published: Path,
    output: Path,
    curves: Sequence[Path] = (),
    auxiliary: Sequence[Path] = (),
    fast: Sequence[Path] = (),
) -> list[Path]:
    """Write the files of `vlm4vla.study.outputs.outputs` under `output`; return their paths.

    `TableInputs` describes the inputs. `published` may also be a file in the folder of the paper's numbers.

    A cell without records is a gap that the table lists. Raises UserError (one line) for records that do not
    belong in one table, and for a file that cannot be read.
    """
    inputs = TableInputs(
        settings,
        episodes,
        published=published if published.is_dir() else published.parent,
        output=output,
        capability=capability,
        curves=curves,
        auxiliary=auxiliary,
        fast=fast,
    )
    table, cells = settings.table, settings.cells
    module, builder = TABLES[table].builder.split(":")
    result = getattr(load(module)[0], builder)(inputs)
    if settings.carry_over is not None:
        carried = carry_over_sentence(output) if settings.carry_over == "numbers" else CARRY_OVER
        result = replace(result, caption=f"{result.caption} {carried}".strip())
    result.write(output / ARTEFACTS["table"].folder, table)
    write_text(output / ARTEFACTS["caption"].path(table=table), report_caption(result))
    numbers = result.analysis(settings.model_dump(mode="json"))
    write_json(output / ARTEFACTS["analysis"].path(table=table), numbers)
    tasks = {task for listed in cells.auxiliaries.values() for task in listed}
    section = records_section(output, table, episodes, (*capability, *auxiliary, *fast), tasks or {"none"})
    write_text(output / ARTEFACTS["table"].path(table=table, format="html"), table_page(result, section))
    return [output / name for name in outputs(table, cells.auxiliaries)]
