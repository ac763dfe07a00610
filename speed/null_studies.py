"""How often a study of equal policies prints a false finding or mark, by table, with the real report code.

Each simulated study has episode records of every table, and all its policies have equal skill. With one
training seed, they have equal success probabilities at each initial state. With several, the methods are
equal and their seeds differ. The question scores differ, but have nothing to do with the policies. Every
table is then made by `stages/table.py` (without figures), and the summary from their numbers. Each finding of
a difference, each mark and each correlation is false. The program prints JSON, and a small table to standard
error.

    python speed/null_studies.py --studies 200 --seeds 1 3
"""

from __future__ import annotations

import argparse
import json
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from unittest import mock

import numpy as np
import pandas as pd
from scipy import stats

from vlm4vla.config.stages import TableSettings
from vlm4vla.conventions.tables import TABLES
from vlm4vla.core.imports import load
from vlm4vla.report.pages.findings import findings
from vlm4vla.report.pages.summary import read_analyses
from vlm4vla.stages import summary as summary_stage
from vlm4vla.stages import table as table_stage
from vlm4vla.study.layout import ARTEFACTS

PUBLISHED = Path(__file__).parents[1] / "workflow" / "published"
TEN = (
    "qwen2.5-vl-3b",
    "qwen2.5-vl-7b",
    "qwen3-vl-2b",
    "qwen3-vl-4b",
    "qwen3-vl-8b",
    "qwen3-vl-30b-a3b",
    "paligemma-1",
    "paligemma-2",
    "kosmos-2",
    "internvl3.5-4b",
)
THREE = ("qwen2.5-vl-3b", "paligemma-1", "kosmos-2")
TASKS = {
    "qwen2.5-vl-7b": ["none", "omni-generation", "vqa-mix", "robobrain2"],
    "qwen2.5-vl-3b": ["none", "bridgevqa", "robo2vlm", "robopoint", "vica-332k"],
}
FAST = {"qwen3-vl-4b": ["none", "fast-freeze-vision", "fast-unfreeze-vision"]}
FAMILIES = {name: name.rstrip("0123456789").split("-")[0].rstrip(".0123456789") for name in TEN}
BENCHMARKS = ("calvin", "bridge", "libero-10")
HORIZONS = {"calvin": [10, 5], "bridge": [4, 1, 2], "libero-10": [4, 2]}
STATES = {"calvin": 100, "bridge": 96, "libero-10": 100}
TASK_COUNTS = {"calvin": 100, "bridge": 4, "libero-10": 10}
SETS = ("caption", "where", "colour", "count", "relation", "existence", "pointing", "state")
SKILL = {"calvin": 0.5, "bridge": 0.0, "libero-10": 0.0}  # logits: about 1.3 instructions, and a rate of 50 %
FLOOR, CEILING = -4.0, 4.0
BETWEEN_STATES = 1.0  # standard deviation of the states' difficulty, in logits
DIFFERENT = ("higher", "lower")
# The findings of the summary that claim a difference: its beginning, and what would be false.
EFFECTS = {"Freezing the vision encoder hurts": "shown", "Training from random weights collapses": "shown"}
ABSENCES = {"Fine-tuning the VLM on an auxiliary task first does not improve control": "contrary"}


@dataclass(frozen=True)
class Size:
    """The backbones of the tables, and the share of the initial states that is simulated."""

    backbones: Sequence[str] = TEN
    few: Sequence[str] = THREE
    states: float = 1.0


TINY = Size(backbones=TEN[:3] + TEN[6:7], few=THREE[:1], states=0.25)


