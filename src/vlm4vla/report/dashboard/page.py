"""The dashboard as one HTML file that loads nothing. Without JavaScript it shows all lists."""

from __future__ import annotations

import base64
import hashlib
import json
import os
from collections import Counter
from collections.abc import Mapping, Sequence
from html import escape
from pathlib import Path
from typing import Any
from urllib.parse import quote

from vlm4vla.report import names
from vlm4vla.report.dashboard.entries import BROKEN, FINISHED, PARTIAL, StudyEntry
from vlm4vla.report.dashboard.pairs import all_cells, score_text
from vlm4vla.report.dashboard.script import SCRIPT
from vlm4vla.report.dashboard.style import STYLE
from vlm4vla.report.dashboard.table_scores import title
from vlm4vla.report.rows.table import GAP

_COMMIT = 10  # characters that are shown
_NAMED = 3  # commits that are named in full
_COLUMNS = ("study", "state", "date", "scale", "backbones", "seeds", "trials", "commit")
_SCORES = ("backbone", "benchmark", "auxiliary task", "variant", "score", "trials", "seeds")
_NUMBERS = ("state", "backbones", "seeds", "trials", "score")  # columns that are sorted as numbers


def dashboard_page(
    name: str,
    entries: Sequence[StudyEntry],
    places: Sequence[int],
    data: Mapping[str, Any],
    unreadable: Sequence[str],
    output: Path,
) -> str:
    """The HTML document.

    `name`: of the listed folder. `places`: the entries that `data` compares. `unreadable`: one line for each
    folder that could not be read. `output`: the file of the page, from which its links start.
    """
    heading = f"Studies in {name}"
    policy = (
        f"default-src 'none'; style-src '{_digest(STYLE)}'; script-src '{_digest(SCRIPT)}'; base-uri 'none'; "
        "form-action 'none'"
    )
    body = [
        f"<h1>{escape(heading)}</h1>",
        f"<p>{escape(_counted(entries))}</p>",
        *(f'<p class="broken">Not read: {escape(line)}</p>' for line in unreadable),
        _list(entries, places, output),
        _comparison(places, entries),
        _scores(entries),
    ]
    return (
        '<!doctype html>\n<html lang="en">\n<head><meta charset="utf-8">\n'
        f'<meta http-equiv="Content-Security-Policy" content="{escape(policy)}">\n'
        '<meta name="viewport" content="width=device-width, initial-scale=1">\n'
        f"<title>{escape(heading)}</title>\n<style>{STYLE}</style></head>\n<body>\n"
        + "\n".join(body)
        + f'\n<script type="application/json" id="data">{_json(data)}</script>\n'
        f"<script>{SCRIPT}</script>\n</body>\n</html>\n"
    )


def _json(data: Mapping[str, Any]) -> str:
    """JSON that cannot end the script element, whatever its texts contain."""
    text = json.dumps(data, separators=(",", ":"), allow_nan=False)
    return text.replace("<", "\\u003c").replace(">", "\\u003e").replace("&", "\\u0026")


def _digest(text: str) -> str:
    """The source expression that lets the page's own script or style, and no other, run."""
    return f"sha256-{base64.b64encode(hashlib.sha256(text.encode()).digest()).decode()}"


def _counted(entries: Sequence[StudyEntry]) -> str:
    states = Counter(entry.state for entry in entries)
    parts = [f"{states[each]} {each}" for each in (FINISHED, PARTIAL, BROKEN) if states[each]]
    return f"{len(entries)} {'study' if len(entries) == 1 else 'studies'}: {', '.join(parts)}."


def _list(entries: Sequence[StudyEntry], places: Sequence[int], output: Path) -> str:
    head = '<th class="choose"></th>' + "".join(map(_head, _COLUMNS)) + "<th>open</th>"
    rows = "\n".join(_study(place, entry, place in places, output) for place, entry in enumerate(entries))
    return (
        '<div class="scroll"><table class="studies cards">\n'
        f"<thead><tr>{head}</tr></thead>\n<tbody>\n{rows}\n</tbody></table></div>"
    )


def _head(name: str) -> str:
    """The head of a column, with the way to sort it."""
    kind = "number" if name in _NUMBERS else "text"
    return f'<th data-sort="{kind}">{name}</th>'


def _cell(label: str, html: str, key: Any, kind: str = "") -> str:
    """A cell with what its column is sorted by. `label` is shown on narrow screens."""
    empty = " none" if html == GAP else ""
    mark = f' class="{(kind + empty).strip()}"' if kind or empty else ""
    return f'<td{mark} data-label="{label}" data-key="{escape(str(key))}">{html}</td>'


def _study(place: int, entry: StudyEntry, compared: bool, output: Path) -> str:
    """One row of the list. `data-key` is what a column is sorted by."""
    box = ""
    if compared:
        box = f'<input type="checkbox" value="{place}" aria-label="choose {escape(entry.label)}">'
    order = str((FINISHED, PARTIAL, BROKEN).index(entry.state))
    line = f'<div class="line">{escape(entry.line)}</div>' if entry.line else ""
    state = f'<span class="state {entry.state}">{entry.state}</span>{line}'
    seeds, number = _seeds(entry)
    trials = [f"{title(name)} {count}" for name, count in entry.trials.items()]
    cells = [
        f'<td class="choose{"" if box else " none"}">{box}</td>',
        f'<th scope="row" data-key="{escape(entry.label)}">{escape(entry.label)}</th>',
        f'<td class="state" data-key="{order}">{state}</td>',
        _cell("date", escape(entry.started) or GAP, entry.started, "whole"),
        _cell("scale", escape(entry.scale) or GAP, entry.scale),
        _cell("backbones", _backbones(entry), len(entry.backbones) or ""),
        _cell("seeds", escape(seeds) or GAP, number),
        _cell("trials", _spans(trials), sum(entry.trials.values()) or ""),
        _cell("commit", _commits(entry), entry.commits[0] if entry.commits else "", "whole"),
        f'<td class="open">{_links(entry, output)}</td>',
    ]
    return "<tr>" + "".join(cells) + "</tr>"


