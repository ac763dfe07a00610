"""The workflow of a study as a drawing (SVG): each rule with its jobs, and the rules that it needs."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, replace
from html import escape

_COLUMN, _LINE, _BOX, _MARGIN = 178, 46, (138, 32), 8  # CSS pixels


@dataclass(frozen=True)
class RuleJobs:
    """A rule of the workflow.

    `needs`: the rules that make its inputs. `jobs`: the number of its jobs. `seconds`: the wall time of
    those that have a record. `command`: its shell command, with Snakemake's placeholders.
    """

    name: str
    needs: frozenset[str] = frozenset()
    jobs: int = 0
    seconds: float | None = None
    command: str = ""


def ordered(rules: Iterable[RuleJobs]) -> list[RuleJobs]:
    """`rules`, each with the needed rules that come before it: without itself and rules that follow."""
    found: dict[str, RuleJobs] = {}
    for rule in rules:
        found[rule.name] = replace(rule, needs=rule.needs & found.keys())
    return list(found.values())


def depths(rules: Iterable[RuleJobs]) -> dict[str, int]:
    """The length of the longest chain of rules that ends at each rule; 0 for one that needs no other."""
    found: dict[str, int] = {}
    for rule in ordered(rules):
        found[rule.name] = max((found[need] + 1 for need in rule.needs), default=0)
    return found


def rule_graph(rules: Iterable[RuleJobs]) -> str:
    """An SVG of the rules, from left to right. A rule stands to the right of all rules that it needs.

    `rules`: in an order in which jobs can run (see `ordered`).

    An arrow that follows from others (a -> b -> c makes a -> c) is not drawn.
    """
    rules = ordered(rules)
    columns: dict[int, list[str]] = {}
    for name, depth in depths(rules).items():
        columns.setdefault(depth, []).append(name)
    by_name = {rule.name: rule for rule in rules}
    tallest = max(map(len, columns.values()), default=0)
    width, height = _BOX
    corners = {
        name: (
            _MARGIN + _COLUMN * depth,
            _MARGIN + _LINE * (number + (tallest - len(column)) / 2),
        )
        for depth, column in columns.items()
        for number, name in enumerate(column)
    }
    parts = []
    for rule in rules:
        for need in sorted(_direct(rule.name, by_name)):
            x1, y1 = corners[need][0] + width, corners[need][1] + height / 2
            x2, y2 = corners[rule.name][0], corners[rule.name][1] + height / 2
            bend = min(40, (x2 - x1) / 2)
            parts.append(
                f'<path d="M{x1} {y1} C{x1 + bend} {y1} {x2 - bend} {y2} {x2} {y2}" fill="none" '
                'stroke="#8a8a8a"/>'
            )
    for name, (x, y) in corners.items():
        count = by_name[name].jobs
        jobs = f"{count} {'job' if count == 1 else 'jobs'}"
        parts.append(
            f'<rect x="{x}" y="{y}" width="{width}" height="{height}" rx="4" fill="#eef4fa" '
            'stroke="#0072B2"/>'
            f'<text x="{x + width / 2}" y="{y + 14}" text-anchor="middle">{escape(name)}</text>'
            f'<text x="{x + width / 2}" y="{y + 27}" text-anchor="middle" fill="#555" font-size="10">'
            f"{jobs}</text>"
        )
    inside = "\n".join(parts)
    across = 2 * _MARGIN + _COLUMN * (len(columns) - 1) + width if columns else 0
    down = 2 * _MARGIN + _LINE * (tallest - 1) + height if columns else 0
    return (
        f'<svg role="img" aria-label="the rules of the workflow" viewBox="0 0 {across} {down}" '
        f'width="{across}" height="{down}" font-size="12">\n{inside}\n</svg>'
    )


def _direct(name: str, rules: dict[str, RuleJobs]) -> set[str]:
    """The rules that `name` needs, without those that another of them needs."""
    needs = rules[name].needs
    return {need for need in needs if not any(need in _above(other, rules) for other in needs - {need})}


def _above(name: str, rules: dict[str, RuleJobs]) -> set[str]:
    """All rules that `name` needs, directly or not."""
    found: set[str] = set()
    waiting = [name]
    while waiting:
        new = rules[waiting.pop()].needs - found
        found |= new
        waiting += new
    return found
