"""`snakemake --report`: one page with every table and figure, over made-up records."""

from __future__ import annotations

import json
import re

import pytest
from played_study import play
from workflow_project import lay_out

pytestmark = pytest.mark.workflow


@pytest.fixture(scope="module")
def page(tmp_path_factory):
    """report.html of a made-up study of two tables, and its results folder."""
    project = play(lay_out(tmp_path_factory.mktemp("report") / "project"), "main", "freeze")
    root = project.folder / "results" / "embedded"
    for arguments in (("--cores", "2"), ("--report", str(root / "report.html"))):
        command = project.command("all_tables", *arguments)[:-2]  # without the smoke layer
        done = project.run(command)
        assert done.returncode == 0, done.stderr[-3000:]
    return (root / "report.html").read_text(), root


def results(text):
    """What the page holds, by path."""
    return json.loads(re.search(r'<script id="results">\s*var results = (.*);\n', text)[1])


def test_every_result_is_in_it(page):
    text, root = page
    found = results(text)
    kept = {
        str(path.relative_to(root.parents[1]))
        for folder in ("tables", "figures", "films", "analysis")
        for path in (root / folder).iterdir()
        if not (folder == "analysis" and path.suffix == ".rst")
    }
    top = {f"results/embedded/{name}" for name in ("summary.md", "summary.rst", "config.yaml", "config.html")}
    assert set(found) == kept | top
    assert all(each["data_uri"].startswith("data:") and each["caption"] for each in found.values())


def test_captions_use_the_runs_own_numbers(page):
    text, root = page
    verdict = json.loads((root / "analysis" / "freeze.json").read_text())["verdicts"][0]
    assert (
        verdict.split(":")[1].split(";")[0].strip()
        in results(text)["results/embedded/tables/freeze.html"]["caption"]
    )
    assert "first in" in re.search(r'<script id="workflow-desc">\s*var workflow_desc = (.*);\n', text)[1]
    assert not any("{{" in each["caption"] for each in results(text).values())


def test_nothing_is_fetched(page):
    text, _ = page
    assert not re.findall(r"<(?:script|link|img|iframe)[^>]+(?:src|href)=[\"']https?:", text)


def test_the_report_reruns_nothing(page):
    _, root = page
    before = {path: path.stat().st_mtime_ns for path in root.rglob("*.parquet")}
    assert before and not (root / "questions").exists() and not (root / "backbones").exists()
