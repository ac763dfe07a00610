"""The rank of every backbone on every benchmark, with the ranks that the paired tests leave open."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path

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
    with style.panels(len(benchmarks), 3.7, 1.1 + 0.27 * len(labels)) as (figure, axes):
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
                text = f"{100 * rank.best:.0f} %" if rank.best >= 0.005 else ""
                axis.text(1.02, height, text, transform=axis.get_yaxis_transform(), va="center", fontsize=7.5)
            axis.text(1.02, 1.01, "first in", transform=axis.transAxes, fontsize=7.5, va="bottom")
            axis.set_yticks(range(len(order)), [labels[policy] for policy in order])
            axis.set_ylim(len(order) - 0.4, -0.6)
            axis.set_xlim(0.5, len(order) + 0.5)
            axis.set_xticks(range(1, len(order) + 1))
            axis.set_xlabel("rank, 1 is the best; 95 % confidence set")
        style.save(figure, stem)
