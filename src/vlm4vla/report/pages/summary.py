"""The summary of a study in words: its setup, its findings, their uncertainty, and the cost."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from vlm4vla.analysis.estimates import TWO_LEVEL
from vlm4vla.conventions.benchmarks import score_metric
from vlm4vla.conventions.scales import REAL, StudyScale
from vlm4vla.conventions.tables import TABLES, heading
from vlm4vla.core.artefacts import parse_json
from vlm4vla.core.errors import UserError
from vlm4vla.core.markup import markdown_line, markdown_text
from vlm4vla.core.progress import duration
from vlm4vla.report import captions, names
from vlm4vla.report.pages.cost import read_costs, total_cost
from vlm4vla.report.pages.findings import Analysis, findings
from vlm4vla.report.pages.page import escape_rst
from vlm4vla.report.rows.cells import pick, printed
from vlm4vla.report.rows.decisions import HIGHER

BEST = "The highest score on each benchmark"
QUESTION_METRICS = ("question_score", "auxiliary_score_before", "auxiliary_score_after", "capability_overall")
COEFFICIENTS = ("pearson_r", "spearman_rho", "kendall_tau")


@dataclass(frozen=True)
class Section:
    """A heading, points under it, and a table of strings.

    `points`: (lead, text) of each point. The lead is printed in bold, with a colon unless it ends with a full
    stop. It may be empty.
    """

    title: str
    points: list[tuple[str, str]]
    header: list[str] = field(default_factory=list)
    rows: list[list[str]] = field(default_factory=list)


def read_analyses(paths: Sequence[Path]) -> dict[str, Analysis]:
    """The analyses in `paths` by table, in the order of the tables. Raises UserError (one line)."""
    found = {}
    for path in map(Path, paths):
        try:
            value = parse_json(path.read_text())
            found[value["table"]] = value
            value["settings"]["study"], value["records"], value["verdicts"], value["gaps"]
        except (OSError, ValueError, KeyError, TypeError) as error:
            raise UserError(f"{path}: not the numbers of a table ({error!r}): make the table again") from None
    if not found:
        raise UserError("summary: no table: pass the analysis/*.json of at least one table")
    return {table: found[table] for table in TABLES if table in found}


def summary_sections(analyses: Mapping[str, Analysis], root: Path) -> list[Section]:
    """The sections of the summary that have content. `root`: the results folder, which holds the costs."""
    sections = [
        _setup_section(analyses),
        _best_section(analyses),
        _findings_section(analyses),
        _uncertainty_section(analyses),
        _verdicts_section(analyses),
        _cost_section(root),
    ]
    return [section for section in sections if section.points or section.rows]


def _setup_section(analyses: Mapping[str, Analysis]) -> Section:
    settings = [each["settings"] for each in analyses.values()]
    scale = StudyScale.of(analyses.values())
    models = dict.fromkeys(model for each in settings for model in each["cells"]["backbones"])
    experts = dict.fromkeys(name for each in settings for name in each["cells"].get("experts", []))
    rows = [row for each in analyses.values() for row in each["records"]]
    listed = names.joined([names.model(model) for model in models])
    departures = dict.fromkeys(departure for each in settings for departure in each.get("departures", []))
    points = [
        ("Scale", captions.scale_sentence(scale, list(departures)).removeprefix("Scale: ")),
        ("Backbones", f"{len(models)} ({listed})."),
        (
            "Episodes in each cell",
            captions.episodes_sentence(rows, scale).removeprefix("Episodes in each cell: "),
        ),
        ("Training seeds", "; ".join(_training_seeds(analyses)) + "."),
        ("Tables", "; ".join(heading(table) for table in analyses) + "."),
    ]
    if experts:
        points.insert(2, ("Expert VLAs", names.joined([names.model(name) for name in experts]) + "."))
    return Section("Setup", points)


def _tables_by_seeds(analyses: Mapping[str, Analysis]) -> dict[tuple[int, ...], list[str]]:
    """The headings of the tables by their training seeds."""
    found: dict[tuple[int, ...], list[str]] = {}
    for table, each in analyses.items():
        found.setdefault(tuple(each["settings"]["seeds"]), []).append(heading(table))
    return found


def _training_seeds(analyses: Mapping[str, Analysis]) -> list[str]:
    """The training seeds; if they differ between tables, one entry for each list of seeds."""
    found = _tables_by_seeds(analyses)
    if len(found) == 1:
        return [", ".join(map(str, next(iter(found))))]
    return [f"{', '.join(map(str, seeds))} ({', '.join(tables)})" for seeds, tables in found.items()]


def _seeds_sentences(analyses: Mapping[str, Analysis]) -> list[str]:
    """What one or several training seeds mean for intervals and tests, by table if the seeds differ."""
    found = _tables_by_seeds(analyses)
    if len(found) == 1:
        return [captions.seeds_sentence(next(iter(found)))]
    return [
        f"{captions.seeds_sentence(seeds)} This holds for: {'; '.join(tables)}."
        for seeds, tables in found.items()
    ]


def _best_section(analyses: Mapping[str, Analysis]) -> Section:
    """For each benchmark, the policy with the highest score, and what the tests say about it."""
    main = analyses.get("main")
    if main is None:
        return Section(BEST, [])
    scale, points = StudyScale.of(analyses.values()), []
    for benchmark in main["settings"]["cells"]["benchmarks"]:
        ranks = [rank for rank in main.get("ranks", []) if rank["benchmark"] == benchmark]
        if ranks:
            ranks.sort(key=lambda rank: (rank["place"], -rank["best"]))
            points.append((names.benchmark(benchmark, scale), _best(main, benchmark, ranks)))
    return Section(BEST, points)


def _best(main: Analysis, benchmark: str, ranks: Sequence[Mapping[str, Any]]) -> str:
    """The highest score of `ranks`, from the first place down, and which other policies may be the best one.

    A policy may be the best one if its confidence set contains the first rank.
    """
    several = len(main["settings"]["cells"]["variants"]) > 1

    def listed(some: Sequence[Mapping[str, Any]], last: str = "and") -> str:
        variants = [f", {names.variant(rank['variant'])}" if several else "" for rank in some]
        return names.joined(
            [names.model(rank["model"]) + variant for rank, variant in zip(some, variants, strict=True)], last
        )

    best = [rank for rank in ranks if rank["place"] == ranks[0]["place"]]
    row = pick(main["records"], best[0]["model"], best[0]["variant"], benchmark, score_metric(benchmark))
    text = f"{listed(best)}, {names.unit(benchmark)}: {printed(row)}"
    if len(ranks) == 1:
        text += "; there is no other policy to compare with"
    elif len(best) == len(ranks):
        text += "; all policies have the same score"
    else:
        drawn = "episodes and training seeds" if row["seeds"] > 1 else "episodes"
        ranked = "ranks" if len(best) == 1 else "one of them ranks"
        share = sum(rank["best"] for rank in best)
        text += f"; {ranked} first in {100 * share:.0f} % of bootstrap resamples of the {drawn}"
        others = [rank for rank in ranks if rank["ci_low"] < 2 and rank not in best]
        if others:
            text += f". The tests of the pairs do not exclude that the best one is {listed(others, 'or')}"
        elif len(best) == 1:
            kind = "backbone" if row["seeds"] > 1 else "of these trained policies"
            text += f". By the tests of the pairs, it is the best {kind}"
    above = {
        (test["model"], test["variant"])
        for test in main.get("against_floor", [])
        if test["benchmark"] == benchmark and test.get("outcome") == HIGHER
    }
    if main.get("against_floor") and not any((rank["model"], rank["variant"]) in above for rank in ranks):
        text += ". No policy is shown to be better than random actions"
    return text + "."


def _findings_section(analyses: Mapping[str, Analysis]) -> Section:
    points = []
    for finding in findings(analyses):
        text = finding.verdict
        if finding.tested and finding.counts:
            text += f" ({finding.counts})"
        if finding.details:
            text += f": {finding.details}"
        points.append((f"{finding.claim}.", f"{text}."))
    return Section("The paper's four findings", points)


def _verdicts_section(analyses: Mapping[str, Analysis]) -> Section:
    points = [
        (heading(table) if number == 0 else "", sentence)
        for table, each in analyses.items()
        for number, sentence in enumerate(each["verdicts"])
    ]
    return Section("Findings of each table", points)


def _uncertainty_section(analyses: Mapping[str, Analysis]) -> Section:
    gaps = list(dict.fromkeys(gap for each in analyses.values() for gap in each["gaps"]))
    points = [
        ("Intervals", " ".join(_interval_sentences(analyses))),
        (
            "Tests",
            f"{_sides(analyses)}, at the 5 % level. A test that finds no difference does not show that there "
            "is none.",
        ),
        ("Training variance", " ".join(_seeds_sentences(analyses))),
        (
            "Not measured",
            "; ".join(gaps) + "." if gaps else "nothing; every cell of these tables has a score.",
        ),
    ]
    if next(iter(analyses.values()))["settings"]["scale"] not in REAL:
        points.insert(
            0,
            (
                "Scale",
                "these are neither the real models nor the real benchmarks. The results do not show whether "
                "a published number is right or wrong.",
            ),
        )
    return Section("Uncertainty", points)


def _sides(analyses: Mapping[str, Analysis]) -> str:
    """Which tests are two-sided: all but those of r within groups of backbones."""
    checks = [check for each in analyses.values() for check in each.get("sensitivity", [])]
    if any(group["p_value"] is not None for check in checks for group in check.get("groups", [])):
        return "the tests of r within groups of backbones are one-sided, and all others are two-sided"
    return "all tests are two-sided"


def _interval_sentences(analyses: Mapping[str, Analysis]) -> list[str]:
    """What the 95 % intervals of each kind of number cover, as far as the tables have such intervals."""
    scores: dict[str, list[str]] = {"other": [], "seeds": [], "mixed": []}
    questions = coefficients = False
    for table, each in analyses.items():
        rows = [*each["records"], *each.get("policies", [])]
        shown = [row for row in rows if row.get("ci_low") is not None]
        kinds = {row.get("interval") for row in shown} - {None}
        if kinds:
            kind = "mixed" if len(kinds) > 1 and TWO_LEVEL in kinds else "seeds"
            scores[kind if TWO_LEVEL in kinds else "other"].append(heading(table))
        questions |= any(row["metric"] in QUESTION_METRICS for row in shown)
        coefficients |= any(row["metric"] in COEFFICIENTS for row in shown)
    covered = {
        "other": "other episodes (initial states), but not other training runs",
        "seeds": "other training seeds and other episodes",
        "mixed": "other training seeds and other episodes; for policies with one seed, such as random "
        "actions, other episodes",
    }
    found = {kind: tables for kind, tables in scores.items() if tables}
    sentences = []
    for kind, tables in found.items():
        where = f" ({', '.join(tables)})" if len(found) > 1 else ""
        sentences.append(f"95 % intervals of policies' scores{where} cover {covered[kind]}.")
    if questions:
        sentences.append("Those of question scores cover other questions, but not other training runs.")
    if coefficients:
        sentences.append("Those of correlation coefficients cover other backbones.")
    if not sentences:
        return ["no number of these tables has an interval."]
    return [*sentences, "Each interval holds for its own number, not for all numbers together."]


def _cost_section(root: Path) -> Section:
    costs = read_costs(root)
    if not costs:
        return Section("Cost", [])
    total = total_cost(costs)
    rows = [
        [
            stage.replace("_", " "),
            str(cost.jobs),
            duration(cost.cpu),
            duration(cost.wall),
            f"{cost.memory:.0f}",
        ]
        for stage, cost in sorted(costs.items(), key=lambda item: -item[1].cpu)
    ]
    rows.append(["all", str(total.jobs), duration(total.cpu), duration(total.wall), f"{total.memory:.0f}"])
    text = (
        f"The study took {duration(total.cpu)} of CPU time in {total.jobs} jobs. One after another, the jobs "
        f"would take {duration(total.wall)}. If a job ran more than once, its last run counts."
    )
    header = ["stage", "jobs", "CPU time", "wall time", "peak memory, MB"]
    return Section("Cost", [("", text)], header, rows)


def _bold(lead: str) -> str:
    return f"**{lead}{'' if lead.endswith('.') else ':'}** " if lead else ""


def markdown(title: str, sections: Sequence[Section]) -> str:
    """The sections as Markdown."""
    parts = [f"# {markdown_line(title)}"]
    for section in sections:
        points = [
            f"- {_bold(markdown_text(lead))}{markdown_text(text) if lead else markdown_line(text)}"
            for lead, text in section.points
        ]
        parts += [f"## {section.title}", "\n".join(points)]
        if section.rows:
            rule = "| --- |" + " ---: |" * (len(section.header) - 1)
            lines = [f"| {' | '.join(map(markdown_text, row))} |" for row in (section.header, *section.rows)]
            parts.append("\n".join([lines[0], rule, *lines[1:]]))
    return "\n\n".join(parts) + "\n"


def restructured_text(title: str, sections: Sequence[Section]) -> str:
    """The sections as reStructuredText."""
    parts = [f"{title}\n{'=' * len(title)}"]
    for section in sections:
        points = [f"* {_bold(escape_rst(lead))}{escape_rst(text)}" for lead, text in section.points]
        parts += [f"{section.title}\n{'-' * len(section.title)}", "\n".join(points)]
        if section.rows:
            lines = [".. list-table::", "   :header-rows: 1", ""]
            for row in (section.header, *section.rows):
                lines += [
                    f"   {'-' if number else '* -'} {escape_rst(cell)}".replace("   - ", "     - ")
                    for number, cell in enumerate(row)
                ]
            parts.append("\n".join(lines))
    return "\n\n".join(parts) + "\n"
