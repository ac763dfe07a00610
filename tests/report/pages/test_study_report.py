"""The report of a study as one page: its content, and text of strangers in it."""

from __future__ import annotations

import base64
import hashlib
import json
import re
import shutil
from html.parser import HTMLParser

import pytest
from fast_yaml import load_yaml
from reported_study import HOSTILE, RULES, rename_study, report_text, write_results

from vlm4vla.core.errors import UserError
from vlm4vla.report.pages.findings import findings
from vlm4vla.report.pages.page import unbroken_html
from vlm4vla.report.pages.rule_graph import RuleJobs
from vlm4vla.report.pages.summary import read_analyses


@pytest.fixture(scope="module")
def root(tmp_path_factory):
    from workflow_project import REPOSITORY

    config = load_yaml((REPOSITORY / "config.yaml").read_text())
    return write_results(tmp_path_factory.mktemp("reported") / "embedded", config)


@pytest.fixture(scope="module")
def text(root):
    return report_text(root)


@pytest.fixture
def copy(root, tmp_path):
    return shutil.copytree(root, tmp_path / "copy")


class Tags(HTMLParser):
    """The tags of a page, and the tags that are left open."""

    EMPTY = ("meta", "img", "input", "source", "br", "rect", "path", "line")

    def __init__(self, text):
        super().__init__()
        self.tags, self.open, self.wrong = [], [], []
        self.feed(text)

    def handle_starttag(self, tag, attributes):
        self.tags.append((tag, dict(attributes)))
        if tag not in self.EMPTY:
            self.open.append(tag)

    def handle_endtag(self, tag):
        if tag in self.EMPTY:
            return
        if not self.open or self.open.pop() != tag:
            self.wrong.append((tag, self.getpos()))


def test_all_tags_are_closed(text):
    tags = Tags(text)
    assert (tags.open, tags.wrong) == ([], [])


def test_the_first_screen_says_what_the_findings_say(root, text):
    first = re.search(r'<section class="first".*?</section>', text, re.DOTALL)[0]
    words = re.sub(r"<[^>]*>", "", first)
    for each in findings(read_analyses(sorted((root / "analysis").glob("*.json")))):
        counts = f" ({each.counts})" if each.tested and each.counts else ""
        assert f"{each.claim}. {each.verdict}{counts}." in words
    assert "The highest score on each benchmark" in words
    main = base64.b64encode((root / "figures/main.png").read_bytes()).decode()
    assert f'<img src="data:image/png;base64,{main}"' in first


def test_text_of_strangers_is_text(root, copy):
    films = (root / "films/libero-10.html").read_text()
    assert "&lt;img src=x" in films and "<img src=x" not in films
    rename_study(copy, HOSTILE)
    rule = RuleJobs(HOSTILE, frozenset(), 1, 1.0, HOSTILE)
    (copy / "config.yaml").write_text(f"note: {HOSTILE}\n")
    page = report_text(copy, [*RULES, rule])
    tags = Tags(page)
    assert sum(tag == "script" for tag, _ in tags.tags) == 1
    assert not any(name.startswith("on") for _, own in tags.tags for name in own)
    assert page.count("&lt;script&gt;") >= 5  # title, heading, film, rule, command and configuration
    assert all(own["src"].startswith("data:") for tag, own in tags.tags if tag == "img")


def test_the_policy_allows_this_script_alone(text):
    script = re.search(r"<script>(.*?)</script>", text, re.DOTALL)[1]
    digest = base64.b64encode(hashlib.sha256(script.encode()).digest()).decode()
    policy = re.search(r'Content-Security-Policy" content="([^"]*)"', text)[1].replace("&#39;", "'")
    assert f"script-src 'sha256-{digest}'" in policy and "default-src 'none'" in policy
    assert not re.search(r"https?:", policy)


def test_numbers_with_intervals_are_unbroken(text):
    words = re.sub(r"<pre.*?</pre>", "", re.sub(r'"data:[^"]*"', '""', text), flags=re.DOTALL)
    intervals = re.findall(r"(\S{0,40})\d \[[-+]?\d[\d.]*, [-+]?\d[\d.]*\]", words)
    assert len(intervals) > 50
    # In a cell that does not wrap, or in a span that does not.
    assert all("<td>" in each or 'class="number">' in each for each in intervals)


@pytest.mark.parametrize(
    "part", ["r = -0.97 [-0.99, 0.12]", "p &lt; 0.001", "n = 96", "0 to 5", "6 of 9", "95 %", "Qwen2.5-VL-3B"]
)
def test_what_belongs_together_stays_in_one_line(part):
    assert (
        unbroken_html(f"<p>in words, {part}, and more</p>").count(f'<span class="number">{part}</span>') == 1
    )
    assert '"number"' not in unbroken_html("<p>in other words, a to b of c</p>")


def test_a_study_without_its_main_table_has_another_first_figure(copy):
    for path in {*copy.glob("*/main.*"), *copy.glob("figures/[!c]*")}:
        path.unlink()
    text = report_text(copy)
    first = re.search(r'<section class="first".*?</section>', text, re.DOTALL)[0]
    figure = base64.b64encode((copy / "figures/correlation.png").read_bytes()).decode()
    assert figure in first and "<source" not in first
    assert "The highest score on each benchmark" not in first


def test_a_foreign_page_is_named(copy):
    (copy / "tables/main.html").write_text("something else")
    with pytest.raises(UserError, match=r"tables/main\.html: not a page of a study"):
        report_text(copy)


def test_a_missing_table_of_numbers_is_named(copy):
    (copy / "analysis/main.json").write_text(json.dumps([1]))
    with pytest.raises(UserError, match=r"analysis/main\.json: not the numbers of a table"):
        report_text(copy)
