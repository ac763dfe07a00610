"""Which files of a results folder are published, and what each is."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

# (pattern below the results folder, what such a file is)
KEPT = (
    ("tables/*", "table"),
    ("figures/*", "figure"),
    ("analysis/*.json", "numbers behind a table"),
    ("cells/*/*/*/*", "table of one cell"),
    ("summary.md", "summary in words"),
    ("capability/*/*.json", "question scores of a backbone"),
    ("rollouts/*/*/*/*/seed*/episodes.parquet", "episode records"),
    ("auxiliary/*/*/score.json", "score on an auxiliary task"),
    ("auxiliary_data/*/report.json", "report on action tokens"),
    ("**/train.jsonl", "training curve"),
    ("**/provenance.json", "provenance of an artefact"),
)
WEIGHTED = ("backbones", "auxiliary", "vla")  # folders that hold weights
UNFINISHED = ("checkpoints", "shards")  # of a training or a rollout under way


def kept_files(root: Path, weights: bool) -> dict[str, str]:
    """{path below `root`: what it is}, sorted. Hidden files, logs and what is unfinished stay behind;
    `weights` adds the backbones' and policies' own folders, whole."""
    patterns = [*KEPT, *((f"{name}/**/*", "part of a model") for name in WEIGHTED if weights)]
    found: dict[str, str] = {}
    for pattern, what in patterns:
        for path in _files(root, pattern):
            found.setdefault(path, what)
    return dict(sorted(found.items()))


def _files(root: Path, pattern: str) -> Iterator[str]:
    for path in root.glob(pattern):
        inside = path.relative_to(root)
        hidden = any(part.startswith(".") for part in inside.parts)
        if path.is_file() and not hidden and not set(inside.parts) & set(UNFINISHED):
            yield inside.as_posix()
