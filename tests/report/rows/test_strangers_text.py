"""Names and words from strangers are shown as they are, in Markdown, CSV, HTML, LaTeX and figures."""

import csv
import subprocess
from html.parser import HTMLParser
from shutil import which

import matplotlib.image
import pytest
from PIL import Image

from vlm4vla.core.markup import markdown_line
from vlm4vla.report.figures import style
from vlm4vla.report.pages.film_page import film_page
from vlm4vla.report.pages.page import html_page, report_caption, table_page
from vlm4vla.report.pages.summary import Section, markdown, restructured_text
from vlm4vla.report.rows.films import Film
from vlm4vla.report.rows.table import Block, Table, csv_text, markdown_text

NAMES = [
    "<script>alert(1)</script>",
    "<img src=x onerror=alert(1)>",
    "a|b",
    "`code`",
    "[click](javascript:alert(1))",
    "two\nlines",
    "two\u2028lines",
    "two\x85lines",
    "&lt;b&gt;",
    "*bold* and **bolder**",
    "back\\slash",
    "_emphasis_ and __more__",
    "~~struck~~",
    "# heading",
    "- item",
    "+ item",
    "1. item",
    "2) item",
    "> quotation",
    "[a]: javascript:alert(1)",
    "[text][a]",
    "![x](http://example.org/x.png)",
    "<!-- comment -->",
    "<?php x ?>",
    "<a href='x'>link</a>",
    "&#60;script&#62;",
    "~~~ fence",
    "```",
    "---",
    "===",
    "***",
    "\\| with a backslash",
    "a\r\n\r\n# b",
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
    assert page.text.count(" ".join(name.split())) == 6


@pytest.mark.parametrize("text", ["p < 0.001", "-0.41 [-0.62, -0.20]", "0.012 *", "*: mark", "3 > 2 & 1 < 2"])
def test_what_tables_print_stays_as_it_is(text):
    assert markdown_text(text) == text


FORMULAS = [
    *("=1+1", "+cmd", "-2+3", "@SUM(A1)", "\t=1", "\r=1", "\n=1", "--1", "-x", "+1+1", "-0.3%", "-1;-2"),
    *("=", "-", "+", "@", "\uff1d1+1", "\uff0b1", "\uff0dcmd", "\uff20SUM(A1)", "=cmd|' /C calc'!A0"),
]


@pytest.mark.parametrize("text", FORMULAS)
def test_a_spreadsheet_does_not_run_a_cell(text):
    assert csv_text(text) == f"'{text}"


@pytest.mark.parametrize("text", ["-0.5", "-0.3", "+3", "-.5", "-1e-3", "1e-3", "-0", "kosmos-2", "a=b", ""])
def test_numbers_and_words_stay_as_they_are(text):
    assert csv_text(text) == text


def test_a_formula_in_the_csv_of_a_table(tmp_path):
    columns = {"model": "=HYPERLINK(1)", "value": -0.25}
    made = Table("t", "T", "C.", [columns], [], [], [], tidy=("model", "value"))
    made.write(tmp_path, "t", latex=False)
    with (tmp_path / "t.csv").open(newline="") as handle:
        assert list(csv.DictReader(handle)) == [{"model": "'=HYPERLINK(1)", "value": "-0.25"}]


DOLLARS = [
    *("$\\frac$", "$x^$", "costs $5 to $10", "a$b", "$$", "$", "\\$x$", "$\\undefined{$", "$_$", "${HOME}$"),
    *("$\\mathdefault{x}$", "$\\alpha", "a $ b $ c $", "$x_1$ and $y^{2$", "\\$5"),
]


@pytest.mark.parametrize("text", DOLLARS)
def test_dollar_signs_are_words_in_figures(tmp_path, text):
    with style.panels(1, 2, 2) as (figure, axes):
        axes[0].set_title(text)
        axes[0].text(0.1, 0.5, text)
        axes[0].set_xlabel(text)
        axes[0].plot([0, 1], [0, 1], label=text)
        axes[0].legend()
        axes[0].set_xticks([0, 1], [text, text])
        axes[0].annotate(text, (0.5, 0.5))
        style.shared_legend(figure, axes)
        style.save(figure, tmp_path / "f")
    assert matplotlib.image.imread(tmp_path / "f.png").size


def test_characters_that_command_a_terminal_are_replaced():
    shown = markdown_line("a\x1b]0;title\x07b\x9bc\x00d\x7f")
    assert all(each.isprintable() for each in shown) and "title" in shown


@pytest.mark.parametrize("name", NAMES)
def test_the_summary_shows_the_text(name):
    sections = [Section("s", [("", name), (name, "text")], ["stage", "jobs"], [[name, "1"]])]
    page = Tags()
    page.feed(
        pytest.importorskip("markdown_it")
        .MarkdownIt("commonmark")
        .enable("table")
        .render(markdown(name, sections))
    )
    assert set(page.tags) <= {
        "h1",
        "h2",
        "ul",
        "li",
        "p",
        "table",
        "thead",
        "tbody",
        "tr",
        "th",
        "td",
        "strong",
    }
    assert page.text.count(" ".join(name.split())) == 4


RST = [
    ".. raw:: html\n\n   <script>alert(1)</script>",
    ".. include:: /etc/hostname",
    "a\n\n.. include:: /etc/hostname",
    ":field: x",
    ">>> code",
    "`x <javascript:alert(1)>`_",
    "|substitution|",
    "*emphasis* **strong** ``code``",
    "- item",
    "{{ config }}",
    "{{{ config }}}",
    "{% for x in y %}",
    "{#comment#}",
    "{{%{#",
    *NAMES,
]


@pytest.mark.parametrize("name", RST)
def test_captions_of_the_report_show_the_text(name, tmp_path):
    """By docutils, as Snakemake's report renders captions: no node of the name's own."""
    core = pytest.importorskip("docutils.core")
    jinja2 = pytest.importorskip("jinja2")
    (tmp_path / "secret.txt").write_text("the content of a secret file")
    name = name.replace("/etc/hostname", str(tmp_path / "secret.txt"))
    made = table(name)
    sections = [Section("s", [("", name), (name, "text")], ["stage"], [[name]])]
    for text in (report_caption(made), restructured_text("t", sections)):
        template = jinja2.Environment(undefined=jinja2.StrictUndefined).from_string(text)
        tree = core.publish_doctree(template.render(), settings_overrides={"report_level": 5})
        found = {node.tagname for node in tree.findall() if node.tagname != "#text"}
        assert not found & {"raw", "literal_block", "system_message", "problematic", "emphasis"}
        links = [node["refuri"] for node in tree.findall() if node.tagname == "reference"]
        assert all(link.startswith("http://") for link in links)
        assert not found & {"substitution_reference", "literal", "field_list", "doctest_block", "comment"}
        assert "enumerated_list" not in found
        assert "the content of a secret file" not in tree.astext()


@pytest.mark.parametrize("name", NAMES)
def test_pages_show_the_text(name, tmp_path):
    path = tmp_path / "film.gif"
    Image.new("RGB", (2, 2)).save(path)
    film = Film(path, "m", "none", "full", "bridge", 0, 1, (name,), True, 1)
    for text in (
        film_page([film], "bridge", {"m": name}, "embedded"),
        table_page(table(name)),
        html_page(name, "<p></p>"),
    ):
        page = Tags()
        page.feed(text)
        allowed = {
            "html",
            "head",
            "meta",
            "title",
            "style",
            "body",
            "h1",
            "h2",
            "p",
            "figure",
            "img",
            "figcaption",
        }
        allowed |= {"div", "table", "thead", "tbody", "tr", "th", "td", "ul", "li", "span", "script", "input"}
        assert set(page.tags) <= allowed
        assert page.tags.count("script") == text.count("<script>") <= 1
        assert " ".join(name.split()) in " ".join(page.text.split())


@pytest.mark.parametrize("name", NAMES)
def test_the_page_of_a_configuration_shows_the_text(name, tmp_path, raw):
    from vlm4vla.config.config import load_config
    from vlm4vla.stages import study_config

    config = load_config(raw)
    config = config.model_copy(update={"study": name})
    study_config.run(config, output=tmp_path)
    page = Tags()
    page.feed((tmp_path / "config.html").read_text())
    assert set(page.tags) == {"html", "head", "meta", "title", "style", "body", "h1", "pre"}
    assert " ".join(name.split())[:20] in " ".join(page.text.split())


@pytest.mark.skipif(which("pdflatex") is None, reason="TeX is not installed")
@pytest.mark.parametrize("name", ["a\n\nb", "\\input{/etc/hostname}", "$x^$", "50 % & more # {", "~^_"])
def test_latex_shows_the_text(tmp_path, name):
    body = table(name).latex()
    text = (
        "\\documentclass{article}\\usepackage{booktabs,graphicx}\\begin{document}" + body + "\\end{document}"
    )
    (tmp_path / "t.tex").write_text(text)
    command = ["pdflatex", "-interaction=nonstopmode", "-halt-on-error", "t.tex"]
    done = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, errors="replace")
    assert done.returncode == 0, done.stdout[-1500:]
