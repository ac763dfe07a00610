"""What carries over: does the ranking of the backbones on one benchmark show on another?"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from vlm4vla.analysis.transfer import SEEDS, SPLITS, UNTOLD
from vlm4vla.config.stages import TableSettings, TransferSources
from vlm4vla.report import captions, names
from vlm4vla.report.rows.cells import Row, printed
from vlm4vla.report.rows.correlations import printed_groups, printed_range
from vlm4vla.report.rows.paper_numbers import Published, read_published
from vlm4vla.report.rows.table import GAP, Block, Table
from vlm4vla.report.rows.transfers import Side, other_sides, ranks, repeat_rows, sides_of, transfers
from vlm4vla.report.tables.inputs import TableInputs

EXTRA = (
    "other_benchmark",
    "other_study",
    "backbones",
    "p_value",
    "p_adjusted",
    "p_method",
    "ceiling",
    "single",
    "repeats_by",
    "without_one_low",
    "without_one_high",
    "outcome",
    "verdict",
)


def build(inputs: TableInputs) -> Table:
    """The table transfer. It has no figure."""
    settings = inputs.settings
    cells, scale = settings.cells, settings.study_scale
    published = read_published(inputs.published, "main")
    sides, gaps = _all_sides(inputs, published)
    rows, checks = _transfers(settings, sides, published)
    repeats = repeat_rows(sides, cells.backbones)
    policies = [
        row | ({"other_study": side.study} if side.study else {})
        for side in sides
        for row in side.rows.values()
    ]
    return Table(
        name="transfer",
        title=f"What carries over between benchmarks, {scale} scale",
        caption=_caption(rows, sides, policies, settings),
        records=[*rows, *repeats],
        blocks=[
            _pairs(rows, checks),
            _rankings(sides, cells.backbones),
            _repeats(repeats, sides),
            _sensitivity(checks),
        ],
        verdicts=[_sentence(row, check) for row, check in zip(rows, checks, strict=True)],
        gaps=gaps,
        extra=EXTRA,
        details={
            "policies": policies,
            "sensitivity": checks,
            "other_studies": {side.study: side.digest for side in sides if side.study},
        },
    )


def rows_of(inputs: TableInputs) -> list[Row]:
    """The rows of the table without the paper's numbers, which are not read."""
    published = Published({}, {})
    sides, _ = _all_sides(inputs, published)
    rows, _ = _transfers(inputs.settings, sides, published)
    return [*rows, *repeat_rows(sides, inputs.settings.cells.backbones)]


def _transfers(
    settings: TableSettings, sides: Sequence[Side], published: Published
) -> tuple[list[Row], list[dict[str, Any]]]:
    margin = settings.analysis.correlation_margin
    return transfers(sides, settings.cells.backbones, settings.families, margin, published)


def _all_sides(inputs: TableInputs, published: Published) -> tuple[list[Side], list[str]]:
    """The benchmarks of the study and of the other studies that its settings name, and the gaps."""
    settings, sources = inputs.settings, inputs.settings.transfer or TransferSources()
    models = settings.cells.backbones
    sides, gaps = sides_of(
        inputs.records,
        models,
        settings.cells.benchmarks,
        settings.study_scale,
        published,
        settings.seeds,
    )
    for text in sources.records:
        found, missing = other_sides(text, models, sources.experts, settings.study, published)
        sides, gaps = [*sides, *found], [*gaps, *missing]
    return sides, gaps


def _label(check: Mapping[str, Any]) -> str:
    return f"{check['label']} and {check['other_label']}"


def _rho(row: Row, key: str = "value") -> str:
    if row[key] is None:
        return GAP
    interval = "" if row["ci_low"] is None else f" [{row['ci_low']:.2f}, {row['ci_high']:.2f}]"
    return f"{row[key]:.2f}{interval}"


def _plain(value: float | None) -> str:
    return GAP if value is None else f"{value:.2f}"


def _p(value: float | None) -> str:
    return GAP if value is None else names.p_number(value)


def _sentence(row: Row, check: Mapping[str, Any]) -> str:
    if row["value"] is None:
        return (
            f"{_label(check)}: whether the ranking carries over {check['verdict']}, over which rho is not "
            "defined."
        )
    whether = "whether the ranking carries over" if check["outcome"] == UNTOLD else "the ranking"
    limit = "" if row["ceiling"] is None else f", ceiling {row['ceiling']:.2f} ({row['repeats_by']})"
    return (
        f"{_label(check)}: {whether} {check['verdict']}; rho = {_rho(row)}, {names.p_value(row['p_value'])}, "
        f"with Holm's correction over pairs {names.p_value(row['p_adjusted'])}{limit}, "
        f"{row['backbones']} backbones."
    )


def _pairs(rows: Sequence[Row], checks: Sequence[Mapping[str, Any]]) -> Block:
    header = ["benchmarks", "backbones", "Spearman rho", "p", "Holm p", "ceiling", "published rho", "verdict"]
    grid = [
        [
            _label(check),
            str(row["backbones"]),
            _rho(row),
            _p(row["p_value"]),
            _p(row["p_adjusted"]),
            _plain(row["ceiling"]),
            _plain(row["published"]),
            check["verdict"],
        ]
        for row, check in zip(rows, checks, strict=True)
    ]
    return Block("Rank correlations", header, grid)


