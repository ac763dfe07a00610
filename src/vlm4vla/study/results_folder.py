"""A study's results folder: where its tables, records and artefacts lie."""

from __future__ import annotations

import csv
import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from vlm4vla.core.errors import UserError, nearest
from vlm4vla.study.published_outputs import TARGET as PUBLISHED

DEFAULT = Path("results")
# folders below a study's whose artefacts other artefacts name as inputs
STAGES = ("questions", "backbones", "auxiliary", "auxiliary_data", "capability", "demonstrations", "vla")


class Results:
    """A results folder, such as results/embedded. Raises UserError when it is none."""

    def __init__(self, root: Path):
        self.root = Path(root)
        if not self.root.is_dir():
            raise UserError(f"{str(root)!r}: no such folder: write a study's, such as results/embedded")
        if not any((self.root / name).is_dir() for name in ("analysis", "rollouts")):
            raise UserError(
                f"{str(root)!r}: holds neither analysis/ nor rollouts/: write the folder of one study, "
                "such as results/embedded"
            )

    def tables(self) -> list[str]:
        """Tables that were made."""
        return sorted(path.stem for path in (self.root / "analysis").glob("*.json"))

    def analysis(self, table: str) -> dict[str, Any]:
        """analysis/{table}.json. Raises UserError for an unknown table or a damaged file."""
        if table not in self.tables():
            told = nearest(table, self.tables()) if self.tables() else "none is made yet"
            raise UserError(f"{self.root}: no table {table!r}: {told}")
        path = self.root / "analysis" / f"{table}.json"
        content = read_json(path, "make the table again")
        if not isinstance(content, dict) or not {"settings", "records"} <= set(content):
            raise UserError(f"{path}: holds no settings and records: make the table again")
        return content

    def csv_rows(self, table: str) -> list[dict[str, str]]:
        """tables/{table}.csv as text; empty when it is not there."""
        path = self.root / "tables" / f"{table}.csv"
        if not path.exists():
            return []
        with path.open(newline="") as handle:
            return list(csv.DictReader(handle))

    def cell_folder(self, model: str, auxiliary: str, variant: str, benchmark: str) -> Path:
        """Rollouts of a cell, one folder a training seed below it."""
        return self.root / "rollouts" / model / auxiliary / variant / benchmark

    def episode_files(self) -> Iterator[Path]:
        """Episode records of every finished rollout, sorted."""
        yield from sorted((self.root / "rollouts").glob("*/*/*/*/seed*/episodes.parquet"))

    def locate(self, recorded: str) -> Path:
        """Where an input that a provenance names lies now: below this folder, although it may have moved."""
        parts = Path(recorded).parts
        for index, part in enumerate(parts):
            if part in STAGES and self.root.joinpath(*parts[index:]).exists():
                return self.root.joinpath(*parts[index:])
        return Path(recorded)


def open_results(results: Path | None, study: str | None) -> Results:
    """The folder that the user names; without a name the only study below results/. Raises UserError."""
    if results is not None and study is not None:
        raise UserError("--results and --study: write one of them")
    if results is not None:
        return Results(results)
    known = sorted(path.parent.name for path in DEFAULT.glob("*/analysis") if path.parent.name != PUBLISHED)
    if study is not None:
        if not (DEFAULT / study).is_dir():
            raise UserError(
                f"--study {study!r}: no folder {DEFAULT / study}: "
                + (nearest(study, known) if known else "make a table first")
            )
        return Results(DEFAULT / study)
    if len(known) != 1:
        told = f"several studies ({', '.join(known)})" if known else "no study with tables"
        raise UserError(f"{DEFAULT}/: {told}: write --results FOLDER, such as results/embedded")
    return Results(DEFAULT / known[0])


def read_json(path: Path, remedy: str) -> Any:
    """The content of a JSON file. Raises UserError with `remedy` when there is none."""
    try:
        return json.loads(path.read_text())
    except FileNotFoundError:
        raise UserError(f"{path}: no such file: {remedy}") from None
    except (json.JSONDecodeError, UnicodeDecodeError) as error:
        raise UserError(f"{path}: not JSON ({error}): {remedy}") from None
