"""The report of a study: one HTML file with findings, figures, tables, films, configuration and workflow.

It loads nothing else, so it opens from a disk without a server. Its content security policy allows its own
script alone, by hash. Jinja2 escapes the text. Tables, films and captions come as HTML with escaped text.
"""

from __future__ import annotations

import base64
import hashlib
import io
import mimetypes
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path, PurePosixPath
from typing import Any

from vlm4vla.conventions.scales import StudyScale
from vlm4vla.conventions.tables import TABLES, heading
from vlm4vla.core.errors import UserError
from vlm4vla.core.progress import duration
from vlm4vla.report import names
from vlm4vla.report.pages.findings import Analysis, findings
from vlm4vla.report.pages.page import SCRIPT, PageBody, page_body, unbroken, unbroken_html
from vlm4vla.report.pages.phone_figure import phone_figure
from vlm4vla.report.pages.rule_graph import RuleJobs, ordered, rule_graph
from vlm4vla.report.pages.summary import BEST, read_analyses, summary_sections
from vlm4vla.study.layout import ARTEFACTS, fill

TEMPLATE = "study_report.html.jinja"
_DOTS_PER_INCH, _PIXELS_PER_INCH = 150, 96  # of the figures, and of CSS
_FORMS = {".csv": "CSV", ".md": "Markdown", ".tex": "LaTeX", ".json": "numbers (JSON)"}
_SCALES = {
    "smoke": "A short test of all parts; its scores say nothing about the models.",
    "embedded": "Tiny models. Benchmarks whose names end in (embedded) are small ones, not the real ones.",
    "paper": "The real models on the real benchmarks, as published.",
    "released": "The real models on the real benchmarks, as in the released code.",
}


def _path(kind: str, **values: str) -> str:
    """The path of an artefact in the results folder."""
    return fill(ARTEFACTS[kind].pattern, values)


@dataclass(frozen=True)
class ReportFile:
    """A file of the report. `name`: its path in the results folder. `caption`: HTML."""

    name: str
    path: Path
    caption: str = ""


@dataclass(frozen=True)
class Download:
    """A file that the page contains. `address`: a data URI."""

    label: str
    name: str
    address: str


@dataclass(frozen=True)
class ShownFigure:
    """A figure. `width` and `height`: CSS pixels of its intended size. `narrow`: a drawing for phones."""

    name: str
    title: str
    address: str
    width: int
    height: int
    caption: str = ""
    download: Download | None = None
    narrow: ShownFigure | None = None


@dataclass(frozen=True)
class TableSection:
    """A table with its figures."""

    name: str
    title: str
    body: PageBody
    figures: list[ShownFigure] = field(default_factory=list)
    downloads: list[Download] = field(default_factory=list)


@dataclass(frozen=True)
class FilmSection:
    """The films of a benchmark."""

    name: str
    title: str
    body: str


