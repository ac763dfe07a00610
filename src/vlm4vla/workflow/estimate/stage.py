"""`vlm4vla estimate`: the cost of targets, before they run."""

from __future__ import annotations

import json
import os
from collections.abc import Sequence
from pathlib import Path

from vlm4vla.config.layers import read_layers
from vlm4vla.core.errors import UserError
from vlm4vla.core.progress import duration
from vlm4vla.study.study import Study
from vlm4vla.workflow.estimate.assumptions import MFU
from vlm4vla.workflow.estimate.cluster import Cluster, cluster_from_options
from vlm4vla.workflow.estimate.rates import Rates, read_rates
from vlm4vla.workflow.estimate.totals import Totals, estimate
from vlm4vla.workflow.estimate.work import ASSUMED, FLOPS, MEASURED, MEASURED_MEAN, Estimator
from vlm4vla.workflow.jobs import plan

BASE = Path("config.yaml")
HEADINGS = ("stage", "jobs", "done", "GPU-hours", "core-hours", "GB stored", "source of the numbers")


def run(
    targets: Sequence[str],
    layers: Sequence[Path],
    *,
    cores: int | None = None,
    gpus: int = 0,
    gpu_model: str | None = None,
    gpus_a_job: int = 8,
    mfu: float = MFU,
    rates: Path,
    as_json: bool = False,
) -> None:
    """Print the cost of `targets`; without any, of all_tables.

    `layers`: files that override config.yaml. Raises UserError (one line) for a wrong configuration, target
    or cluster.
    """
    if not 0 < mfu <= 1:
        raise UserError(f"--mfu: {mfu:g} is not a share: write a number over 0 and up to 1, such as {MFU:g}")
    study = Study(read_layers([BASE, *layers]))
    cluster = cluster_from_options(cores, gpus, gpu_model, gpus_a_job, os.cpu_count() or 1)
    measured = read_rates(rates)
    totals = estimate(plan(study, targets), Estimator(study.config, cluster, measured, mfu))
    if as_json:
        about = {"study": study.config.study, "scale": study.config.scale, "targets": list(targets)}
        print(json.dumps(about | {"cluster": cluster.description()} | totals.to_json(), indent=2))
        return
    for line in printed_lines(totals, study, targets, cluster, measured):
        print(line)


def printed_lines(
    totals: Totals, study: Study, targets: Sequence[str], cluster: Cluster, rates: Rates
) -> list[str]:
    """The estimate as text."""
    names = " ".join(targets) or "all_tables"
    lines = [f"{names} of {study.root} (scale {study.config.scale}) on {cluster.description()}", ""]
    rows = [HEADINGS]
    for row in totals.rows:
        hours = (_number(row.gpu_hours), _number(row.core_hours))
        counts = (str(row.jobs), str(row.made))
        machine = (cluster.model or "GPU").upper() if row.gpu_hours else rates.machine
        source = _source(row.source, rates, machine)
        rows.append((row.stage, *counts, *hours, _number(row.gigabytes), source))
    sums = [_number(totals.sum(name)) for name in ("gpu_hours", "core_hours", "gigabytes")]
    rows.append(("all", f"{totals.sum('jobs'):.0f}", f"{totals.sum('made'):.0f}", *sums, ""))
    widths = [max(len(row[column]) for row in rows) for column in range(len(HEADINGS))]
    for stage, *numbers, source in rows:
        cells = [number.rjust(width) for number, width in zip(numbers, widths[1:-1], strict=True)]
        lines.append("  ".join([stage.ljust(widths[0]), *cells, source]).rstrip())
    wall, chain = _wall_time(totals.schedule.wall), _wall_time(totals.schedule.critical)
    peak = _number(totals.schedule.peak / 1e9)
    lines += [
        "",
        f"wall time: about {wall}; the longest chain of dependent jobs takes {chain}",
        f"disk space: {peak} GB at the peak, including checkpoints of running trainings",
    ]
    if totals.assumes:
        lines += ["", "assumptions:", *(f"- {sentence}" for sentence in totals.assumes)]
    if totals.notes:
        lines += ["", *(f"note: {note}" for note in totals.notes)]
    return lines


def _source(source: str, rates: Rates, machine: str) -> str:
    """`machine`: the machine that the rates were measured on; empty if it is unknown."""
    where = f" ({rates.source}: {machine})" if machine else f" ({rates.source})"
    return {
        MEASURED: f"measured rates{where}",
        MEASURED_MEAN: f"mean of the measured rates of similar jobs{where}",
        FLOPS: "FLOPs of the model",
        ASSUMED: "assumed rates",
    }[source]


def _number(value: float) -> str:
    """A number with three significant digits, or a whole number from 100; a dash for 0."""
    if value == 0:
        return "-"
    return f"{value:,.0f}" if value >= 100 else f"{value:.3g}"


def _wall_time(seconds: float) -> str:
    """A duration in words; from 48 hours in days."""
    return duration(seconds) if seconds < 48 * 3600 else f"{seconds / 86400:.1f} days"
