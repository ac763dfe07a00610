"""`snakemake --report`: one page with every table and figure, for synthetic records."""

from __future__ import annotations

import json
import re

import pytest
from project_with_records import add_records
from workflow_project import lay_out

pytestmark = pytest.mark.workflow


@pytest.fixture(scope="module")
def page(tmp_path_factory):
    """report.html of a made-up study of three tables, and its results folder."""
    project = add_records(lay_out(tmp_path_factory.mktemp("report") / "project"), "main", "freeze", "scratch")
    root = project.folder / "results" / "embedded"
    for arguments in (("--cores", "2"), ("--report", str(root / "report.html"))):
        command = project.command("all_tables", *arguments)[:-2]  # without the smoke layer
        done = project.run(command)
        assert done.returncode == 0, done.stderr[-3000:]
    return (root / "report.html").read_text(), root


def results(text):
    """The files in the page, by path."""
    return json.loads(re.search(r'<script id="results">\s*var results = (.*);\n', text)[1])


def test_the_report_has_every_result(page):
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


def test_captions_have_the_numbers_of_the_run(page):
    text, root = page
    verdict = json.loads((root / "analysis" / "freeze.json").read_text())["verdicts"][0]
    assert (
        verdict.split(":")[1].split(";")[0].strip()
        in results(text)["results/embedded/tables/freeze.html"]["caption"]
    )
    assert "first in" in re.search(r'<script id="workflow-desc">\s*var workflow_desc = (.*);\n', text)[1]
    scratch = json.loads((root / "analysis" / "scratch.json").read_text())["verdicts"][0]
    # A table without a caption file of its own has the caption of its numbers.
    assert scratch.split(" (")[0] in results(text)["results/embedded/figures/scratch.png"]["caption"]
    assert not any("{{" in each["caption"] for each in results(text).values())


def test_the_report_loads_nothing_from_the_network(page):
    text, _ = page
    assert not re.findall(r"<(?:script|link|img|iframe)[^>]+(?:src|href)=[\"']https?:", text)


def test_the_report_reruns_nothing(page):
    _, root = page
    before = {path: path.stat().st_mtime_ns for path in root.rglob("*.parquet")}
    assert before and not (root / "questions").exists() and not (root / "backbones").exists()
