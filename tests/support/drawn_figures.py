"""Every figure of the report over synthetic numbers, and what Matplotlib has placed in each."""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Iterator
from pathlib import Path

import numpy as np
import pandas as pd
from matplotlib.figure import Figure
from PIL import Image

from vlm4vla.analysis.rankings import Rank
from vlm4vla.conventions.benchmarks import maximum, score_metric
from vlm4vla.report.figures.auxiliary import draw_auxiliaries
from vlm4vla.report.figures.correlation import draw_scatter, draw_sets
from vlm4vla.report.figures.failures import draw_failures
from vlm4vla.report.figures.fast_injection import draw_fast_injection
from vlm4vla.report.figures.generated import GeneratedScene, copy_generated, draw_generated
from vlm4vla.report.figures.judged import draw_judged
from vlm4vla.report.figures.learning_curves import Curve, draw_learning_curves
from vlm4vla.report.figures.overview import draw_overview
from vlm4vla.report.figures.paired import draw_variants
from vlm4vla.report.figures.radar import draw_radar
from vlm4vla.report.figures.ranks import draw_ranks
from vlm4vla.report.figures.steps import draw_executed_steps
from vlm4vla.report.figures.tasks import draw_tasks
from vlm4vla.report.judged.stage import COLOURS
from vlm4vla.report.rows.capability_scores import OVERALL, Score
from vlm4vla.report.rows.cells import Cell
from vlm4vla.report.rows.films import Film
from vlm4vla.report.rows.fine_tuned import FineTuned

BENCHMARKS = ["calvin", "bridge", "libero-10"]
TASKS = ["none", "robopoint", "vica-332k", "a-long-auxiliary-task-of-a-user-with-its-own-name"]
FAST = ["none", "fast-freeze-vision", "fast-unfreeze-vision"]
VARIANTS = ["full", "freeze-vision", "freeze-embedding"]
SETS = [OVERALL, "vqa_mean", "where", "a_question_set_with_a_long_name_of_its_own_v1.1_val", "pointing"]
SCALE = "embedded"
ENDS = [("random", "full"), ("expert", "full")]


def long_names(count: int) -> list[str]:
    """Keys of backbones as users write them, up to the 100 characters that the configuration allows."""
    made = ["qwen2.5-vl-3b", "my-lab.internvl3.5-4b-instruct-2026-robot-mix-v2"]
    made += [f"backbone-{n}-of-a-user-{'with-a-long-name-' * (n % 3)}{n * 7}b" for n in range(count)]
    made[2:3] = ["x" * 100]
    return made[:count]


class Numbers:
    """Rows of scores. `level`: the share of the maximum around which they lie; at 0, all scores are 0."""

    def __init__(self, level: float) -> None:
        self.level, self.rng = level, np.random.default_rng(3)

    def row(self, cell: Cell, change: str | None = None) -> dict:
        """A row with a value, an interval, a published value and the outcome `change`."""
        most = maximum(cell.benchmark, score_metric(cell.benchmark))
        value, published = self.rng.uniform(0.6, 1.4) * self.level, self.rng.uniform(0, 0.95)
        if cell.model in ("random", "expert"):
            value, published = (0.03 if cell.model == "random" else 0.98) * bool(self.level), None
        low, high = max(0.0, value - 0.08), min(1.0, value + 0.12)
        return {
            **cell._asdict(),
            "metric": score_metric(cell.benchmark),
            "value": most * min(value, 1.0),
            "ci_low": most * low,
            "ci_high": most * high,
            "published": published and most * published,
            "difference": None if change is None else 0.1,
            "outcome": change,
        }

    def gap(self, cell: Cell) -> dict:
        """The row of a policy that was not measured, with a published value near 0."""
        row = self.row(cell)
        return {**row, "value": None, "ci_low": None, "ci_high": None, "published": 0.05 * row["published"]}


def score(value: float) -> Score:
    return Score(value, max(0.0, value - 0.05), min(1.0, value + 0.05), 400)


