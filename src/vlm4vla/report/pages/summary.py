"""The study in words: what was run, what was found, how sure that is, and what it cost."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from vlm4vla.conventions.benchmarks import score_metric
from vlm4vla.core.durations import clock
from vlm4vla.core.errors import UserError
from vlm4vla.report import captions, names
from vlm4vla.report.pages.cost import read_costs, total
from vlm4vla.report.pages.findings import Analysis, findings
from vlm4vla.report.pages.page import restructured
from vlm4vla.report.rows.cells import pick, printed
from vlm4vla.study.outputs import TABLES

TITLES = {
    "main": "Backbones as policies",
    "freeze": "Frozen modules",
    "scratch": "Random weights",
    "auxiliary": "Auxiliary tasks",
    "fast_injection": "FAST tokens",
    "executed_steps": "Executed steps",
    "correlation": "Question scores and policy scores",
}


@dataclass(frozen=True)
class Section:
    """Points below a heading, each with a lead in bold (empty: none); then a table of strings."""

    title: str
    points: list[tuple[str, str]]
    header: list[str] = field(default_factory=list)
    rows: list[list[str]] = field(default_factory=list)


def read_analyses(paths: Sequence[Path]) -> dict[str, Analysis]:
    """Analyses by table, in the order of the tables. Raises UserError (one line)."""
    found = {}
    for path in map(Path, paths):
        try:
            value = json.loads(path.read_text())
            found[value["table"]] = value
            value["settings"]["study"], value["records"], value["verdicts"], value["gaps"]
        except (OSError, json.JSONDecodeError, KeyError, TypeError) as error:
            raise UserError(f"{path}: not a table's numbers ({error!r}): make the table again") from None
    if not found:
        raise UserError("summary: no table: give analysis/*.json of at least one")
    return {table: found[table] for table in TABLES if table in found}


def _what_was_run(analyses: Mapping[str, Analysis]) -> Section:
    every = [each["settings"] for each in analyses.values()]
    scale = every[0]["scale"]
    models = dict.fromkeys(model for each in every for model in each["cells"]["backbones"])
    experts = dict.fromkeys(name for each in every for name in each["cells"].get("experts", []))
    rows = [row for each in analyses.values() for row in each["records"]]
    listed = names.joined([names.model(model) for model in models])
    departures = dict.fromkeys(departure for each in every for departure in each.get("departures", []))
    points = [
        ("Scale", captions.scale_sentence(scale, list(departures)).removeprefix("Scale: ")),
        ("Backbones", f"{len(models)}: {listed}."),
        (
            "Episodes in each cell",
            captions.episodes_sentence(rows, scale).removeprefix("Episodes in each cell: "),
        ),
        ("Training seeds", "; ".join(_seeds(analyses)) + "."),
        ("Tables", names.joined([TITLES[table] for table in analyses]) + "."),
    ]
    if experts:
        points.insert(2, ("Expert VLAs", names.joined([names.model(name) for name in experts]) + "."))
    return Section("What was run", points)


def _seeds(analyses: Mapping[str, Analysis]) -> list[str]:
    by: dict[tuple[int, ...], list[str]] = {}
    for table, each in analyses.items():
        by.setdefault(tuple(each["settings"]["seeds"]), []).append(TITLES[table])
    if len(by) == 1:
        return [", ".join(map(str, next(iter(by))))]
    return [f"{', '.join(map(str, seeds))} ({names.joined(tables)})" for seeds, tables in by.items()]


def _best(analyses: Mapping[str, Analysis]) -> Section:
    """For each benchmark the backbone with the best mean, and those that another draw might put first."""
    main, points = analyses.get("main"), []
    if main is None:
        return Section("Which backbone was best", [])
    scale, several = main["settings"]["scale"], len(main["settings"]["cells"]["variants"]) > 1

    def label(rank: Mapping[str, Any]) -> str:
        return names.model(rank["model"]) + (f", {names.variant(rank['variant'])}" if several else "")

    for benchmark in main["settings"]["cells"]["benchmarks"]:
        own = [rank for rank in main.get("ranks", []) if rank["benchmark"] == benchmark]
        if not own:
            continue
        own.sort(key=lambda rank: (rank["place"], -rank["best"]))
        tied = [rank for rank in own if rank["place"] == own[0]["place"]]
        metric = score_metric(benchmark)
        row = pick(main["records"], own[0]["model"], own[0]["variant"], benchmark, metric)
        words = f"{names.joined([label(rank) for rank in tied])}, {names.unit(metric)}: {printed(row)}"
        share = sum(rank["best"] for rank in tied)
        words += f"; first in {100 * share:.0f} % of redrawn sets of episodes"
        rest = [rank for rank in own if rank["ci_low"] < 2 and rank not in tied]
        if rest:
            words += f"; could as well be first: {names.joined([label(rank) for rank in rest])}"
        points.append((names.benchmark(benchmark, scale), words + "."))
    return Section("Which backbone was best", points)


def _findings(analyses: Mapping[str, Analysis]) -> Section:
    points = []
    for finding in findings(analyses):
        told = f" {finding.verdict}" + (f" ({finding.shown} of {finding.tried})" if finding.tried else "")
        cases = f": {finding.cases}" if finding.tried else ""
        points.append((f"{finding.claim}:", f"{told.strip()}{cases}."))
    return Section("The paper's four findings", points)


def _verdicts(analyses: Mapping[str, Analysis]) -> Section:
    points = [
        (TITLES[table] if number == 0 else "", sentence)
        for table, each in analyses.items()
        for number, sentence in enumerate(each["verdicts"])
    ]
    return Section("What each table shows", points)


def _how_sure(analyses: Mapping[str, Analysis]) -> Section:
    seeds = min((each["settings"]["seeds"] for each in analyses.values()), key=len)
    gaps = list(dict.fromkeys(gap for each in analyses.values() for gap in each["gaps"]))
    points = [
        ("Intervals", "95 %, over the choice of episodes (initial states)."),
        ("Tests", "two-sided at 5 %; no difference found is not the same as no difference."),
        ("Training variance", captions.seeds_sentence(seeds)),
        ("Not measured", "; ".join(gaps) + "." if gaps else "no cell of these tables is missing."),
    ]
    if next(iter(analyses.values()))["settings"]["scale"] != "paper":
        points.insert(
            0,
            (
                "Scale",
                "these are not the real models nor the real benchmarks: nothing here says that a "
                "published number is right or wrong.",
            ),
        )
    return Section("How sure", points)


def _cost(root: Path) -> Section:
    costs = read_costs(root)
    if not costs:
        return Section("What it cost", [])
    whole = total(costs)
    rows = [
        [stage.replace("_", " "), str(cost.jobs), clock(cost.cpu), clock(cost.wall), f"{cost.memory:.0f}"]
        for stage, cost in sorted(costs.items(), key=lambda item: -item[1].cpu)
    ]
    rows.append(["all", str(whole.jobs), clock(whole.cpu), clock(whole.wall), f"{whole.memory:.0f}"])
    words = (
        f"{clock(whole.cpu)} of processor time in {whole.jobs} jobs, {clock(whole.wall)} when run one after "
        "another; the last run of each job counts."
    )
    header = ["stage", "jobs", "processor time", "wall time", "most memory, MB"]
    return Section("What it cost", [("", words)], header, rows)


def markdown(title: str, sections: Sequence[Section]) -> str:
    """The sections as Markdown."""
    parts = [f"# {title}"]
    for section in sections:
        points = [f"- {f'**{lead}** ' if lead else ''}{words}" for lead, words in section.points]
        parts += [f"## {section.title}", "\n".join(points)]
        if section.rows:
            rule = "| --- |" + " ---: |" * (len(section.header) - 1)
            lines = [f"| {' | '.join(row)} |" for row in (section.header, *section.rows)]
            parts.append("\n".join([lines[0], rule, *lines[1:]]))
    return "\n\n".join(parts) + "\n"


def restructured_text(title: str, sections: Sequence[Section]) -> str:
    """The sections as reStructuredText."""
    parts = [f"{title}\n{'=' * len(title)}"]
    for section in sections:
        points = [
            f"* {f'**{restructured(lead)}** ' if lead else ''}{restructured(words)}"
            for lead, words in section.points
        ]
        parts += [f"{section.title}\n{'-' * len(section.title)}", "\n".join(points)]
        if section.rows:
            lines = [".. list-table::", "   :header-rows: 1", ""]
            for row in (section.header, *section.rows):
                lines += [
                    f"   {'-' if number else '* -'} {restructured(cell)}".replace("   - ", "     - ")
                    for number, cell in enumerate(row)
                ]
            parts.append("\n".join(lines))
    return "\n\n".join(parts) + "\n"
