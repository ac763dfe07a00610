"""`vlm4vla estimate`: what a target will cost, before it is spent."""

from __future__ import annotations

import json
import os
from collections.abc import Sequence
from pathlib import Path

from vlm4vla.config.layers import read_layers
from vlm4vla.core.durations import clock
from vlm4vla.core.errors import UserError
from vlm4vla.study.study import Study
from vlm4vla.workflow.estimate.assumptions import MFU
from vlm4vla.workflow.estimate.cluster import Cluster, state_cluster
from vlm4vla.workflow.estimate.rates import Rates, read_rates
from vlm4vla.workflow.estimate.totals import Totals, estimate
from vlm4vla.workflow.estimate.work import ASSUMED, FLOPS, MEASURED, MEASURED_MEAN, Estimator
from vlm4vla.workflow.jobs import plan

BASE = Path("config.yaml")
HEADINGS = ("stage", "jobs", "made", "GPU-hours", "core-hours", "GB kept", "from")


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
    """Print the cost of `targets` (none: all_tables) under config.yaml and the `layers` over it.

    Raises UserError (one line) for a wrong configuration, target or cluster.
    """
    if not 0 < mfu <= 1:
        raise UserError(f"--mfu: {mfu:g} is no share: write a number above 0 and at most 1, such as {MFU:g}")
    study = Study(read_layers([BASE, *layers]))
    cluster = state_cluster(cores, gpus, gpu_model, gpus_a_job, os.cpu_count() or 1)
    known = read_rates(rates)
    totals = estimate(plan(study, targets), Estimator(study.config, cluster, known, mfu))
    if as_json:
        about = {"study": study.config.study, "scale": study.config.scale, "targets": list(targets)}
        print(json.dumps(about | {"cluster": cluster.told()} | totals.to_json(), indent=2))
        return
    for line in lines(totals, study, targets, cluster, known):
        print(line)


def lines(totals: Totals, study: Study, targets: Sequence[str], cluster: Cluster, rates: Rates) -> list[str]:
    """The estimate as text."""
    asked = " ".join(targets) or "all_tables"
    told = [f"{asked} of {study.root} (scale {study.config.scale}) on {cluster.told()}", ""]
    rows = [HEADINGS]
    for row in totals.rows:
        hours = (_number(row.gpu_hours), _number(row.core_hours))
        counts = (str(row.jobs), str(row.made))
        machine = (cluster.model or "GPU").upper() if row.gpu_hours else rates.machine
        rows.append((row.stage, *counts, *hours, _number(row.gigabytes), _from(row.source, rates, machine)))
    sums = [_number(totals.sum(name)) for name in ("gpu_hours", "core_hours", "gigabytes")]
    rows.append(("all", f"{totals.sum('jobs'):.0f}", f"{totals.sum('made'):.0f}", *sums, ""))
    widths = [max(len(row[column]) for row in rows) for column in range(len(HEADINGS))]
    for stage, *numbers, source in rows:
        cells = [number.rjust(width) for number, width in zip(numbers, widths[1:-1], strict=True)]
        told.append("  ".join([stage.ljust(widths[0]), *cells, source]).rstrip())
    wall, chain = _span(totals.schedule.wall), _span(totals.schedule.critical)
    told += [
        "",
        f"wall time: about {wall}; its longest chain of jobs takes {chain}",
        f"disk at most: {_number(totals.schedule.peak / 1e9)} GB, checkpoints of running trainings included",
    ]
    if totals.assumes:
        told += ["", "taken for granted:", *(f"- {sentence}" for sentence in totals.assumes)]
    if totals.notes:
        told += ["", *(f"note: {note}" for note in totals.notes)]
    return told


def _from(source: str, rates: Rates, machine: str) -> str:
    """`machine`: that the rates are of; empty where it is not known."""
    where = f" ({rates.source}: {machine})" if machine else f" ({rates.source})"
    return {
        MEASURED: f"measured rates{where}",
        MEASURED_MEAN: "measured rates of the nearest kinds, their mean",
        FLOPS: "FLOPs of the model's shape",
        ASSUMED: "assumed rates",
    }[source]


def _number(value: float) -> str:
    """Three figures or whole numbers; a dash for nothing."""
    if value == 0:
        return "-"
    return f"{value:,.0f}" if value >= 100 else f"{value:.3g}"


def _span(seconds: float) -> str:
    """A time by the clock in words; days where hours are many."""
    return clock(seconds) if seconds < 48 * 3600 else f"{seconds / 86400:.1f} days"