def table_settings(table: str, seeds: Sequence[int], size: Size) -> TableSettings:
    """The settings of one table of a simulated study."""
    variants = {
        "freeze": ["full", "freeze-vision", "freeze-embedding"],
        "scratch": ["full", "scratch"],
        "fast_injection": ["freeze-vision", "full"],
    }.get(table, ["full"])
    tasks = {"auxiliary": TASKS, "fast_injection": FAST}.get(table)
    if tasks is None:
        chosen = size.backbones if table in ("main", "correlation", "executed_steps") else size.few
        tasks = {name: ["none"] for name in chosen}
    benchmarks = {"auxiliary": ["calvin"], "fast_injection": ["bridge"]}.get(table, list(BENCHMARKS))
    return TableSettings.model_validate(
        {
            "table": table,
            "study": "null",
            "scale": "embedded",
            "seeds": list(seeds),
            "cells": {
                "backbones": list(tasks),
                "auxiliaries": tasks,
                "variants": variants,
                "benchmarks": benchmarks,
            },
            "vla_steps": dict.fromkeys(variants, 2000),
            "families": {name: FAMILIES[name] for name in tasks} if TABLES[table].families else {},
            "horizons": {name: HORIZONS[name] for name in benchmarks} if TABLES[table].horizons else {},
        }
    )


class Study:
    """The records of one simulated study."""

    def __init__(self, number: int, seeds: Sequence[int], spread: float, size: Size) -> None:
        self.random = np.random.default_rng([20_260_117, number, len(seeds)])
        self.seeds, self.spread, self.size = list(seeds), spread, size
        self.hard = {
            name: self.random.normal(0, BETWEEN_STATES, size=(max(8, int(size.states * STATES[name])), 5))
            for name in BENCHMARKS
        }
        self.made: dict[tuple[str, ...], pd.DataFrame] = {}
        self.skills: dict[tuple[str, ...], list[float]] = {}

    def policy(self, key: tuple[str, str, str, str], horizon: int) -> pd.DataFrame:
        """Records of all seeds of the policy `key`: model, auxiliary task, variant, benchmark.

        A policy keeps its records in all tables. Several horizons share the seeds' skill.
        """
        if (*key, str(horizon)) not in self.made:
            trained = key[0] not in ("random", "expert")
            skills = self.skill(key) if trained else [FLOOR if key[0] == "random" else CEILING]
            frames = [
                self.run(key, seed, skill, horizon)
                for seed, skill in zip(self.seeds if trained else [0], skills, strict=True)
            ]
            self.made[*key, str(horizon)] = pd.concat(frames)
        return self.made[*key, str(horizon)]

    def skill(self, key: tuple[str, str, str, str]) -> list[float]:
        """The skill of each seed, in logits. It is that of the benchmark if there is only one seed."""
        if key not in self.skills:
            spread = self.spread if len(self.seeds) > 1 else 0.0
            drawn = self.random.normal(0, spread, size=len(self.seeds))
            self.skills[key] = (SKILL[key[3]] + drawn).tolist()
        return self.skills[key]

    def run(self, key: tuple[str, str, str, str], seed: int, skill: float, horizon: int) -> pd.DataFrame:
        """Records of one rollout."""
        model, auxiliary, variant, benchmark = key
        chance = 1 / (1 + np.exp(-skill - self.hard[benchmark]))
        solves = self.random.uniform(size=chance.shape) < chance
        chain = benchmark == "calvin"
        solved = np.cumprod(solves, axis=1).sum(axis=1) if chain else solves[:, 0].astype(int)
        number = np.arange(len(solved))
        task = [f"task {each % TASK_COUNTS[benchmark]}" for each in number]
        return pd.DataFrame(
            {
                "study": "null",
                "scale": "embedded",
                "benchmark": benchmark,
                "model": model,
                "auxiliary": auxiliary,
                "variant": variant,
                "seed": seed,
                "episode": number,
                "task": task,
                "instruction": task,
                "initial_state": number,
                "rollout_seed": 5,
                "checkpoint": f"{'-'.join(key)}-{seed}",
                "execution_horizon": horizon,
                "max_steps": 60,
                "steps": 30,
                "success": solved == (5 if chain else 1),
                "solved": solved,
                "protocol": f"{benchmark}, {horizon} executed",
            }
        )

    def write(self, settings: TableSettings, folder: Path) -> list[Path]:
        """Write the records of one table, one file for each benchmark and horizon; return the files."""
        paths, cells = [], settings.cells
        for benchmark in cells.benchmarks:
            for horizon in settings.horizons.get(benchmark, HORIZONS[benchmark][:1]):
                keys = [
                    (model, task, variant, benchmark)
                    for model in cells.backbones
                    for variant in cells.variants
                    for task in cells.auxiliaries[model]
                ]
                if horizon == HORIZONS[benchmark][0]:
                    keys += [("random", "none", "full", benchmark), ("expert", "none", "full", benchmark)]
                path = folder / settings.table / f"{benchmark}-{horizon}" / "episodes.parquet"
                path.parent.mkdir(parents=True, exist_ok=True)
                pd.concat([self.policy(key, horizon) for key in keys]).to_parquet(path, index=False)
                paths.append(path)
        return paths

    def capability(self, folder: Path) -> list[Path]:
        """Question scores that differ between backbones and have nothing to do with their policies."""
        paths = []
        tuned = [(model, task) for tasks in (TASKS, FAST) for model, own in tasks.items() for task in own]
        for model, task in dict.fromkeys([*((model, "none") for model in TEN), *tuned]):
            sets = {}
            for name in SETS:
                correct = int(self.random.binomial(100, self.random.uniform(0.3, 0.9)))
                sets[name] = {"score": correct / 100, "correct": correct, "questions": 100}
            total = sum(each["correct"] for each in sets.values())
            asked = 100 * len(SETS)
            overall = {"score": total / asked, "correct": total, "questions": asked}
            path = folder / "capability" / model / f"{task}.json"
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_text(json.dumps({"sets": sets, "overall": overall, "provenance": {}}))
            paths.append(path)
        return paths


