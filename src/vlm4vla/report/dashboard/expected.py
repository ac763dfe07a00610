"""What a study's results folder should contain, by its own config.yaml, and what is missing."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from pathlib import Path

from vlm4vla.config.config import Config, load_config
from vlm4vla.config.layer_files import read_layer
from vlm4vla.core.errors import UserError
from vlm4vla.report.dashboard.folders import CONFIG
from vlm4vla.study.files import StudyFiles
from vlm4vla.study.layout import ARTEFACTS, EPISODES
from vlm4vla.study.outputs import published_outputs

_SHOWN = 3  # files that are named one by one
_SUMMARY = ARTEFACTS["summary"].path(format="md")


def read_config(root: Path) -> tuple[Config | None, str]:
    """The configuration of the study in `root`, and a scale.

    Extension files are not run: they are programs, and the study may come from someone else. A configuration
    that is valid only with its extensions gives None. The scale is then the one that the file states, or
    empty. Raises UserError (one line) for a file that is no configuration.
    """
    path = root / CONFIG
    if not path.exists():
        return None, ""
    if not path.is_file():
        raise UserError(f"{CONFIG}: not a file: run the workflow again")
    raw = read_layer(path)
    extended = bool(raw.pop("extensions", None))
    stated = raw.get("scale")
    scale = stated if isinstance(stated, str) else ""
    try:
        return load_config(raw, CONFIG), scale
    except UserError:
        if extended:
            return None, scale
        raise


def missing_files(root: Path, config: Config | None, published: bool) -> list[str]:
    """What is missing in `root`, each part in words; empty for a finished study.

    Without a configuration, any table, any rollout and the summary are expected. `published`: the folder
    holds the analysis of the paper's numbers.
    """
    if published:
        return _files(root, published_outputs())
    if config is None:
        tables, rollouts = (list(root.glob(ARTEFACTS[name].glob)) for name in ("table", "rollout"))
        absent = [] if (root / CONFIG).exists() else [CONFIG]
        absent += [] if tables else ["all tables"]
        absent += [] if rollouts else ["all rollouts"]
        return [*absent, *_files(root, [_SUMMARY])]
    files = StudyFiles(config)
    prefix = f"{files.root}/"
    tables = {
        table: [path.removeprefix(prefix) for path in files.shown_files(table)] for table in files.tables()
    }
    # A table without any of its own formats is missing; otherwise its missing files are named.
    gone = [table for table in tables if not any(map(_is_file(root), ARTEFACTS["table"].paths(table=table)))]
    parts = []
    if gone:
        parts.append("all tables" if len(gone) == len(tables) else f"the tables {_listed(gone)}")
        if len(gone) == 1 < len(tables):
            parts[-1] = f"the table {gone[0]}"
    rollouts = list(dict.fromkeys(path for table in tables for path in files.table_episodes(table)))
    parts += _rollouts(root, [path.removeprefix(prefix) for path in rollouts])
    others = [path for table, paths in tables.items() if table not in gone for path in paths]
    if len(gone) < len(tables):
        others += [path.removeprefix(prefix) for path in files.film_files()]
    return [*parts, *_files(root, [*others, _SUMMARY])]


def _rollouts(root: Path, paths: Sequence[str]) -> list[str]:
    absent = [path for path in paths if not (root / path).is_file()]
    if not absent:
        return []
    if len(absent) == len(paths):
        return [f"all {len(paths)} rollouts"]
    first = absent[0].removeprefix(f"{ARTEFACTS['rollout'].folder}/").removesuffix(f"/{EPISODES}")
    return [f"{len(absent)} of {len(paths)} rollouts (the first: {first})"]


def _files(root: Path, paths: Iterable[str]) -> list[str]:
    absent = [path for path in dict.fromkeys(paths) if not (root / path).is_file()]
    if len(absent) <= _SHOWN:
        return absent
    return [*absent[: _SHOWN - 1], f"{len(absent) - _SHOWN + 1} more files"]


def _is_file(root: Path):
    return lambda path: (root / path).is_file()


def _listed(names: Sequence[str]) -> str:
    return names[0] if len(names) == 1 else f"{', '.join(names[:-1])} and {names[-1]}"