def figures(backbones: int, level: float, folder: Path) -> dict[str, Callable[[Path], None]]:
    """By the name of each figure, what draws it to a stem. Files that a figure reads go to `folder`."""
    models, numbers = long_names(backbones), Numbers(level)
    policies = [(model, "full") for model in models]
    labels = {policy: policy[0] for policy in policies}
    shown = [*policies, *ENDS]
    main = [numbers.row(Cell(*policy, name)) for policy in shown for name in BENCHMARKS]
    main[1] = numbers.gap(Cell(models[0], "full", "bridge"))
    floor = dict.fromkeys(BENCHMARKS, 0.05 * level)
    everything = {policy: names_of(policy) for policy in shown}

    def variants(stem: Path) -> None:
        change = {"full": None, "freeze-vision": "lower", "freeze-embedding": "undecided"}
        cells = [
            Cell(model, variant, name) for model in models for variant in VARIANTS for name in BENCHMARKS
        ]
        rows = [numbers.row(cell, change[cell.variant]) for cell in cells]
        rows[0] = numbers.gap(cells[0])
        draw_variants(rows, models, VARIANTS, BENCHMARKS, SCALE, floor, stem)

    def fast(stem: Path) -> None:
        cells = [
            Cell(model, variant, name, task)
            for name in BENCHMARKS[:2]
            for model in models
            for variant in VARIANTS[:2]
            for task in FAST
        ]
        rows = [numbers.row(cell, "higher" if cell.auxiliary == FAST[2] else None) for cell in cells]
        draw_fast_injection(rows, cells, {"full": "VLA's vision encoder trained"}, SCALE, floor, stem)

    def auxiliaries(stem: Path) -> None:
        cells = [Cell(model, "full", "calvin", task) for model in models for task in TASKS]
        rows = [numbers.row(cell) for cell in cells]
        spread = {
            cell: {seed: row["value"] * (1 + seed / 20) for seed in range(3)}
            for cell, row in zip(cells, rows, strict=True)
        }
        spread[cells[-1]] = {}
        vlms = [FineTuned(cell.model, cell.auxiliary, None, score(level), score(level / 2)) for cell in cells]
        draw_auxiliaries(rows, spread, vlms, SCALE, stem)

    scores = {
        model: {OVERALL: score(min(0.9, level * (0.8 + 0.4 * place / backbones)))}
        for place, model in enumerate(models)
    }
    pearson = [
        {
            "benchmark": name,
            "question_set": chosen,
            "model": "all backbones",
            "metric": "pearson_r",
            "value": 0.6 if level else None,
            "ci_low": 0.1,
            "ci_high": 0.9,
            "p_adjusted": 0.02 if chosen == OVERALL else 0.2,
            "published": 0.839 if name == "calvin" else None,
        }
        for name in BENCHMARKS
        for chosen in SETS
    ]
    tasks = {
        name: pd.DataFrame(
            [attempts(name, *policy, task, level) for policy in shown for task in range(count)]
        )
        for name, count in zip(BENCHMARKS, (34, 4, 10), strict=True)
    }
    places = {
        policy: Rank(place, max(1, place - 2), min(backbones, place + 3), 1 / place)
        for place, policy in enumerate(policies, 1)
    }
    ranks = dict.fromkeys(BENCHMARKS, places)
    curves = [
        Curve(model, "full", name, 0, [10, 20, 30], [0.5 + 0.01 * place, 0.2, 0.1 - 0.003 * place])
        for name in BENCHMARKS
        for place, model in enumerate(models)
    ]
    steps = [
        {**numbers.row(Cell(*policy, name)), "executed": count}
        for policy in policies
        for name in BENCHMARKS[:2]
        for count in (1, 2, 4)
    ]
    judged = {
        f"LIBERO-{suite} with a long title, percent": [
            (model, 100 * level, None if place % 3 else (90 * level, 110 * level), list(COLOURS)[place % 5])
            for place, model in enumerate(models)
        ]
        for suite in ("Spatial", "Object", "Goal", "Long", "90", "all")
    }
    return {
        "main": lambda stem: draw_overview(main, shown, BENCHMARKS, SCALE, stem, [backbones]),
        "radar": lambda stem: draw_radar(main, policies, labels, BENCHMARKS, SCALE, stem),
        "ranks": lambda stem: draw_ranks(ranks, labels, BENCHMARKS, SCALE, stem),
        "tasks": lambda stem: draw_tasks(tasks, everything, BENCHMARKS, SCALE, stem),
        "learning_curves": lambda stem: draw_learning_curves(curves, SCALE, stem),
        "freeze": variants,
        "fast_injection": fast,
        "auxiliary": auxiliaries,
        "correlation": lambda stem: draw_scatter(main, scores, models, BENCHMARKS, pearson, SCALE, stem),
        "correlation_sets": lambda stem: draw_sets(pearson, BENCHMARKS, SETS, SCALE, stem),
        "executed_steps": lambda stem: draw_executed_steps(steps, BENCHMARKS[:2], labels, SCALE, floor, stem),
        "judged": lambda stem: draw_judged(models, judged, COLOURS, stem),
        "failures": lambda stem: draw_failures(films(models[:12], folder), {}, SCALE, stem),
        "generated": lambda stem: draw_generated(scenes(), classes(), (0.5, 1.0), models[-1], stem),
        "no_generated": lambda stem: copy_generated([], models[-1], stem.parent),
    }


def attempts(benchmark: str, model: str, variant: str, task: int, level: float) -> dict:
    return {
        "model": model,
        "variant": variant,
        "task": f"{benchmark}_{task}_lift_the_{'long_' * (task % 4)}block",
        "tried": 4 + task,
        "solved": round(level * (4 + task)),
    }


def names_of(policy: tuple[str, str]) -> str:
    return {"random": "random actions (floor)", "expert": "scripted expert (ceiling)"}.get(
        policy[0], policy[0]
    )


def films(models: list[str], folder: Path) -> list[Film]:
    """Films of 10 grey frames, each of an episode that failed at a long instruction."""
    folder.mkdir(parents=True, exist_ok=True)
    path = folder / "film.gif"
    frames = [Image.fromarray(np.full((48, 48, 3), 20 * n, np.uint8)) for n in range(10)]
    frames[0].save(path, save_all=True, append_images=frames[1:], duration=200)
    instructions = (
        "push the pink block to the left and then put both mugs on the plate beside the caddy",
    ) * 5
    return [Film(path, model, "none", "full", "calvin", 0, 3, instructions, False, 1) for model in models]


def classes() -> list[str]:
    return ["floor", "table", "gripper", "fixture", "block", "ball", "vessel", "food", "tool", "surface"]


def scenes() -> list[GeneratedScene]:
    image = np.random.default_rng(0).integers(0, 255, (32, 32, 3), np.uint8)
    depth = np.linspace(0.5, 1, 32 * 32).reshape(32, 32)
    numbers = np.arange(32 * 32).reshape(32, 32) // 103
    return [GeneratedScene(image, image, depth, depth, numbers, numbers)] * 3


@contextlib.contextmanager
def saved(look: Callable[[Figure], None]) -> Iterator[None]:
    """Call `look` with each figure in the state in which its PNG is written."""
    write = Figure.savefig

    def savefig(figure: Figure, path: object, **options: object) -> None:
        write(figure, path, **options)
        if options.get("format") == "png":
            look(figure)

    Figure.savefig = savefig
    try:
        yield
    finally:
        Figure.savefig = write
