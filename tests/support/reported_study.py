"""A results folder with synthetic tables, figures, films and summary, and its report, without Snakemake."""

from __future__ import annotations

import json
from pathlib import Path

import synthetic_study as made
from project_with_records import write_film

from vlm4vla.config.config import load_config
from vlm4vla.config.stages import FilmsSettings
from vlm4vla.report.pages.rule_graph import RuleJobs
from vlm4vla.report.pages.study_report import ReportFile, study_report
from vlm4vla.stages import films, study_config, summary, table

HOSTILE = "<img src=x onerror='document.title=1'><script>document.title = 2</script>"
RULES = [
    RuleJobs("backbone", frozenset(), 10, 60.0, "vlm4vla backbone"),
    RuleJobs("vla", frozenset({"backbone"}), 30, 600.0, "vlm4vla vla"),
    RuleJobs("table_main", frozenset({"vla", "backbone"}), 1, None),
]


def write_results(root: Path, raw_config: dict) -> Path:
    """Write two tables of a small synthetic study to `root`. Instructions of its films contain `HOSTILE`."""
    skills = {"random": 0.12, "expert": 0.97} | {model: 0.5 + 0.1 * i for i, model in enumerate(made.THREE)}
    episodes = [
        made.write_episodes(root, made.episodes(model, "full", name, skill, count=24))
        for name in made.BENCHMARKS
        for model, skill in skills.items()
    ]
    capability, curves = made.write_capability(root, made.THREE), made.write_curves(root)
    for name, inputs in (("main", {"curves": curves}), ("correlation", {"capability": capability})):
        settings = made.settings(name)
        cells = settings.cells.model_copy(
            update={"backbones": made.THREE, "auxiliaries": {model: ["none"] for model in made.THREE}}
        )
        table.run(
            settings.model_copy(update={"cells": cells}),
            episodes=episodes,
            published=made.PUBLISHED,
            output=root,
            **inputs,
        )
    filmed = [made.write_episodes(root / "other", _hostile(path)) for path in episodes[-2:]]
    for path in filmed:
        write_film(path.parent / "videos" / "episode0000.gif")
    models = [made.THREE[-1], "expert"]
    films.run(
        FilmsSettings(scale="embedded", benchmarks=["libero-10"], models=models), episodes=filmed, output=root
    )
    summary.run(analysis=sorted((root / "analysis").glob("*.json")), output=root)
    study_config.run(load_config(raw_config), output=root)
    return root


def _hostile(path: Path):
    import pandas as pd

    return pd.read_parquet(path).assign(instruction=HOSTILE)


def report_text(root: Path, rules: list[RuleJobs] = RULES) -> str:
    """The report of `root` with everything that a report shows."""
    folders = ("tables", "analysis", "figures", "films")
    paths = [path for folder in folders for path in sorted((root / folder).iterdir())]
    paths += [root / "config.yaml", root / "summary.md"]
    files = [
        ReportFile(
            path.relative_to(root).as_posix(), path, f"<p>About {path.stem}.</p><ul><li>more</li></ul>"
        )
        for path in paths
        if path.suffix != ".rst"
    ]
    return study_report(files, root, rules, 1_800_000_000.0)


def rename_study(root: Path, name: str) -> None:
    """Give the study of the tables in `root` another name."""
    for path in (root / "analysis").glob("*.json"):
        value = json.loads(path.read_text())
        value["settings"]["study"] = name
        path.write_text(json.dumps(value))


def add_models(root: Path, count: int) -> None:
    """Add copies of the first backbone's scores to the numbers of the main table, as of a larger study."""
    path = root / "analysis" / "main.json"
    value = json.loads(path.read_text())
    own = [row for row in value["records"] if row["model"] == made.THREE[0]]
    copies = [row | {"model": f"another-{number}-vl-30b"} for number in range(count) for row in own]
    value["records"] = copies + value["records"]
    path.write_text(json.dumps(value))
