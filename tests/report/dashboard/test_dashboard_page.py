"""The command `vlm4vla dashboard` and its page: what it lists, links, escapes, and refuses."""

from __future__ import annotations

import json
import os
import re
import shutil
from html.parser import HTMLParser
from pathlib import Path
from urllib.parse import unquote

import pytest
import synthetic_study as made
from listed_studies import COMMIT, finished, records

from vlm4vla import cli

EVIL = '</script><img src=x onerror=alert(1)> & "q" \'s'


class Seen(HTMLParser):
    """The tags, links, texts and scripts of a page."""

    def __init__(self, text: str):
        super().__init__()
        self.tags, self.links, self.scripts, self.texts, self.inside = [], [], [], [], ""
        self.feed(text)

    def handle_starttag(self, tag, attributes):
        self.tags.append(tag)
        self.inside = tag if tag in ("script", "style") else ""
        for name, value in attributes:
            assert not name.startswith("on") and name != "style"
            if name == "href" and not value.startswith("#"):
                self.links.append(value)
        if tag == "script":
            self.scripts.append("")

    def handle_endtag(self, tag):
        self.inside = ""

    def handle_data(self, data):
        if self.inside == "script":
            self.scripts[-1] += data
        elif not self.inside:
            self.texts.append(data)

    @property
    def text(self) -> str:
        return " ".join(" ".join(self.texts).split())


def dashboard(root: Path, output: Path, *more: str) -> Seen:
    assert cli.main(["dashboard", str(root), "--output", str(output), *more]) == 0
    return Seen(output.read_text())


@pytest.fixture(scope="module")
def results(tmp_path_factory):
    """A finished study, a partial one, a broken one, and one whose names come from a stranger."""
    root = tmp_path_factory.mktemp("results")
    finished(root / "whole")
    records(root / "group/#1 50% done", 0.7)
    shutil.copytree(root / "whole", root / "broken")
    (root / "broken/tables/main.csv").write_text(f"{EVIL}\nnothing\n")
    stranger = root / "stranger"
    path = made.write_episodes(stranger, made.episodes("kosmos-2", "full", "bridge", 0.4))
    made.write_episodes(stranger, made.episodes("<b>Evil<", "full", "bridge", 0.4))
    table = stranger / f"tables/{EVIL.replace('/', '')}.html"
    table.parent.mkdir()
    table.write_text("x")
    (path.parent / "provenance.json").write_text(json.dumps({"started": EVIL, "commit": EVIL}))
    return root


@pytest.fixture(scope="module")
def page(results, tmp_path_factory):
    output = tmp_path_factory.mktemp("out") / "dashboard.html"
    return dashboard(results, output), output


def test_every_study_is_listed_with_its_state(page):
    seen, _ = page
    assert "Studies in " in seen.text and "4 studies: 1 finished, 2 partial, 1 broken." in seen.text
    assert "group/#1 50% done" in seen.text and "missing: config.yaml; all tables; summary.md" in seen.text
    assert "tables/main.csv: line 1: column 'model' is missing" in seen.text
    assert COMMIT[:10] in seen.text and "2026-05-01" in seen.text


def test_links_lead_to_files_also_from_another_folder(results, page, tmp_path):
    for seen, output in (page, (dashboard(results, results / "dashboard.html"), results / "dashboard.html")):
        assert len(seen.links) > 8
        for link in seen.links:
            assert not re.match(r"[a-z]+:|/", link), link
            assert (output.parent / unquote(link)).is_file(), link
        named = {Path(unquote(link)).name for link in seen.links}
        assert {"report.html", "summary.md", "config.html", "main.html", "correlation.html"} <= named
    (results / "dashboard.html").unlink()


def test_text_from_strangers_is_text(page):
    seen, output = page
    assert "img" not in seen.tags and "b" not in seen.tags and len(seen.scripts) == 2
    assert seen.tags.count("script") == 2 and EVIL.replace("/", "") in seen.text
    assert f"{EVIL[:10]}" in seen.text  # the commit
    data = json.loads(seen.scripts[0])
    assert "<" not in seen.scripts[0]
    assert any(names[1] == "<b>Evil<" for names in data["cells"])
    assert "http" not in re.sub(r"http-equiv", "", output.read_text())


def test_without_script_the_lists_and_scores_are_there(page):
    seen, _ = page
    assert "Kosmos-2" in seen.text and "noscript" in seen.tags
    assert len(re.findall(r"\d+\.\d \[\d+\.\d, \d+\.\d\]", seen.text)) >= 8


def test_the_same_studies_give_the_same_bytes(results, tmp_path, monkeypatch, capsys):
    shutil.copytree(results, tmp_path / results.name)
    for folder in sorted((tmp_path / results.name).rglob("*"), reverse=True):
        os.utime(folder, (1, 1))
    first = dashboard(results, results / "d.html") and (results / "d.html").read_bytes()
    (results / "d.html").unlink()
    monkeypatch.chdir(tmp_path / results.name)
    capsys.readouterr()
    assert cli.main(["dashboard", ".", "--output", "d.html"]) == 0
    assert Path("d.html").read_bytes() == first
    assert capsys.readouterr().out == "d.html: 4 studies (1 finished, 2 partial, 1 broken)\n"
    assert [path.name for path in Path().iterdir() if path.name.startswith(".")] == []


def test_by_default_the_page_is_in_the_working_folder(results, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    assert cli.main(["dashboard", str(results / "group"), "--compared", "0"]) == 0
    assert "Studies in group" in Path("dashboard.html").read_text()


def test_names_that_are_not_utf8_are_shown(tmp_path):
    root = tmp_path / "results"
    folder = os.fsencode(root) + b"/caf\xe9"
    try:
        os.makedirs(folder + b"/vla")
    except OSError:
        pytest.skip("this file system has UTF-8 names only")
    os.makedirs(folder + b"/tables")
    with open(folder + b"/tables/main.md", "w") as handle:
        handle.write("x")
    seen = dashboard(root, tmp_path / "d.html")
    assert "caf\\udce9" in seen.text
    [link] = seen.links
    assert link == "./results/caf%E9/tables/main.md"


def test_faults_of_the_command_are_one_line(results, tmp_path, capsys):
    (tmp_path / "empty").mkdir()
    for arguments, message in (
        ([tmp_path / "nowhere"], "no such folder"),
        ([tmp_path / "empty"], "no study is in or below this folder"),
        ([results, "--output", tmp_path / "d.txt"], "ends in .html"),
        ([results, "--output", results / "whole"], "ends in .html"),
        ([results, "--compared", "-1"], "--compared -1: write 0 or a larger number"),
    ):
        assert cli.main(["dashboard", *map(str, arguments)]) == 1
        error = capsys.readouterr().err
        assert message in error and error.count("\n") == 1


def test_a_page_that_cannot_be_finished_leaves_the_old_one(results, tmp_path, monkeypatch):
    output = tmp_path / "d.html"
    output.write_text("old")
    monkeypatch.setattr(os, "fsync", lambda _: (_ for _ in ()).throw(OSError(28, "No space left on device")))
    assert cli.main(["dashboard", str(results / "group"), "--output", str(output)]) == 1
    assert output.read_text() == "old" and [path.name for path in tmp_path.iterdir()] == ["d.html"]
