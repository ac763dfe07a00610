"""Text of strangers in Markdown and CSV: names and words are shown as they are, and nothing is run."""

from __future__ import annotations

import re

# What Markdown would read as markup: HTML tags, entities, table columns, code, emphasis and links.
_MARKUP = (
    (re.compile(r"\\"), r"\\\\"),
    (re.compile(r"&(?=#?\w+;)"), "&amp;"),
    (re.compile(r"<(?=[A-Za-z/!?])"), "&lt;"),
    (re.compile(r"([|`])"), r"\\\1"),
    (re.compile(r"(?<=\S)\*|\*(?=[^\s:])"), r"\\*"),  # a mark that stands alone is no emphasis
    (re.compile(r"(?<![^\W_])_(?=\S)|(?<=\S)_(?![^\W_])"), r"\\_"),  # nor is a mark inside a word
    (re.compile(r"~(?=~)"), r"\\~"),
    (re.compile(r"\](?=[(\[])"), r"\\]"),
    (re.compile(r"\s*[\r\n\x0b\x0c\x1c-\x1e\x85\u2028\u2029]\s*"), " "),  # all ends of lines
    (re.compile(r"[\x00-\x08\x0b\x0c\x0e-\x1f\x7f-\x9f]"), "\N{REPLACEMENT CHARACTER}"),  # also for terminals
)
# What Markdown would read as a heading, a list, a quotation, a line or the target of links.
_FIRST = re.compile(r"\s*(?:[-+>]|#{1,6}(?=\s|$)|~~~|[-=_]{3,}\s*$|\[[^\]]*\]:)|\s*\d{1,9}(?=[.)](?:\s|$))")
_FORMULA = ("=", "+", "-", "@", "\t", "\r", "\n", "\uff1d", "\uff0b", "\uff0d", "\uff20")


def markdown_text(text: str) -> str:
    """`text` as Markdown that shows it as it is, in one line, for a cell of a table or inside a sentence."""
    for pattern, replacement in _MARKUP:
        text = pattern.sub(replacement, text)
    return text


def markdown_line(text: str) -> str:
    """`markdown_text` for a paragraph, a heading or an item of a list, which begins with `text`."""
    shown = markdown_text(text)
    first = _FIRST.match(shown)
    if first is None:
        return shown
    at = first.end() if first[0].strip().isdigit() else len(first[0]) - len(first[0].lstrip())
    return f"{shown[:at]}\\{shown[at:]}"


def csv_text(text: str) -> str:
    """`text` for a CSV cell: a spreadsheet would run a text that begins as a formula, so it gets a quote."""
    return f"'{text}" if text.startswith(_FORMULA) and not _is_number(text) else text


def _is_number(text: str) -> bool:
    try:
        float(text)
    except ValueError:
        return False
    return True
