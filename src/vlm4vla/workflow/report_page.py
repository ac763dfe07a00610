"""The report of a study from what Snakemake hands to a report plugin."""

from __future__ import annotations

from collections import Counter, defaultdict
from pathlib import Path
from typing import Any

from vlm4vla.core.artefacts import write_text
from vlm4vla.core.errors import UserError
from vlm4vla.report.pages.rule_graph import RuleJobs
from vlm4vla.report.pages.study_report import ReportFile, study_report

REPORT = "report.html"
_ANCHOR = "config.yaml"  # a file at the top of the results folder that every report lists


def write_report(reporter: Any) -> tuple[Path, int]:
    """Write the report of `reporter` (a ReporterBase). Returns the absolute path and the size in bytes.

    Raises UserError if a file of the report cannot be shown or the report cannot be written.
    """
    found = [file for groups in reporter.results.values() for records in groups.values() for file in records]
    root = next((Path(file.path).parent for file in found if Path(file.path).name == _ANCHOR), None)
    if root is None:
        raise UserError("report: no results of a study: write `snakemake all_tables --reporter study`")
    files = [
        ReportFile(Path(file.path).relative_to(root).as_posix(), Path(file.path), file.caption)
        for file in found
    ]
    finished = max((job.endtime for job in reporter.jobs), default=None)
    text = study_report(files, root, rule_jobs(reporter), finished)
    path = Path(reporter.settings.path or root / REPORT).absolute()
    try:
        write_text(path, text)
    except OSError as error:
        raise UserError(f"{path}: the report cannot be written: {error.strerror}") from None
    return path, path.stat().st_size


def rule_jobs(reporter: Any) -> list[RuleJobs]:
    """The rules in an order in which jobs can run."""
    needs: dict[str, set[str]] = {}
    jobs: Counter[str] = Counter()
    for level in reporter.dag.toposorted():
        for job in level:
            jobs[job.rule.name] += 1
            own = needs.setdefault(job.rule.name, set())
            own |= {other.rule.name for other in reporter.dag.dependencies[job]}
    seconds: dict[str, list[float]] = defaultdict(list)
    for job in reporter.jobs:
        seconds[job.rule].append(job.endtime - job.starttime)
    return [
        RuleJobs(
            name,
            frozenset(own),
            jobs[name],
            sum(seconds[name]) if name in seconds else None,
            reporter.rules[name].source.strip() if name in reporter.rules else "",
        )
        for name, own in needs.items()
    ]
