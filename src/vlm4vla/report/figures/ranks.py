"""The rank of every backbone on every benchmark, with the ranks that the paired tests leave open."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from vlm4vla.analysis.rankings import Rank
from vlm4vla.report import names
from vlm4vla.report.figures import style

Policy = tuple[str, str]  # model, variant


def draw_ranks(
    ranks: Mapping[str, Mapping[Policy, Rank]],
    labels: Mapping[Policy, str],
    benchmarks: Sequence[str],
    scale: str,
    stem: Path,
) -> None:
    """Write `stem`.{pdf,png}: one panel per benchmark, with 95 % confidence sets. The best is at the top.

    `ranks`: the ranks of the policies on each benchmark. `labels`: the names of all policies.
    """
    shown = dict(zip(labels, style.wrapped(list(labels.values())), strict=True))
    inches = style.label_width(list(shown.values()))
    height = 1.1 + style.row_height(list(shown.values()), 0.27) * len(labels)
    with style.panels(len(benchmarks), 2.1 + inches, height) as (figure, axes):
        for axis, benchmark in zip(axes, benchmarks, strict=True):
            axis.set_title(names.benchmark(benchmark, scale))
            own = ranks.get(benchmark, {})
            if not own:
                style.empty(axis)
                continue
            order = sorted(own, key=lambda policy: (own[policy].place, list(labels).index(policy)))
            for height, policy in enumerate(order):
                rank = own[policy]
                axis.hlines(height, rank.ci_low, rank.ci_high, color=style.BLUE, linewidth=2.4, alpha=0.45)
                axis.plot(rank.place, height, "o", color=style.BLUE, markersize=5)
            axis.set_yticks(range(len(order)), [shown[policy] for policy in order])
            axis.set_ylim(len(order) - 0.4, -0.6)
            beside = max(0.5, 0.05 * len(order))
            axis.set_xlim(1 - beside, len(order) + beside)
            step = 1 if len(order) <= 10 else 5
            axis.set_xticks(sorted({1, *range(step, len(order) + 1, step)}))
            axis.set_xlabel("rank, 95 % confidence set")
            _shares(axis, [own[policy].best for policy in order])
        style.save(figure, stem)


def _shares(axis: Any, shares: Sequence[float]) -> None:
    """Write at the right of each row in which share of the resamples the policy is first."""
    right = axis.twinx()
    texts = [f"{100 * share:.0f} %" if share >= 0.005 else "" for share in shares]
    right.set_yticks(range(len(shares)), texts, fontsize=7.5)
    right.set_ylim(axis.get_ylim())
    right.tick_params(length=0)
    right.grid(False)
    right.set_ylabel("first in resamples", fontsize=7.5)
