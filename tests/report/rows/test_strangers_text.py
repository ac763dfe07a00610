"""Names and words from strangers are shown as they are, in Markdown, CSV and figures."""

import csv
from html.parser import HTMLParser

import matplotlib.image
import pytest

from vlm4vla.report.figures import style
from vlm4vla.report.rows.table import Block, Table, csv_text, markdown_text

NAMES = [
    "<script>alert(1)</script>",
    "<img src=x onerror=alert(1)>",
    "a|b",
    "`code`",
    "[click](javascript:alert(1))",
    "two\nlines",
    "&lt;b&gt;",
    "*bold* and **bolder**",
    "back\\slash",
]


def table(name: str) -> Table:
    return Table("t", name, f"A: {name}.", [], [Block(name, ["policy", "A"], [[name, "1"]])], [name], [name])


class Tags(HTMLParser):
    def __init__(self):
        super().__init__()
        self.tags, self.text = [], ""

    def handle_starttag(self, tag, attributes):
        self.tags.append(tag)

    def handle_data(self, data):
        self.text += data


@pytest.mark.parametrize("name", NAMES)
def test_markdown_shows_the_text(name):
    """By another project's renderer: no tag of the name's own, and the grid keeps its two columns."""
    markdown = pytest.importorskip("markdown_it").MarkdownIt("commonmark").enable("table")
    page = Tags()
    page.feed(markdown.render(table(name).markdown()))
    allowed = {"h1", "h2", "ul", "li", "p", "table", "thead", "tbody", "tr", "th", "td"}
    assert set(page.tags) <= allowed
    assert page.tags.count("td") == 2
    assert page.text.count(" ".join(name.split("\n"))) == 6


@pytest.mark.parametrize("text", ["p < 0.001", "-0.41 [-0.62, -0.20]", "0.012 *", "*: mark", "3 > 2 & 1 < 2"])
def test_what_tables_print_stays_as_it_is(text):
    assert markdown_text(text) == text


@pytest.mark.parametrize("text", ["=1+1", "+cmd", "-2+3", "@SUM(A1)", "\t=1"])
def test_a_spreadsheet_does_not_run_a_cell(text):
    assert csv_text(text) == f"'{text}"


@pytest.mark.parametrize("text", ["-0.5", "+3", "1e-3", "kosmos-2", "a=b", ""])
def test_numbers_and_words_stay_as_they_are(text):
    assert csv_text(text) == text


def test_a_formula_in_the_csv_of_a_table(tmp_path):
    columns = {"model": "=HYPERLINK(1)", "value": -0.25}
    made = Table("t", "T", "C.", [columns], [], [], [], tidy=("model", "value"))
    made.write(tmp_path, "t", latex=False)
    with (tmp_path / "t.csv").open(newline="") as handle:
        assert list(csv.DictReader(handle)) == [{"model": "'=HYPERLINK(1)", "value": "-0.25"}]


@pytest.mark.parametrize("text", ["$\\frac$", "$x^$", "costs $5 to $10", "a$b"])
def test_dollar_signs_are_words_in_figures(tmp_path, text):
    with style.panels(1, 2, 2) as (figure, axes):
        axes[0].set_title(text)
        axes[0].text(0.1, 0.5, text)
        style.save(figure, tmp_path / "f")
    assert matplotlib.image.imread(tmp_path / "f.png").size