def own_scores(folder: Path) -> list[Path]:
    """Scores on the auxiliary tasks, which all rose, so that every row is tested."""
    paths = []
    for model, tasks in {**TASKS, **FAST}.items():
        for task in tasks[1:]:
            path = folder / "auxiliary" / model / task / "provenance.json"
            path.parent.mkdir(parents=True, exist_ok=True)
            scores = {
                when: {"score": value, "ci_low": value - 0.04, "ci_high": value + 0.04, "questions": 400}
                for when, value in (("before", 0.2), ("after", 0.8))
            }
            (path.parent / "score.json").write_text(json.dumps(scores))
            path.write_text("{}")
            paths.append(path)
    return paths


@contextmanager
def without_figures() -> Iterator[None]:
    """The report code without its figures and HTML pages, which take most of the time and decide nothing."""
    patches = [
        mock.patch.object(table_stage, "table_page", lambda *_: ""),
        mock.patch.object(table_stage, "records_section", lambda *_: ""),
    ]
    for entry in TABLES.values():
        module = load(entry.builder.split(":")[0])[0]
        drawing = [name for name in vars(module) if name.startswith(("draw_", "_draw", "copy_generated"))]
        patches += [mock.patch.object(module, name, lambda *_, **__: None) for name in drawing]
    for patch in patches:
        patch.start()
    try:
        yield
    finally:
        for patch in patches:
            patch.stop()


def make_study(
    number: int, seeds: Sequence[int], spread: float, size: Size, folder: Path, tables: Sequence[str]
) -> dict[str, Any]:
    """Simulate one study and make its `tables` and its summary; return the numbers of the tables."""
    study = Study(number, seeds, spread, size)
    capability, scores = study.capability(folder), own_scores(folder)
    paths = []
    for table in tables:
        entry, settings = TABLES[table], table_settings(table, seeds, size)
        table_stage.run(
            settings,
            episodes=study.write(settings, folder),
            capability=capability if entry.capability or entry.fine_tuned else [],
            auxiliary=scores if entry.fine_tuned else [],
            published=PUBLISHED,
            output=folder,
        )
        paths.append(folder / ARTEFACTS["analysis"].path(table=table))
    summary_stage.run(analysis=paths, output=folder)
    return read_analyses(paths)