def _rankings(sides: Sequence[Side], models: Sequence[str]) -> Block:
    header, grid = ["model"], []
    for side in sides:
        header += [f"{side.label}: {names.unit(side.benchmark)}", "rank"]
    places = [ranks(side, models) for side in sides]
    for model in models:
        line = [names.model(model)]
        for side, place in zip(sides, places, strict=True):
            row = side.rows.get(model)
            line += [printed(row), f"{place[model]:g}"] if row else [GAP, GAP]
        grid.append(line)
    return Block("The rankings", header, grid)


def _repeats(rows: Sequence[Row], sides: Sequence[Side]) -> Block:
    header = ["ranking on", "backbones", "initial states", "seeds", "measured by", "rho", "reliability"]
    grid = [
        [
            side.label,
            str(row["backbones"]),
            GAP if row["episodes"] is None else str(row["episodes"]),
            GAP if row["seeds"] is None else str(row["seeds"]),
            row["repeats_by"] or GAP,
            _plain(row["single"]),
            _plain(row["value"]),
        ]
        for row, side in zip(rows, sides, strict=True)
    ]
    return Block("How well each ranking repeats", header, grid)


def _sensitivity(checks: Sequence[Mapping[str, Any]]) -> Block:
    header = ["benchmarks", "rho without one backbone", "families", "rho of families", "p"]
    header += ["groups", "r within", "p within", "r without noise"]
    grid = []
    for check in checks:
        grouped = check["families"]
        known = grouped and grouped["pearson"] is not None
        low, high = check["rollouts_ci"]
        grid.append(
            [
                _label(check),
                printed_range(check["leave_one_out"]),
                str(grouped["families"]) if grouped else GAP,
                _plain(grouped["pearson"]) if known else GAP,
                _p(grouped["p_value"]) if known else GAP,
                *printed_groups(check),
                GAP if low is None else f"[{low:.2f}, {high:.2f}]",
            ]
        )
    return Block("Sensitivity of rho", header, grid)


def _caption(
    rows: Sequence[Row], sides: Sequence[Side], policies: Sequence[Row], settings: TableSettings
) -> str:
    scale, margin = settings.study_scale, settings.analysis.correlation_margin
    own = [row for row in policies if "other_study" not in row]
    methods = sorted({row["p_method"] for row in rows if row["p_method"]})
    by = {row["repeats_by"] for row in rows if row["repeats_by"]}
    parts = [
        "Each backbone is ranked by the score of its fully trained policy on each benchmark. Rho compares "
        "the rankings on two benchmarks over the same backbones.",
        captions.scale_sentence(scale, settings.departures),
        *_others(sides),
        captions.episodes_sentence(own, scale),
        captions.seeds_sentence(settings.seeds),
        captions.intervals_sentence(policies),
    ]
    if methods:
        parts.append(
            f"p is two-sided, {' or '.join(methods)}. Holm p is corrected for the "
            f"{sum(row['p_value'] is not None for row in rows)} pairs. The interval of rho inverts simulated "
            "normal scores. It is about other backbones of the same kind, which are trained and evaluated "
            "as these are: their choice and the noise of their scores are in it."
        )
        parts.append(
            "Carries over: rho is positive at the 5 % level after Holm, its whole interval lies at "
            f"{margin:g} or above, and no backbone, family or group of backbones carries it alone. (A family "
            "is left out only if five or more backbones remain: four points are never significant.) Does "
            f"not carry over: the interval, divided by the ceiling, lies within {margin:g} of 0; or the "
            "ranking is reversed, so that rho is negative in the same sense. Everything else cannot be told. "
            "The margin is a key of the configuration, which is chosen before the run."
        )
    if by:
        parts.append(_ceiling_sentences(by))
    parts += [
        "r without noise: 95 % interval of Pearson's r between the true scores of these backbones and these "
        "trained policies, of which the known noise of the initial states is taken out. Groups and families "
        "are those of the correlation table, with gaps in either score.",
        captions.published_sentence("tables 1 and 2; published rho is that of these numbers"),
    ]
    return " ".join(part for part in parts if part)


def _ceiling_sentences(by: set[str]) -> str:
    """How the ceiling was measured, and what it does not know."""
    text = (
        "Ceiling: the rho that equal rankings would have on average with this noise, the square root of the "
        "product of both reliabilities. It is an estimate, and a measured rho above it is luck. "
    )
    if any(SEEDS in each for each in by):
        text += (
            "Reliability by training seeds: the mean rho between two seeds of the same backbones on the same "
            "initial states, for the mean over all seeds by the formula of Spearman and Brown. "
        )
    if any(each != SEEDS for each in by):
        text += (
            f"Reliability by halves of the initial states: the mean rho between {SPLITS} random halves, for "
            "all states by the same formula. It is a bound for the noise of evaluation only: other training "
            "seeds would lower it. "
        )
    return text.strip()


def _others(sides: Sequence[Side]) -> list[str]:
    """A sentence for each other study: its scale, seeds and initial states."""
    found = []
    for study in dict.fromkeys(side.study for side in sides if side.study):
        own = [side for side in sides if side.study == study]
        rows = [row for side in own for row in side.rows.values()]
        seeds = sorted({row["seeds"] for row in rows})
        counts = " to ".join(map(str, dict.fromkeys([seeds[0], seeds[-1]]))) if seeds else "no"
        episodes = captions.episodes_sentence(rows, own[0].scale).removeprefix("Episodes in each cell: ")
        unit = "seed" if counts == "1" else "seeds"
        found.append(
            f"The study {study} has the scale {own[0].scale} and {counts} training {unit} in each cell; "
            f"{episodes}"
        )
    return found
