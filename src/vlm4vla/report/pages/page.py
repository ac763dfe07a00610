"""HTML pages of one file each. They load nothing else, so that they open inside Snakemake's report."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass
from html import escape

from vlm4vla.report.rows.table import GAP, Table

STYLE = """
body { font: 15px/1.45 system-ui, "DejaVu Sans", sans-serif; color: #111; margin: 1.2em; max-width: 100em;
  overflow-wrap: break-word; }
h1 { font-size: 1.35em; } h2 { font-size: 1.1em; margin-top: 1.6em; }
table { border-collapse: collapse; font-variant-numeric: tabular-nums; }
th, td { padding: .25em .7em; text-align: right; border-bottom: 1px solid #ddd; }
th { cursor: pointer; border-bottom: 2px solid #111; vertical-align: bottom; }
td { white-space: nowrap; } td.words { white-space: normal; min-width: 16em; text-align: left; color: #111; }
th:first-child, td:first-child { text-align: left; }
th[aria-sort=ascending]::after { content: " \\25B4"; } th[aria-sort=descending]::after { content: " \\25BE"; }
tr.rule td { border-top: 2px solid #888; } tbody tr:hover { background: #eef4fa; }
.scroll { overflow-x: auto; } .words { max-width: 60em; color: #333; }
input { font: inherit; padding: .2em .5em; width: 22em; }
figure { display: inline-block; margin: .5em; vertical-align: top; width: 216px; font-size: .85em; }
figure img { width: 192px; image-rendering: pixelated; border: 3px solid #D55E00; }
figure.solved img { border-color: #0072B2; }
pre { background: #f5f5f5; padding: 1em; overflow-x: auto; }
details pre { white-space: pre-wrap; overflow-wrap: anywhere; }
summary { cursor: pointer; overflow-wrap: anywhere; }
.number { white-space: nowrap; }
@media (max-width: 600px) {
  body { margin: .8em; } input { width: 100%; box-sizing: border-box; }
  td:first-child { white-space: normal; min-width: 7.5em; } th, td { padding: .25em .45em; }
}
"""
FILTER = '<p><input placeholder="show only rows with …" aria-label="filter rows"></p>'
RECORDS = "Where the numbers come from"  # the heading of the records of a table
# `0.0 [0.0, 32.4]`, `r = 0.9 [0.8, 1.0]`, `95 %`, `p = 0.03`, `6 of 9`, `0 to 5` and `Qwen2.5-VL-3B` stay in
# one line.
_P, _NUMBER = r"\b[prn] (?:=|<|&lt;) ", r"[-+\u2212]?\d[\d.,]*"
UNBROKEN = re.compile(
    rf"(?:{_P})?{_NUMBER}(?: %)? \[[^\[\]<>]{{1,40}}\]|{_P}[-+\u2212]?\d[\d.]*|{_NUMBER} %"
    r"|\b\d+ (?:of|to) \d+\b|\b(?=[\w.-]{0,40}\d)[A-Za-z][\w.]{1,20}(?:-\w[\w.]{0,10}){1,4}\b"
)
LONGEST_VALUE = 40  # characters of a cell that stays in one line
# A click on a header sorts the table by the first number in each cell, or by the text if a column has none.
# The input field hides all rows that do not contain its text.
SCRIPT = r"""
const number = text => { const m = text.replace(/^[^\d+-]*p [<=] /, '').match(/[-+]?\d+(\.\d+)?/);
  return m ? parseFloat(m[0]) : NaN; };
document.querySelectorAll('th').forEach(head => head.addEventListener('click', () => {
  const table = head.closest('table'), body = table.tBodies[0], at = head.cellIndex;
  const up = head.getAttribute('aria-sort') === 'descending';
  table.querySelectorAll('th').forEach(other => other.removeAttribute('aria-sort'));
  head.setAttribute('aria-sort', up ? 'ascending' : 'descending');
  const rows = [...body.rows], text = row => row.cells[at].textContent;
  const words = at === 0 || rows.every(row => isNaN(number(text(row))));
  rows.sort((a, b) => {
    if (words) return (up ? 1 : -1) * text(b).localeCompare(text(a));
    const [x, y] = [number(text(a)), number(text(b))];
    if (isNaN(x) || isNaN(y)) return isNaN(x) - isNaN(y);
    return (up ? 1 : -1) * (x - y);
  });
  rows.forEach(row => { row.classList.remove('rule'); body.append(row); });
}));
document.querySelectorAll('input').forEach(field => field.addEventListener('input', () =>
  (field.closest('section') || document).querySelectorAll('tbody tr').forEach(row =>
    row.hidden = !row.textContent.toLowerCase().includes(field.value.toLowerCase()))));
// Inside a frame of Snakemake's report, links to a fragment (#...) do not work by themselves.
document.querySelectorAll('a[href^="#"]').forEach(link => link.addEventListener('click', event => {
  const goal = document.getElementById(link.getAttribute('href').slice(1));
  for (let box = goal; box; box = box.parentElement) if (box.tagName === 'DETAILS') box.open = true;
  event.preventDefault();
  goal.scrollIntoView();
}));
"""


def html_page(title: str, body: str, script: str = "") -> str:
    """A complete HTML document. `body` is HTML, `title` is plain text."""
    code = f"<script>{script}</script>\n" if script else ""
    return (
        f'<!doctype html>\n<html lang="en">\n<head><meta charset="utf-8">\n'
        f'<meta name="viewport" content="width=device-width, initial-scale=1">\n'
        f"<title>{escape(title)}</title>\n"
        f"<style>{STYLE}</style></head>\n<body>\n<h1>{escape(title)}</h1>\n{body}\n{code}</body>\n</html>\n"
    )


def unbroken(text: str) -> str:
    """`text` as HTML: escaped, with numbers, their intervals and their units each kept in one line."""
    return _in_one_line(escape(text))


def unbroken_html(html: str) -> str:
    """`html` with the numbers in its text kept in one line."""
    pieces = re.split(r"(<pre.*?</pre>|<[^>]*>)", html, flags=re.DOTALL)
    return "".join(piece if place % 2 else _in_one_line(piece) for place, piece in enumerate(pieces))


def _in_one_line(html: str) -> str:
    return UNBROKEN.sub(lambda found: f'<span class="number">{found[0]}</span>', html)


def grid(header: Sequence[str], rows: Sequence[Sequence[str]], rules: Sequence[int] = ()) -> str:
    """A sortable table as HTML. `rules`: the rows before which a line is drawn."""
    head = "".join(f"<th>{escape(cell)}</th>" for cell in header)
    lines = []
    for index, row in enumerate(rows):
        mark = ' class="rule"' if index in rules else ""
        lines.append(f"<tr{mark}>" + "".join(map(_cell, row)) + "</tr>")
    inside = "\n".join(lines)
    return (
        f'<div class="scroll"><table>\n<thead><tr>{head}</tr></thead>\n'
        f"<tbody>\n{inside}\n</tbody></table></div>"
    )


def _cell(text: str) -> str:
    mark = ' class="words"' if len(text) > LONGEST_VALUE else ""
    return f"<td{mark}>{unbroken(text) if mark else escape(text)}</td>"


@dataclass(frozen=True)
class PageBody:
    """The parts of a page of this module as HTML, to show it inside another one; see `page_body`."""

    lead: str  # verdicts
    rest: str
    note: str = ""  # the caption of a table
    records: str = ""  # where the numbers come from


def page_body(page: str, prefix: str) -> PageBody | None:
    """The parts of a `page` that `html_page` has made, without its heading and script; None for another text.

    Its headings become smaller (h4), and its anchors begin with `prefix`, so that several pages fit in one.
    """
    found = re.search(r"<body>\n<h1>.*?</h1>\n(.*?)\n?(?:<script>.*)?</body>", page, re.DOTALL)
    if found is None:
        return None
    body = re.sub(r'((?:id="|href="#))', rf"\g<1>{prefix}-", found[1])
    body = body.replace("<h2>", "<h4>").replace("</h2>", "</h4>")
    lead, field, rest = body.partition(FILTER)
    if not field:
        lead, rest = "", body
    rest, heading, records = rest.partition(f"<h4>{RECORDS}</h4>")
    start = rest.rfind('<p class="words">') if field else -1  # the caption follows the grids
    rest, note = (rest[:start], rest[start:]) if start >= 0 else (rest, "")
    return PageBody(
        unbroken_html(lead), field + unbroken_html(rest), unbroken_html(note), records if heading else ""
    )


def table_page(table: Table, records: str = "") -> str:
    """The page of a table: verdicts, sortable grids with a filter, gaps and caption.

    `records`: HTML that follows the caption and shows where the numbers come from.
    """
    parts = []
    if table.verdicts:
        parts.append("<ul>" + "\n".join(f"<li>{unbroken(each)}</li>" for each in table.verdicts) + "</ul>")
    parts.append(FILTER)
    for block in table.blocks:
        parts += [f"<h2>{escape(block.title)}</h2>", grid(block.header, block.rows, block.rules)]
    if table.gaps:
        parts.append(f"<p>Not measured: {escape('; '.join(table.gaps))}.</p>")
    parts.append(
        f'<p class="words">{unbroken(table.caption)} Click on a header to sort by its column. {GAP} means '
        "that there is no value.</p>"
    )
    return html_page(table.title, "\n".join([*parts, records]), SCRIPT)


# The start of a directive, a field, a list or a line.
_RST_BLOCK = re.compile(r"\.\.(\s|$)|:|>>>|[-+]\s|\(?(\w{1,8}|#)[.)]\s|[^\w\s]{2,}$")
_SCHEME = re.compile(r"(?<=\w)(?<!\bhttp)(?<!\bhttps):(?=\S)")  # docutils makes links of javascript: too


def escape_rst(text: str) -> str:
    """`text` with the markup of reStructuredText, and of Jinja, which Snakemake applies first, escaped."""
    escaped = re.sub(r"([\\*`|_])", r"\\\1", " ".join(text.split()))  # a new line may begin a directive
    escaped = _SCHEME.sub(r"\\:", escaped)
    first = "\\" if _RST_BLOCK.match(escaped) else ""
    return first + re.sub(r"\{(?=[{%#])", "{ ", escaped)


def report_caption(table: Table) -> str:
    """Verdicts, gaps and caption of a table in reStructuredText, for Snakemake's report."""
    parts = ["\n".join(f"* {escape_rst(sentence)}" for sentence in table.verdicts)] if table.verdicts else []
    parts += [escape_rst(f"Not measured: {'; '.join(table.gaps)}.")] if table.gaps else []
    parts.append(escape_rst(table.caption))
    return "\n\n".join(parts) + "\n"