def false_findings(analyses: Mapping[str, Any]) -> Counter[tuple[str, str]]:
    """The number of false findings or marks by table and kind."""
    found: Counter[tuple[str, str]] = Counter()
    for table, analysis in analyses.items():
        for row in analysis["records"]:
            found[table, "differences"] += row.get("outcome") in DIFFERENT
            words = str(row.get("verdict") or "")
            called = words.startswith(("positive", "negative")) and "but weak" not in words
            found[table, "correlations"] += called
        found[table, "pairs"] += sum(test["decided"] for test in analysis.get("pairs", []))
        found[table, "successes by task"] += sum(
            row["p_adjusted"] is not None and row["p_adjusted"] < 0.05 for row in analysis.get("by_task", [])
        )
        interactions = analysis.get("interactions") or []
        found[table, "interactions"] += sum(row.get("outcome") in DIFFERENT for row in interactions)
    for finding in findings(analyses):
        wrong = {**EFFECTS, **ABSENCES}.get(finding.claim)
        if wrong is not None:
            found["summary", finding.claim] += getattr(finding.count, wrong)
    return +found  # without zeros


def rate(studies: int, of: int) -> dict[str, Any]:
    """The share of studies with its 95 % interval of Clopper and Pearson."""
    interval = stats.binomtest(studies, of).proportion_ci(0.95, "exact")
    return {
        "studies": studies,
        "share": round(studies / of, 4),
        "ci": [round(float(interval.low), 4), round(float(interval.high), 4)],
    }


def simulate(
    studies: int,
    seeds: int,
    spread: float,
    size: Size,
    first: int = 0,
    made: Sequence[str] = tuple(TABLES),
) -> dict[str, Any]:
    """The share of `studies` with a false finding, by table, and by table and kind."""
    tables: Counter[str] = Counter()
    kinds: Counter[str] = Counter()
    start = time.perf_counter()
    with without_figures():
        for number in range(first, first + studies):
            with tempfile.TemporaryDirectory() as folder:
                found = false_findings(make_study(number, range(seeds), spread, size, Path(folder), made))
            tables.update({table for table, _ in found})
            kinds.update(f"{table}: {kind}" for table, kind in found)
    return {
        "training_seeds": seeds,
        "spread_of_seeds_in_logits": spread if seeds > 1 else 0.0,
        "studies": studies,
        "seconds_a_study": round((time.perf_counter() - start) / studies, 2),
        "tables": {table: rate(tables[table], studies) for table in [*made, "summary"]},
        "kinds": {kind: rate(count, studies) for kind, count in sorted(kinds.items())},
    }


def printed(results: Sequence[Mapping[str, Any]]) -> str:
    """A small table: the share of studies with a false finding by table and number of seeds."""
    lines = ["table".ljust(16) + "".join(f"{each['training_seeds']} seed(s)".rjust(26) for each in results)]
    for table in results[0]["tables"]:
        line = table.ljust(16)
        for each in results:
            found = each["tables"][table]
            low, high = (100 * end for end in found["ci"])
            line += f"{100 * found['share']:.1f} % [{low:.1f}, {high:.1f}]".rjust(26)
        lines.append(line)
    return "\n".join(lines)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--studies", type=int, default=200, help="simulated studies for each number of seeds")
    parser.add_argument("--seeds", type=int, nargs="+", default=[1, 3], help="numbers of training seeds")
    parser.add_argument("--spread", type=float, default=0.4, help="deviation between seeds, in logits")
    parser.add_argument("--tiny", action="store_true", help="few backbones and states, to test the program")
    parser.add_argument("--first", type=int, default=0, help="number of the first study, to go on with a run")
    parser.add_argument("--tables", nargs="+", choices=list(TABLES), default=list(TABLES), help="only these")
    options = parser.parse_args()
    size = TINY if options.tiny else Size()
    results = [
        simulate(options.studies, seeds, options.spread, size, options.first, options.tables)
        for seeds in options.seeds
    ]
    print(printed(results), file=sys.stderr)
    print(json.dumps(results, indent=2))


if __name__ == "__main__":
    main()
