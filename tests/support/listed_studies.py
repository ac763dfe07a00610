"""Small studies for the dashboard: a finished one by its own configuration, and folders of records."""

from __future__ import annotations

import json
from pathlib import Path

import synthetic_study as made
from fast_yaml import load_yaml
from undrawn_figures import undrawn

from vlm4vla.config.config import load_config
from vlm4vla.report.dashboard.entries import StudyEntry, read_entry
from vlm4vla.stages import study_config, table
from vlm4vla.study.files import StudyFiles
from vlm4vla.study.layout import ARTEFACTS
from vlm4vla.study.runs import Run

CONFIG = Path(__file__).parents[2] / "config.yaml"
MODELS = ["kosmos-2", "paligemma-1"]
COMMIT = "0123456789abcdef0123456789abcdef01234567"


def records(root: Path, skill: float, models=MODELS, benchmarks=("calvin", "bridge"), **how) -> Path:
    """Write rollouts of `models` to `root`, with other luck in each folder."""
    for model in models:
        for benchmark in benchmarks:
            frame = made.episodes(model, "full", benchmark, skill, noise=sum(root.name.encode()), **how)
            made.write_episodes(root, frame.assign(checkpoint=f"{root.name}-{model}-{benchmark}"))
    return root


def finished(root: Path, skill: float = 0.5, started: str = "2026-05-01T10:00:00Z") -> Path:
    """Write everything that the configuration of a study of two backbones on Bridge promises."""
    raw = load_yaml(CONFIG.read_text())
    raw |= {"study": root.name, "experts": {}, "results": str(root.parent)}
    raw["tables"] = {"main": {"backbones": MODELS, "benchmarks": ["bridge"], "variants": ["full"]}}
    config = load_config(raw)
    study_config.run(config, output=root)
    files = StudyFiles(config)
    runs = [*files.cells("main"), *files.references("main")]
    for run in runs:
        _write_run(root, run, skill, started)
    cells = {"backbones": MODELS, "benchmarks": ["bridge"], "variants": ["full"]}
    with undrawn():
        table.run(
            made.settings("main", cells),
            episodes=[Path(files.episodes_path(run)) for run in runs],
            curves=[],
            published=made.PUBLISHED,
            output=root,
        )
    declared = [path for name in files.tables() for path in files.shown_files(name)]
    for path in (*declared, *files.film_files(), *files.summary_files(), root / "report.html"):
        if not Path(path).exists():
            Path(path).parent.mkdir(parents=True, exist_ok=True)
            same = {".csv": "tables/main.csv", ".json": "analysis/main.json"}.get(Path(path).suffix)
            Path(path).write_text((root / same).read_text() if same else f"{path}\n")
    return root


def _write_run(root: Path, run: Run, skill: float, started: str) -> None:
    level = {"random": 0.1, "expert": 0.95}.get(run.model, skill)
    frame = made.episodes(run.model, run.variant, run.benchmark, level, seed=run.seed)
    path = made.write_episodes(root, frame.assign(checkpoint=f"{root.name}-{run.model}"))
    record = made.record("rollout") | {"started": started, "commit": COMMIT}
    (path.parent / "provenance.json").write_text(json.dumps(record))


def entry(root: Path) -> StudyEntry:
    """The study in `root`, as the dashboard lists it."""
    return read_entry(root, root.name)


def rollout(root: Path, model: str, benchmark: str = "bridge") -> Path:
    """The episode records of a cell."""
    return root / ARTEFACTS["rollout"].path(
        vlm=model, auxiliary="none", variant="full", benchmark=benchmark, seed=0, executed=""
    )
