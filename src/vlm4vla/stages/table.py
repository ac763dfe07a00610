"""The last stage: one table, with its figures and the numbers behind both, from episode records."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from vlm4vla.analysis.records import read_episodes
from vlm4vla.core.artefacts import write_json, write_text
from vlm4vla.core.errors import UserError
from vlm4vla.report.pages.page import table_page, words
from vlm4vla.report.pages.records_section import records_section
from vlm4vla.study.outputs import TABLES, outputs


def run(
    table: str,
    settings: Mapping[str, Any],
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

    `settings`: {"study": str, "scale": "embedded" | "smoke" | "paper", "seeds": [int],
    "cells": {"backbones": [str], "variants": [str], "benchmarks": [str]}}, where the cells of auxiliary and
    fast_injection also hold "auxiliaries": {backbone: [str]}, and optionally "vla_steps": {variant: training
    steps}, "experts": {expert VLA: its backbone, steps and what it executes} for those that "cells" names.
    `executed_steps` has "horizons": {benchmark: executed steps, the other tables' first}.
    `correlation` takes the cells of `main`, and optionally "families": {backbone: family}.
    `episodes`: the episodes.parquet of every rollout that the table needs, floor ("random") and ceiling
    ("expert") among them. `capability`: the .../capability/{model}/{auxiliary}.json (correlation,
    auxiliary and fast_injection). `curves`: the VLA folders, or their provenance.json, whose train.jsonl is
    drawn (main only). `auxiliary`: the .../auxiliary/{model}/{task} folders, or their provenance.json, whose
    score.json is read (auxiliary and fast_injection). `fast`: the folder of the FAST tokens, or its
    provenance.json, whose report.json is read (fast_injection only).
    `published`: the folder of the paper's numbers as CSV, or a file in it. `output`: the study's results
    folder.

    A cell without records is a gap that the table names. Raises UserError (one line) for an unknown
    table and for records that cannot stand in one table.
    """
    if table not in TABLES:
        raise UserError(f"table: unknown table {table!r}: write one of {', '.join(TABLES)}")
    from vlm4vla.report.tables import auxiliary as auxiliary_report
    from vlm4vla.report.tables import correlation as correlation_report
    from vlm4vla.report.tables import executed_steps as executed_report
    from vlm4vla.report.tables import fast_injection as fast_injection_report
    from vlm4vla.report.tables import freeze as freeze_report
    from vlm4vla.report.tables import main as main_report
    from vlm4vla.report.tables import scratch as scratch_report

    published = published if published.is_dir() else published.parent
    settings = {"experts": {}, **settings, "cells": {"experts": [], **settings["cells"]}}
    own = {"study": settings["study"], "scale": settings["scale"]}
    if table != "executed_steps":
        records = read_episodes(episodes, **own, experts=settings["cells"]["experts"])
    if table == "main":
        result = main_report.build(records, settings, published, output, curves)
    elif table == "freeze":
        result = freeze_report.build(records, settings, published, output)
    elif table == "scratch":
        result = scratch_report.build(records, settings, published, output)
    elif table == "auxiliary":
        result = auxiliary_report.build(records, settings, published, output, capability, auxiliary)
    elif table == "fast_injection":
        result = fast_injection_report.build(
            records, settings, published, output, capability, auxiliary, fast
        )
    elif table == "executed_steps":
        result = executed_report.build(episodes, own, settings, published, output)
    else:
        result = correlation_report.build(records, settings, published, output, capability)
    result.write(output / "tables", table)
    write_text(output / "analysis" / f"{table}.rst", words(result))
    write_json(output / "analysis" / f"{table}.json", result.analysis(settings))
    tasks = {task for each in settings["cells"].get("auxiliaries", {}).values() for task in each}
    behind = records_section(output, table, episodes, (*capability, *auxiliary, *fast), tasks or {"none"})
    write_text(output / "tables" / f"{table}.html", table_page(result, behind))
    return [output / name for name in outputs(table, settings["cells"])]
