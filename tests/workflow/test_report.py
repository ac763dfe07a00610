"""The report of a study: `--reporter study`, as `make report` writes it, and Snakemake's own `--report`."""

from __future__ import annotations

import base64
import json
import os
import re
import subprocess
from html.parser import HTMLParser
from pathlib import Path

import pytest
from project_with_records import add_records
from workflow_project import lay_out

pytestmark = pytest.mark.workflow


REPOSITORY = Path(__file__).parents[2]


def run(project, *arguments):
    done = project.run(project.command("all_tables", *arguments)[:-2])  # without the smoke layer
    assert done.returncode == 0, done.stderr[-3000:]
    return done


@pytest.fixture(scope="module")
def project(tmp_path_factory):
    """A made-up study of three tables, finished."""
    made = add_records(lay_out(tmp_path_factory.mktemp("report") / "project"), "main", "freeze", "scratch")
    run(made, "--cores", "2")
    return made


@pytest.fixture(scope="module")
def written(project):
    """The run that writes the report, and the report."""
    done = run(project, "--reporter", "study", "--logger", "study")
    return done, project.folder / "results/embedded/report.html"


@pytest.fixture(scope="module")
def page(project):
    """Snakemake's own report, and the study's results folder."""
    root = project.folder / "results" / "embedded"
    run(project, "--report", str(root / "snakemake.html"))
    return (root / "snakemake.html").read_text(), root


class Links(HTMLParser):
    """The anchors, addresses and files of a page."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.anchors: list[str] = []
        self.addresses: list[str] = []
        self.files: dict[str, bytes] = {}  # of links that save a file
        self.feed(text)

    def handle_starttag(self, tag, attributes):
        own = dict(attributes)
        self.anchors += [own["id"]] if "id" in own else []
        self.addresses += [own[key] for key in ("src", "href", "srcset") if key in own]
        if "download" in own:
            self.files[own["download"]] = base64.b64decode(own["href"].partition("base64,")[2])


def test_the_page_contains_every_result(written):
    _, path = written
    root, links = path.parent, Links(path.read_text())
    saved = [
        *(each for each in (root / "tables").iterdir() if each.suffix != ".html"),
        *(root / "analysis").glob("*.json"),
        *(root / "figures").glob("*.pdf"),
        root / "summary.md",
    ]
    assert len(saved) > 15
    for each in saved:
        assert links.files[each.name] == each.read_bytes(), each
    assert links.files["config-embedded.yaml"] == (root / "config.yaml").read_bytes()
    pictures = [address for address in links.addresses if address.startswith("data:image/")]
    shown = {base64.b64decode(address.partition("base64,")[2]) for address in pictures}
    figures = [each.read_bytes() for each in (root / "figures").glob("*.png")]
    films = {each.read_bytes() for each in root.glob("rollouts/**/*.gif")}
    assert len(figures) > 5 and films and set(figures) | films <= shown
    # The PNG of the main figure and its drawing for phones, all other figures once.
    assert len(pictures) == len(figures) + 1 + sum("image/gif" in address for address in pictures)


def test_the_page_is_one_file_that_is_whole(written):
    _, path = written
    text, links = path.read_text(), Links(path.read_text())
    for address in links.addresses:
        assert address.startswith(("data:", "#")), address[:100]
    assert len(set(links.anchors)) == len(links.anchors)
    assert {address[1:] for address in links.addresses if address.startswith("#")} <= set(links.anchors)
    assert not re.search(r"@import|url\(", text) and text.count("<script") == 1
    content = sum(len(base64.b64encode(each.read_bytes())) for each in path.parent.glob("figures/*"))
    assert path.stat().st_size < content + 3e6


def test_the_numbers_of_the_tables_stand_in_the_page(written):
    _, path = written
    text, root = path.read_text(), path.parent
    for table in ("main", "freeze", "scratch"):
        analysis = json.loads((root / "analysis" / f"{table}.json").read_text())
        section = re.search(rf'<section id="table-{table}">.*?</section>', text, re.DOTALL)[0]
        words = (
            re.sub(r"<[^>]*>", "", section).replace("&#x27;", "'").replace("&amp;", "&").replace("&lt;", "<")
        )
        for verdict in analysis["verdicts"]:
            assert verdict in words
        values = [row for row in analysis["records"] if row["metric"] == "success_rate" and row["value"]]
        assert values and all(f"{100 * row['value']:.1f} [" in words for row in values)


def test_the_workflow_stands_last(written):
    _, path = written
    text = path.read_text()
    places = [
        text.index(f'id="{name}"') for name in ("findings", "main-figure", "tables", "configuration", "graph")
    ]
    assert places == sorted(places)
    graph = text[places[-1] :]
    assert all(f">{rule}</text>" in graph for rule in ("table_main", "summary", "films", "all_tables"))


def test_the_path_is_printed_at_the_end(written):
    done, path = written
    assert done.stdout.splitlines()[-1] == str(path) and path.is_file()
    assert f"({path.stat().st_size / 1e6:.1f} MB)" in done.stdout.splitlines()[-2]
    assert "metadata" not in done.stderr
    made = subprocess.run(
        ["make", "--no-print-directory", "-n", "report"],
        cwd=REPOSITORY,
        capture_output=True,
        text=True,
        check=True,
    )
    assert "snakemake all_tables --reporter study --logger study" in made.stdout.splitlines()[-1]


def test_a_report_is_written_to_another_path(project, tmp_path):
    run(project, "--reporter", "study", "--report-study-path", str(tmp_path / "mine.html"))
    again = (project.folder / "results/embedded/report.html").read_bytes()
    assert (tmp_path / "mine.html").read_bytes() == again  # the same results give the same bytes


def test_a_damaged_file_is_one_line(project, tmp_path):
    broken = project.copy(tmp_path / "broken")
    name = broken.folder / "results/embedded/figures/main.png"
    before = name.stat()
    name.write_bytes(b"no image")
    os.utime(name, ns=(before.st_atime_ns, before.st_mtime_ns))
    done = broken.run(broken.command("all_tables", "--reporter", "study", "--logger", "study")[:-2])
    assert done.returncode != 0 and "Traceback" not in done.stderr
    assert "figures/main.png: not an image: make the figure again" in done.stderr


def results(text):
    """The files in the page, by path."""
    return json.loads(re.search(r'<script id="results">\s*var results = (.*);\n', text)[1])


def test_snakemakes_report_has_every_result(page):
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
