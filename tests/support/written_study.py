"""A folder with every kind of file that tables, cells, comparisons and judgements write."""

from __future__ import annotations

import contextlib
import io
from pathlib import Path

import synthetic_study as made

from vlm4vla.config.stages import CellSettings
from vlm4vla.report.comparison import stage as comparison
from vlm4vla.report.judged import stage as judged
from vlm4vla.stages import cell, published, table

HORIZONS = {"bridge": [2, 1, 4]}


def write_everything(root: Path, inputs: Path) -> Path:
    """Write the outputs to `root`, with the paths of a results folder, and return `root`.

    `inputs`: a folder for the synthetic studies from which the outputs are made. Outputs of commands that
    write elsewhere are in `root`/compared and `root`/judged.
    """
    study, tuned, steps = inputs / "study", inputs / "tuned", inputs / "steps"
    episodes, scores = made.write_study(study), made.write_capability(study)
    curves = made.write_curves(study)
    beside = inputs / "beside"
    made.write_ranked(beside, {"bridge": range(10)}, study="beside", scale="paper")
    for name in made.BACKBONE_TABLES:
        given = {"transfer": {"records": [str(beside)]}} if name == "transfer" else {}
        table.run(
            made.settings(name, **given),
            episodes=episodes,
            capability=scores if name == "correlation" else [],
            curves=curves if name == "main" else [],
            published=made.PUBLISHED,
            output=root,
        )
    own = {"episodes": made.write_auxiliary(tuned), "capability": made.write_tuned_capability(tuned)}
    fine_tuned, fast = made.write_own_scores(tuned), [made.write_fast_report(tuned)]
    for name in ("auxiliary", "fast_injection"):
        given = {"fast": fast} if name == "fast_injection" else {}
        table.run(
            made.settings(name),
            **own,
            **given,
            auxiliary=fine_tuned,
            published=made.PUBLISHED,
            output=root,
        )
    cells = {"backbones": made.THREE, "benchmarks": list(HORIZONS)}
    table.run(
        made.settings("executed_steps", cells, horizons=HORIZONS),
        episodes=_executed(steps),
        published=made.PUBLISHED,
        output=root,
    )
    _cell(root, tuned, own["capability"], fine_tuned)
    question_scores = inputs / "scores.csv"
    rows = [f"{model},{50 + place}" for place, model in enumerate(made.TEN)]
    question_scores.write_text("\n".join(["model,score", *rows]) + "\n")
    published.run(made.PUBLISHED, question_scores, root / "published")
    other = inputs / "other"
    made.write_study(other, skills={"full": 0.8})
    with contextlib.redirect_stdout(io.StringIO()):
        comparison.run(study, other, root / "compared" / "comparison.csv")
        judged.run(made.PUBLISHED / "others" / "openvla_libero.csv", root / "judged")
    return root


def _executed(root: Path) -> list[Path]:
    """Records of three backbones that execute each number of steps."""
    paths = []
    for benchmark, horizons in HORIZONS.items():
        for model in made.THREE:
            for steps in horizons:
                frame = made.episodes(model, "full", benchmark, 0.5, noise=steps)
                frame = frame.assign(execution_horizon=steps, protocol=f"{steps} executed")
                folder = root / f"{steps}"
                paths.append(made.write_episodes(folder, frame))
        for model, skill in (("random", 0.1), ("expert", 0.95)):
            frame = made.episodes(model, "full", benchmark, skill)
            frame = frame.assign(execution_horizon=horizons[0], protocol=f"{horizons[0]} executed")
            paths.append(made.write_episodes(root, frame))
    return paths


def _cell(root: Path, inputs: Path, capability: list[Path], fine_tuned: list[Path]) -> None:
    """The cell of a fine-tuned backbone."""
    model, task, benchmark = "qwen2.5-vl-3b", "robopoint", "calvin"
    settings = CellSettings(
        study="embedded",
        scale="embedded",
        seeds=[0, 1, 2],
        model=model,
        auxiliary=task,
        variant="full",
        benchmark=benchmark,
    )
    cell.run(
        settings,
        episodes=sorted(inputs.glob(f"rollouts/{model}/{task}/full/{benchmark}/seed*/episodes.parquet")),
        capability=[p for p in capability if p.parent.name == model and p.stem in (task, "none")],
        auxiliary=[p for p in fine_tuned if p.parent.name == task and p.parent.parent.name == model],
        output=root / "cells" / model / task / "full" / f"{benchmark}.csv",
    )