def study_report(
    files: Sequence[ReportFile], root: Path, rules: Sequence[RuleJobs] = (), finished: float | None = None
) -> str:
    """The HTML of the report of the study in the results folder `root`.

    `files`: what it shows. `rules`: the workflow. `finished`: the end of the last job, in seconds since 1970.
    Raises UserError for a file that cannot be shown.
    """
    from jinja2 import Environment, PackageLoader, StrictUndefined
    from markupsafe import Markup

    report = _Report({file.name: file for file in files})
    analyses = read_analyses([root / name for name in report.under("analysis", ".json")])
    settings = next(iter(analyses.values()))["settings"]
    sections = {section.title: section for section in summary_sections(analyses, root)}
    script = SCRIPT.strip()
    config_name = f"config-{settings['study']}.yaml"
    environment = Environment(
        loader=PackageLoader("vlm4vla", "report/pages"),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    environment.filters |= {
        "numbers": lambda text: Markup(unbroken(text)),
        "html": Markup,
        "duration": duration,
    }
    return environment.get_template(TEMPLATE).render(
        study=settings["study"],
        scale=settings["scale"],
        scale_words=_SCALES.get(settings["scale"], ""),
        findings=findings(analyses),
        best=sections.pop(BEST, None),
        details=sections.pop("The paper's four findings", None),
        uncertainty=sections.pop("Uncertainty", None),
        setup=sections.pop("Setup", None),
        cost=sections.pop("Cost", None),
        lead=report.lead(analyses),
        units=_units(analyses),
        tables=report.tables(),
        rollouts=report.pictures("failures", titles={"failures": "failures of the policies"}),
        films=report.films(StudyScale.of(analyses.values())),
        training=report.training(),
        config=report.text("config.yaml"),
        config_name=config_name,
        downloads=[
            report.download(name, label, saved)
            for name, label, saved in (
                ("config.yaml", "configuration (YAML)", config_name),
                ("summary.md", "summary (Markdown)", "summary.md"),
            )
            if name in report.files
        ],
        rules=ordered(rules),
        graph=rule_graph(rules),
        finished=finished and datetime.fromtimestamp(finished, UTC).strftime("%-d %B %Y, %H:%M UTC"),
        script=script,
        policy=base64.b64encode(hashlib.sha256(script.encode()).digest()).decode(),
    )


def _units(analyses: Mapping[str, Analysis]) -> list[str]:
    """`CALVIN: average length, 0 to 5` for each benchmark of the main table."""
    scale = StudyScale.of(analyses.values())
    cells = analyses.get("main", {}).get("settings", {}).get("cells", {})
    return [f"{names.benchmark(name, scale)}: {names.unit(name)}" for name in cells.get("benchmarks", [])]


def _capital(text: str) -> str:
    return text[:1].upper() + text[1:]


class _Report:
    """Reads the files of a report."""

    def __init__(self, files: Mapping[str, ReportFile]) -> None:
        self.files = files

    def under(self, folder: str, suffix: str) -> list[str]:
        """The names of the files in `folder` with this suffix."""
        return sorted(
            name
            for name in self.files
            if PurePosixPath(name).parent.as_posix() == folder and name.endswith(suffix)
        )

    def text(self, name: str) -> str:
        """The text of a file; empty if the report does not have it."""
        return self.files[name].path.read_text() if name in self.files else ""

    def download(self, name: str, label: str, saved: str = "") -> Download:
        """A link that saves the file, under its own name or as `saved`."""
        size = _size(self.files[name].path.stat().st_size)
        return Download(f"{label}, {size}", saved or PurePosixPath(name).name, self._address(name))

    def _address(self, name: str) -> str:
        kind = mimetypes.guess_type(name)[0] or "text/plain"
        return f"data:{kind};base64,{base64.b64encode(self.files[name].path.read_bytes()).decode()}"

    def pictures(self, *stems: str, titles: Mapping[str, str] | None = None) -> list[ShownFigure]:
        """The figures of these names that the report has."""
        return [
            self.picture(stem, (titles or {}).get(stem, stem))
            for stem in stems
            if _path("figure", figure=stem, format="png") in self.files
        ]

    def picture(self, stem: str, title: str, narrow: ShownFigure | None = None) -> ShownFigure:
        """The figure STEM, with its PDF. Raises UserError if it is no image."""
        from PIL import Image, UnidentifiedImageError

        name, pdf = (_path("figure", figure=stem, format=form) for form in ("png", "pdf"))
        file = self.files[name]
        try:
            with Image.open(io.BytesIO(file.path.read_bytes())) as image:
                size = [round(side * _PIXELS_PER_INCH / _DOTS_PER_INCH) for side in image.size]
        except (OSError, UnidentifiedImageError):
            raise UserError(f"{file.path}: not an image: make the figure again") from None
        words = re.match(r"\s*<p>(.*?)</p>", file.caption, re.DOTALL)
        return ShownFigure(
            stem,
            _capital(title),
            self._address(name),
            *size,
            caption=unbroken_html(words[1]) if words else "",
            download=self.download(pdf, "PDF") if pdf in self.files else None,
            narrow=narrow,
        )

    def lead(self, analyses: Mapping[str, Analysis]) -> ShownFigure | None:
        """The main figure: that of the main table, or else the first figure of the first other table."""
        for table, entry in TABLES.items():
            for figure in entry.figures:
                if _path("figure", figure=figure.name, format="png") in self.files:
                    narrow = _narrow(analyses["main"]) if (table, figure.name) == ("main", "main") else None
                    return self.picture(figure.name, figure.label or heading(table), narrow)
        return None

    def tables(self) -> list[TableSection]:
        """The tables, each with the figures that show its results."""
        found = []
        for table, entry in TABLES.items():
            page = _path("table", table=table, format="html")
            if page not in self.files:
                continue
            shown = [figure for figure in entry.figures if figure.category != "Training"]
            titles = {figure.name: figure.label or entry.title for figure in shown}
            forms = [_path("table", table=table, format=suffix[1:]) for suffix in _FORMS]
            forms.append(_path("analysis", table=table))
            found.append(
                TableSection(
                    table,
                    heading(table),
                    self.body(page),
                    self.pictures(*titles, titles=titles),
                    [self.download(n, _FORMS[PurePosixPath(n).suffix]) for n in forms if n in self.files],
                )
            )
        return found

    def body(self, name: str) -> PageBody:
        """The parts of an HTML page. Raises UserError if this project has not made it."""
        body = page_body(self.text(name), name.removesuffix(".html").replace("/", "-"))
        if body is None:
            raise UserError(f"{self.files[name].path}: not a page of a study: make the file again")
        return body

    def films(self, scale: str) -> list[FilmSection]:
        """The films of each benchmark."""
        pages = [PurePosixPath(name).stem for name in self.under("films", ".html")]
        return [
            FilmSection(stem, names.benchmark(stem, scale), self.body(_path("films", benchmark=stem)).rest)
            for stem in names.in_order(pages)
        ]

    def training(self) -> list[ShownFigure]:
        """The learning curves, and the images that backbones generate."""
        curves = [
            (figure.name, figure.label or entry.title)
            for entry in TABLES.values()
            for figure in entry.figures
            if figure.category == "Training"
        ]
        generated = [PurePosixPath(name).stem for name in self.under("figures", ".png")]
        prefix = "generated_"
        titles = dict(curves) | {
            stem: f"images that {names.model(stem.removeprefix(prefix))} generates"
            for stem in generated
            if stem.startswith(prefix)
        }
        return self.pictures(*titles, titles=titles)


def _narrow(analysis: Analysis) -> ShownFigure | None:
    """The main figure for a phone."""
    rows: list[dict[str, Any]] = analysis["records"]
    drawing = phone_figure(
        rows, StudyScale.of([analysis]), len(analysis["settings"]["cells"]["variants"]) > 1
    )
    if drawing is None:
        return None
    width, height = map(int, re.search(r'width="(\d+)" height="(\d+)"', drawing).groups())
    address = f"data:image/svg+xml;base64,{base64.b64encode(drawing.encode()).decode()}"
    return ShownFigure("main", "", address, width, height)


def _size(count: int) -> str:
    """`3 kB`, `1.2 MB`."""
    return f"{count / 1e6:.1f} MB" if count >= 1e6 else f"{max(1, round(count / 1e3))} kB"
