"""One study of the dashboard: its state, facts, scores and reports."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from vlm4vla.analysis.estimates import Estimate
from vlm4vla.config.config import Config
from vlm4vla.conventions.tables import TABLES, heading
from vlm4vla.core.artefacts import parse_json
from vlm4vla.core.errors import UserError, one_line
from vlm4vla.report import names
from vlm4vla.report.comparison.studies import StudyRecords
from vlm4vla.report.dashboard.expected import missing_files, read_config
from vlm4vla.report.dashboard.folders import CONFIG
from vlm4vla.report.dashboard.table_scores import MOST_BYTES, PrintedScore, read_scores
from vlm4vla.report.rows.cells import CEILING, FLOOR, Cell
from vlm4vla.study.layout import ARTEFACTS, PROVENANCE
from vlm4vla.study.outputs import PUBLISHED
from vlm4vla.study.results_folder import Results

FINISHED, PARTIAL, BROKEN = "finished", "partial", "broken"
REPORT = "report.html"  # of `make report`
_STAGES = ("questions", "backbone", "demonstrations", "auxiliary", "vla")  # their provenance has date, commit
_DATE = re.compile(r"\d{4}-\d\d-\d\d(?=T\d\d:\d\d)")
_SEED = re.compile(r"seed(\d+)")
Score = Estimate | PrintedScore


@dataclass(frozen=True)
class StudyEntry:
    """A study in the list.

    `label`: the path below the listed folder. `faults`: files that cannot be used, one line each. `missing`:
    what a finished study has and this one does not. `started`: the day on which the last of its jobs started,
    `YYYY-MM-DD`; empty if no job recorded it. `seeds`: of each cell of a trained policy. `commits`: the most
    frequent first. `reports`: (name, path below `root`) of the pages to open. `records`: None for a study
    without episode records, whose `scores` then come from its tables.
    """

    label: str
    root: Path
    faults: Sequence[str]
    missing: Sequence[str]
    started: str
    scale: str
    backbones: Sequence[str]
    seeds: Mapping[Cell, tuple[int, ...]]
    commits: Sequence[str]
    reports: Sequence[tuple[str, str]]
    scores: Mapping[Cell, Score]
    records: StudyRecords | None

    @property
    def state(self) -> str:
        return BROKEN if self.faults else PARTIAL if self.missing else FINISHED

    @property
    def line(self) -> str:
        """What is wrong or missing, in one line; empty for a finished study."""
        if self.faults:
            more = len(self.faults) - 1
            others = f" (and {more} more {'fault' if more == 1 else 'faults'})" if more else ""
            return self.faults[0] + others
        return f"missing: {'; '.join(self.missing)}" if self.missing else ""

    @property
    def trials(self) -> dict[str, int]:
        """The number of initial states of each benchmark: the largest one of its cells."""
        found: dict[str, int] = {}
        for cell, score in self.scores.items():
            found[cell.benchmark] = max(score.episodes, found.get(cell.benchmark, 0))
        return {name: found[name] for name in names.in_order(sorted(found))}


def read_entry(root: Path, label: str) -> StudyEntry:
    """Read the study in the folder `root`. What cannot be read becomes one line of `faults`."""
    faults: list[str] = []

    def attempt(name: str, read: Callable[[], Any], otherwise: Any) -> Any:
        try:
            return read()
        except UserError as error:
            message = str(error).splitlines()[0]
        except Exception as error:  # the file may come from anyone: whatever it does ends as one line
            message = f"{name}: cannot be read ({type(error).__name__}: {error})"
        faults.append(one_line(message.replace(f"{root}/", "")))
        return otherwise

    config, scale = attempt(CONFIG, lambda: read_config(root), (None, ""))
    table_scores: dict[Cell, Score] = {}
    for path in _files(root, "table", "csv"):
        found = attempt(_below(path, root), lambda path=path: read_scores(path), {})
        table_scores = {**found, **table_scores}
    analyses = {
        path.stem: attempt(_below(path, root), lambda path=path: _analysis(path), {})
        for path in _files(root, "analysis", "json")
    }
    records = _records(root)
    scores: dict[Cell, Score] = {}
    scales = Counter()
    for cell in records.cells if records else ():
        found = attempt(_path_of(cell), lambda cell=cell: records.of(cell).score, None)
        if found is None:
            records.leave_out(cell)
            continue
        scores[cell] = found
        scales.update(records.of(cell).protocol["scale"])
    if records is not None and not records.cells:
        records = None
    dates, commits = _jobs(root)
    trained = [cell for cell in (scores or table_scores) if cell.model not in (FLOOR, CEILING)]
    scale = scale or ", ".join(sorted(scales)) or _stated_scale(analyses)
    published = _is_published(root, config, scores)
    return StudyEntry(
        label=label,
        root=root,
        faults=faults,
        missing=attempt(CONFIG, lambda: missing_files(root, config, published), []),
        started=max(dates, default=""),
        scale="published numbers" if published else scale,
        backbones=_in_order({cell.model for cell in trained}, config),
        seeds={cell: _seeds(root, cell) for cell in trained if cell in scores},
        commits=[name for name, _ in sorted(commits.items(), key=lambda item: (-item[1], item[0]))],
        reports=_reports(root),
        scores=scores or table_scores,
        records=records,
    )


def _records(root: Path) -> StudyRecords | None:
    try:
        return StudyRecords(Results(root))
    except UserError:  # no rollouts
        return None


def _is_published(root: Path, config: Config | None, scores: Mapping[Cell, Score]) -> bool:
    return root.name == PUBLISHED and config is None and not scores and not (root / CONFIG).exists()


def _files(root: Path, name: str, suffix: str) -> list[Path]:
    return sorted(
        path
        for path in root.glob(ARTEFACTS[name].glob)
        if path.suffix == f".{suffix}" and path.is_file() and not path.name.startswith(".")
    )


def _analysis(path: Path) -> dict[str, Any]:
    """The JSON of a table. Raises UserError, or any error of a file that is not JSON."""
    if path.stat().st_size > MOST_BYTES:
        raise UserError(f"{path}: larger than {MOST_BYTES} bytes, so not a table: make the table again")
    content = parse_json(path.read_text())
    if not isinstance(content, dict) or not isinstance(content.get("settings"), dict):
        raise UserError(f"{path}: the key settings is missing: make the table again")
    return content


def _stated_scale(analyses: Mapping[str, Mapping[str, Any]]) -> str:
    stated = [content.get("settings", {}).get("scale") for content in analyses.values()]
    return next((scale for scale in stated if isinstance(scale, str)), "")


def _jobs(root: Path) -> tuple[set[str], Counter[str]]:
    """The days on which jobs started, and how many jobs each commit ran, by their provenance."""
    dates: set[str] = set()
    commits: Counter[str] = Counter()
    beside = [path.with_name(PROVENANCE) for path in root.glob(ARTEFACTS["rollout"].glob)]
    for path in [*beside, *(path for name in _STAGES for path in root.glob(ARTEFACTS[name].glob))]:
        try:
            record = parse_json(path.read_text()) if path.stat().st_size < MOST_BYTES else {}
            started, commit = record.get("started"), record.get("commit")
        except (OSError, ValueError, AttributeError):
            continue  # reading the records states what is wrong with it, if it matters
        if isinstance(started, str) and (day := _DATE.match(started)):
            dates.add(day[0])
        if isinstance(commit, str) and commit:
            commits[one_line(commit[:80])] += 1
    return dates, commits


def _in_order(models: set[str], config: Config | None) -> list[str]:
    """`models` in the order of the configuration, then by name."""
    known = [*config.backbones, *config.experts] if config else []
    return [*(name for name in known if name in models), *sorted(models - set(known))]


def _seeds(root: Path, cell: Cell) -> tuple[int, ...]:
    folder = root / _path_of(cell)
    found = (_SEED.fullmatch(path.parent.name) for path in folder.glob("seed*/*.parquet"))
    return tuple(sorted({int(match[1]) for match in found if match}))


def _path_of(cell: Cell) -> str:
    return "/".join((ARTEFACTS["rollout"].folder, cell.model, cell.auxiliary, cell.variant, cell.benchmark))


def _reports(root: Path) -> list[tuple[str, str]]:
    """The report, the summary, the configuration, and each table in its best format for reading."""
    fixed = (
        ("report", REPORT),
        ("summary", ARTEFACTS["summary"].path(format="md")),
        ("config", ARTEFACTS["study_config"].path(format="html")),
    )
    found = [(name, path) for name, path in fixed if (root / path).is_file()]
    tables = {path.stem for kind in ("csv", "md", "html") for path in _files(root, "table", kind)}
    for table in [*(name for name in TABLES if name in tables), *sorted(tables - set(TABLES))]:
        paths = [ARTEFACTS["table"].path(table=table, format=kind) for kind in ("html", "md", "csv")]
        path = next(path for path in paths if (root / path).is_file())
        found.append((heading(table) if table in TABLES else table, path))
    return found


def _below(path: Path, root: Path) -> str:
    return path.relative_to(root).as_posix()
