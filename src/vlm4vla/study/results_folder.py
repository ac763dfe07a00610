"""The results folder of a study that has run: its tables, records and artefacts."""

from __future__ import annotations

import csv
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from vlm4vla.core.artefacts import parse_json
from vlm4vla.core.errors import UserError, suggestion
from vlm4vla.study.layout import ARTEFACTS, INPUT_FOLDERS, PROVENANCE, ResultsLayout
from vlm4vla.study.outputs import PUBLISHED

DEFAULT = Path("results")
NUMBERS = (  # of a row of a table
    "value",
    "ci_low",
    "ci_high",
    "published",
    "seed_sd",
    "difference",
    "difference_ci_low",
    "difference_ci_high",
    "p_value",
)
_ANALYSIS, _ROLLOUTS = ARTEFACTS["analysis"].folder, ARTEFACTS["rollout"].folder


class Results:
    """A results folder, such as results/embedded. Raises UserError for a folder that is not one."""

    def __init__(self, root: Path):
        self.root = Path(root)
        self.layout = ResultsLayout(self.root)
        if not self.root.is_dir():
            raise UserError(
                f"{str(root)!r}: no such folder: write the folder of a study, such as results/embedded"
            )
        if not any((self.root / name).is_dir() for name in (_ANALYSIS, _ROLLOUTS)):
            raise UserError(
                f"{str(root)!r}: has no folder {_ANALYSIS} and no folder {_ROLLOUTS}: write the folder of a "
                "study, such as results/embedded"
            )

    def path(self, name: str, **wildcards: object) -> Path:
        """The path of an artefact of the layout. Raises KeyError for a wildcard without a value."""
        return Path(self.layout.path(name, **wildcards))

    def tables(self) -> list[str]:
        """The tables that the study has made."""
        return sorted(path.stem for path in self.root.glob(ARTEFACTS["analysis"].glob))

    def analysis(self, table: str) -> dict[str, Any]:
        """The numbers behind `table`. Raises UserError for an unknown table or a damaged file."""
        if table not in self.tables():
            known = suggestion(table, self.tables()) if self.tables() else "the study has made no table yet"
            raise UserError(f"{self.root}: no table {table!r}: {known}")
        path = self.path("analysis", table=table)
        content = read_json(path, "make the table again")
        if not isinstance(content, dict) or not {"settings", "records"} <= set(content):
            raise UserError(f"{path}: the keys settings and records are missing: make the table again")
        fault = _analysis_fault(content["settings"], content["records"])
        if fault is not None:
            raise UserError(f"{path}: {fault}: make the table again")
        return content

    def csv_rows(self, table: str) -> list[dict[str, str]]:
        """The rows of the table's CSV as text; none without the file. Raises UserError if it is no CSV."""
        path = self.path("table", table=table, format="csv")
        if not path.exists():
            return []
        try:
            with path.open(newline="") as handle:
                return list(csv.DictReader(handle))
        except (OSError, ValueError, csv.Error) as error:
            raise UserError(f"{path}: cannot be read as CSV ({error}): make the table again") from None

    def episode_files(self) -> Iterator[Path]:
        """The episode records of every finished rollout, sorted."""
        yield from sorted(self.root.glob(ARTEFACTS["rollout"].glob))

    def locate(self, recorded: str) -> Path:
        """The present path of an input that a provenance record names.

        If the study has moved, the input is in this folder and not at the recorded path.
        """
        parts = Path(recorded).parts
        for index, part in enumerate(parts):
            if part in INPUT_FOLDERS and self.root.joinpath(*parts[index:]).exists():
                return self.root.joinpath(*parts[index:])
        return Path(recorded)


def _analysis_fault(settings: Any, records: Any) -> str | None:
    """What is wrong with the settings or the records of a table, as words for a message; None if nothing is.

    Settings can lack keys: those of the published study, and those that another version wrote.
    """
    if not isinstance(settings, Mapping):
        return "settings: not a mapping"
    for key in ("study", "scale"):
        if not isinstance(settings.get(key, ""), str):
            return f"settings.{key}: not a text"
    seeds = settings.get("seeds", [])
    if not isinstance(seeds, list) or not all(type(seed) is int for seed in seeds):
        return "settings.seeds: not a list of whole numbers"
    if not isinstance(settings.get("cells", {}), Mapping):
        return "settings.cells: not a mapping"
    if not isinstance(records, list):
        return "records: not a list"
    for index, record in enumerate(records):
        if not isinstance(record, Mapping):
            return f"records.{index}: not a mapping"
        for key in ("model", "benchmark", "metric"):
            if not isinstance(record.get(key), str):
                return f"records.{index}.{key}: not a text"
        for key in ("auxiliary", "variant", "question_set"):
            if not isinstance(record.get(key), str | None):
                return f"records.{index}.{key}: not a text"
        for key in NUMBERS:
            if not isinstance(record.get(key), int | float | None):
                return f"records.{index}.{key}: not a number"
    return None


def open_results(results: Path | None, study: str | None) -> Results:
    """The folder that the user names, or else the only study with tables in results/. Raises UserError."""
    if results is not None and study is not None:
        raise UserError("--results and --study: write one of them")
    if results is not None:
        return Results(results)
    folders = [path.parent.name for path in DEFAULT.glob(f"*/{_ANALYSIS}")]
    known = sorted(name for name in folders if name != PUBLISHED)
    if study is not None:
        if not (DEFAULT / study).is_dir():
            raise UserError(
                f"--study {study!r}: no folder {DEFAULT / study}: "
                + (suggestion(study, known) if known else "make a table first")
            )
        return Results(DEFAULT / study)
    if len(known) != 1:
        found = f"several studies ({', '.join(known)})" if known else "no study with tables"
        raise UserError(f"{DEFAULT}/: {found}: write --results FOLDER, such as results/embedded")
    return Results(DEFAULT / known[0])


def study_of(folder: Path) -> Results | None:
    """The study in whose results folder the policy in `folder` is; None for a policy that was moved."""
    path = folder.resolve() / PROVENANCE
    for root in path.parents:
        if ARTEFACTS["vla"].parse(path.relative_to(root).as_posix()) is None:
            continue
        try:
            return Results(root)
        except UserError:
            return None
    return None


def read_json(path: Path, remedy: str) -> Any:
    """The content of a JSON file. Raises UserError, which ends with `remedy`, if it cannot be read."""
    try:
        return parse_json(path.read_text())
    except FileNotFoundError:
        raise UserError(f"{path}: no such file: {remedy}") from None
    except OSError as error:
        raise UserError(f"{path}: cannot be read ({error.strerror}): {remedy}") from None
    except ValueError as error:
        raise UserError(f"{path}: not JSON ({error}): {remedy}") from None