def _spans(parts: Sequence[str]) -> str:
    """Parts that each stay on one line."""
    spans = ", ".join(f'<span class="whole">{escape(part)}</span>' for part in parts)
    return f"<div>{spans}</div>" if spans else GAP


def _backbones(entry: StudyEntry) -> str:
    if not entry.backbones:
        return GAP
    listed = escape(", ".join(map(names.model, entry.backbones)))
    return f"<details><summary>{len(entry.backbones)}</summary>{listed}</details>"


def _seeds(entry: StudyEntry) -> tuple[str, str]:
    """The training seeds in words, and the largest number of them in a cell."""
    sets = Counter(entry.seeds.values())
    if not sets:
        counts = sorted(
            {score.seeds for cell, score in entry.scores.items() if cell.model in entry.backbones}
        )
        return (", ".join(map(str, counts)) + " per cell" if counts else "", str(max(counts, default="")))
    common = sorted(sets.items(), key=lambda item: (-item[1], item[0]))
    parts = [_range(seeds) + (f" ({count} cells)" if len(sets) > 1 else "") for seeds, count in common]
    return ", ".join(parts).replace("(1 cells)", "(1 cell)"), str(max(map(len, sets)))


def _range(seeds: Sequence[int]) -> str:
    whole = len(seeds) > 2 and list(seeds) == list(range(seeds[0], seeds[-1] + 1))
    return f"{seeds[0]} to {seeds[-1]}" if whole else " and ".join(map(str, seeds))


def _commits(entry: StudyEntry) -> str:
    if not entry.commits:
        return GAP
    first, *others = entry.commits
    more = f" + {len(others)}" if others else ""
    every = ", ".join(entry.commits[:_NAMED]) + (", ..." if len(entry.commits) > _NAMED else "")
    return f'<span title="{escape(every)}"><code>{escape(first[:_COMMIT])}</code>{more}</span>'


def _links(entry: StudyEntry, output: Path) -> str:
    start = output.parent.absolute()

    def link(name: str, path: str) -> str:
        # Without resolving links: a browser goes up by the names in the address, too.
        relative = os.path.relpath((entry.root / path).absolute(), start)
        address = quote(os.fsencode(relative))
        address = address if address.startswith(".") else f"./{address}"
        return f'<a href="{escape(address)}">{escape(name)}</a>'

    pages = [link(name, path) for name, path in entry.reports if "/" not in path]
    tables = [link(name, path) for name, path in entry.reports if "/" in path]
    listed = f"<details><summary>tables ({len(tables)})</summary>{'<br>'.join(tables)}</details>"
    return " ".join([*pages, *([listed] if tables else [])]) or GAP


def _comparison(places: Sequence[int], entries: Sequence[StudyEntry]) -> str:
    """The part that the script fills."""
    scored = sum(bool(entry.scores) for entry in entries)
    left = scored - len(places)
    note = (
        f" The {len(places)} newest of {scored} studies with scores can be chosen; for the others, use "
        "<code>vlm4vla compare</code> or <code>--compared</code>."
        if left
        else ""
    )
    return (
        '<h2 id="comparison">Comparison</h2>\n'
        f'<p class="needs-script">Choose two or more studies in the list.{note}</p>\n'
        "<noscript><p>Choosing studies needs JavaScript. <code>vlm4vla compare FIRST SECOND</code> prints "
        "the same numbers.</p></noscript>\n"
        '<div id="chosen"></div>\n<p class="jump" hidden><a href="#comparison"></a></p>'
    )


def _scores(entries: Sequence[StudyEntry]) -> str:
    """The scores of every study, each in a table that opens with a click."""
    parts = ["<h2>Scores of each study</h2>"]
    head = "".join(map(_head, _SCORES))
    for entry in entries:
        if not entry.scores:
            continue
        rows = []
        for cell in all_cells([entry]):
            score = entry.scores[cell]
            words = (
                names.model(cell.model),
                f"{names.benchmark(cell.benchmark)}: {names.unit(cell.benchmark)}",
                GAP if cell.auxiliary == "none" else names.auxiliary(cell.auxiliary),
                names.variant(cell.variant),
            )
            numbers = (
                (score_text(cell, score), score.value),
                (str(score.episodes), score.episodes),
                (str(score.seeds), score.seeds),
            )
            rows.append(
                "<tr>"
                + f'<th scope="row" data-key="{escape(words[0])}">{escape(words[0])}</th>'
                + "".join(
                    _cell(label, escape(word), word)
                    for label, word in zip(_SCORES[1:], words[1:], strict=False)
                )
                + "".join(
                    _cell(label, text, repr(key), "number")
                    for label, (text, key) in zip(_SCORES[-3:], numbers, strict=True)
                )
                + "</tr>"
            )
        source = "" if entry.records else ", from its tables"
        parts.append(
            f"<details><summary>{escape(entry.label)}: {len(rows)} cells{source}</summary>\n"
            f'<div class="scroll"><table class="cards"><thead><tr>{head}</tr></thead>\n<tbody>\n'
            + "\n".join(rows)
            + "\n</tbody></table></div></details>"
        )
    if len(parts) == 1:
        parts.append("<p>No study has scores yet.</p>")
    parts.append(
        '<p class="words">In brackets: 95 % intervals. Trials: initial states of a cell; each training seed '
        "is evaluated on all of them.</p>"
    )
    return "\n".join(parts)
