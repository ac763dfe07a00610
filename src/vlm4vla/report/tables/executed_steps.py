"""How many steps of a chunk are executed before the policy looks again: a protocol's free choice."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from itertools import pairwise
from pathlib import Path
from typing import Any

import pandas as pd

from vlm4vla.analysis.records import read_episodes
from vlm4vla.conventions.benchmarks import MAXIMUM, score_metric
from vlm4vla.report import captions, names
from vlm4vla.report.figures import style
from vlm4vla.report.rows import contrasts as contrast
from vlm4vla.report.rows.cells import FLOOR, Row, floors, measure, printed, printed_published
from vlm4vla.report.rows.paper_numbers import Published, read_published
from vlm4vla.report.rows.table import Block, Table

PLACES = (style.BLUE, style.ORANGE, style.GREEN, style.VERMILION, style.PURPLE, style.SKY)


def build(
    episodes: Sequence[Path],
    own: Mapping[str, str],
    settings: Mapping[str, Any],
    published: Path,
    output: Path,
) -> Table:
    """The table; draws figures/executed_steps under `output`.

    `episodes`: of every policy by every number of executed steps, and of random actions. `own`: study and
    scale that they must be of. The published numbers stand beside the number that the other tables use.
    """
    cells, scale, horizons = settings["cells"], settings["scale"], settings["horizons"]
    by_steps = _by_steps(episodes, own)
    paper, nothing = read_published(published, "main"), Published({}, {})
    rows: list[Row] = []
    gaps: list[str] = []
    floor = {}
    for benchmark in cells["benchmarks"]:
        first = horizons[benchmark][0]
        metrics = {benchmark: [score_metric(benchmark)]}
        wanted = [(model, v, benchmark) for model in cells["backbones"] for v in cells["variants"]]
        for steps in horizons[benchmark]:
            records = by_steps.get((benchmark, steps), _NONE)
            told = paper if steps == first else nothing
            found, missing = measure(records, wanted, metrics, told, scale, settings["seeds"])
            rows += [row | {"executed": steps} for row in found]
            gaps += [f"{each}, {steps} steps executed" for each in missing]
        floor |= floors(by_steps.get((benchmark, first), _NONE), [benchmark])
    _draw(rows, cells, scale, floor, output / "figures" / "executed_steps")
    return Table(
        name="executed_steps",
        title=f"Executed steps of a chunk, {scale} scale",
        caption=_caption(rows, settings),
        records=rows,
        blocks=[_block(rows, cells, name, horizons[name], scale) for name in cells["benchmarks"]],
        verdicts=[_verdict(rows, name, horizons[name], scale) for name in cells["benchmarks"]],
        gaps=gaps,
        extra=("executed", "seed_sd", "agreement"),
    )


_NONE = read_episodes([])


def _by_steps(episodes: Sequence[Path], own: Mapping[str, str]) -> dict[tuple[str, int], pd.DataFrame]:
    """Records by benchmark and executed steps, each checked as the records of one table."""
    paths: dict[tuple[str, int], list[Path]] = {}
    for path in episodes:
        first = read_episodes([path], **own).iloc[0]
        paths.setdefault((first["benchmark"], int(first["execution_horizon"])), []).append(path)
    return {key: read_episodes(found, **own) for key, found in paths.items()}


def _of(rows: Sequence[Row], benchmark: str, steps: int) -> list[Row]:
    return [row for row in rows if row["benchmark"] == benchmark and row["executed"] == steps]


def _block(
    rows: Sequence[Row], cells: Mapping[str, Any], benchmark: str, steps: Sequence[int], scale: str
) -> Block:
    unit = names.unit(score_metric(benchmark))
    header = ["model", *(f"{count} executed: {unit}" for count in sorted(steps)), "published"]
    grid = []
    own = _of(rows, benchmark, steps[0])
    for place, row in enumerate(own):
        line = [_label(row, cells)]
        line += [printed(_of(rows, benchmark, count)[place]) for count in sorted(steps)]
        grid.append([*line, printed_published(row)])
    return Block(names.benchmark(benchmark, scale), header, grid)


def _label(row: Row, cells: Mapping[str, Any]) -> str:
    several = len(cells["variants"]) > 1
    return names.model(row["model"]) + (f", {names.variant(row['variant'])}" if several else "")


def _verdict(rows: Sequence[Row], benchmark: str, steps: Sequence[int], scale: str) -> str:
    """Means over the policies that were measured at every number, and whether intervals part anywhere."""
    columns = [_of(rows, benchmark, count) for count in sorted(steps)]
    whole = [line for line in zip(*columns, strict=True) if all(row["value"] is not None for row in line)]
    shown = names.benchmark(benchmark, scale)
    if not whole:
        return f"{shown}: not measured at every number of executed steps."
    metric = score_metric(benchmark)
    means = [sum(line[place]["value"] for line in whole) / len(whole) for place in range(len(columns))]
    listed = [
        f"{names.number(metric, mean)} with {count}" for mean, count in zip(means, sorted(steps), strict=True)
    ]
    apart = sum(min(row["ci_high"] for row in line) < max(row["ci_low"] for row in line) for line in whole)
    spread = (max(means) - min(means)) / MAXIMUM[metric]
    return (
        f"{shown}: mean {names.unit(metric)} over {len(whole)} policies {names.joined(listed)} executed "
        f"steps ({100 * spread:.0f} % of the maximum between the best and the worst); for {apart} of them "
        f"two numbers of steps have intervals that do not overlap. The other tables execute {steps[0]}."
    )


def _draw(
    rows: Sequence[Row], cells: Mapping[str, Any], scale: str, floor: Mapping[str, float], stem: Path
) -> None:
    """A line a policy from number to number of executed steps, one panel a benchmark."""
    benchmarks = cells["benchmarks"]
    with style.panels(len(benchmarks), 4.4, 3.6) as (figure, axes):
        for axis, benchmark in zip(axes, benchmarks, strict=True):
            metric = score_metric(benchmark)
            factor = 1 if metric == "average_length" else 100
            own = [row for row in rows if row["benchmark"] == benchmark and row["value"] is not None]
            counts = sorted({row["executed"] for row in own})
            policies = list(dict.fromkeys((row["model"], row["variant"]) for row in own))
            for number, policy in enumerate(policies):
                line = sorted(
                    (row for row in own if (row["model"], row["variant"]) == policy),
                    key=lambda row: row["executed"],
                )
                shift = (number - (len(policies) - 1) / 2) * _gap(counts) / (len(policies) + 2)
                axis.errorbar(
                    [row["executed"] + shift for row in line],
                    [factor * row["value"] for row in line],
                    yerr=[
                        [factor * (row["value"] - row["ci_low"]) for row in line],
                        [factor * (row["ci_high"] - row["value"]) for row in line],
                    ],
                    color=PLACES[number % len(PLACES)],
                    marker="osD^vP"[number // len(PLACES) % 6],
                    markersize=4,
                    linewidth=1.1,
                    elinewidth=0.8,
                    label=_label(line[0], cells),
                )
            if benchmark in floor:
                axis.axhline(
                    factor * floor[benchmark], color=style.BLACK, linestyle=":", label=names.model(FLOOR)
                )
            axis.set_xticks(counts)
            axis.set_xlabel("executed steps of a chunk")
            axis.set_ylabel(names.unit(metric))
            axis.set_ylim(bottom=0)
            axis.set_title(names.benchmark(benchmark, scale))
        handles: dict[str, Any] = {}
        for axis in axes:
            handles |= dict(zip(*reversed(axis.get_legend_handles_labels()), strict=True))
        if handles:
            figure.legend(handles.values(), handles.keys(), loc="outside lower center", ncols=4)
        style.save(figure, stem)


def _gap(counts: Sequence[int]) -> float:
    """Room between neighbouring numbers of steps, for points that must not cover each other."""
    return min((after - before for before, after in pairwise(counts)), default=1) * 0.6


def _caption(rows: Sequence[Row], settings: Mapping[str, Any]) -> str:
    cells, scale = settings["cells"], settings["scale"]
    shown = names.joined([names.benchmark(name, scale) for name in cells["benchmarks"]])
    parts = [
        f"The same policies on {shown}, looking again after fewer or more steps of what they predicted.",
        captions.scale_sentence(scale, settings.get("departures", ())),
        contrast.step_sentence(settings.get("vla_steps"), cells["variants"]),
        captions.episodes_sentence(rows, scale),
        captions.seeds_sentence(settings["seeds"]),
        captions.intervals_sentence([row["metric"] for row in rows], settings["seeds"]),
        captions.published_sentence("tables 1 and 2"),
        captions.agreement_sentence(scale),
    ]
    return " ".join(part for part in parts if part)
