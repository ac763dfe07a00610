"""A synthetic study for the report's tests: episode records, question scores and training logs."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np
import pandas as pd

from vlm4vla.config.stages import TableSettings

PUBLISHED = Path(__file__).parents[2] / "workflow" / "published"
TEN = [
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
]
THREE = ["qwen2.5-vl-3b", "qwen2.5-vl-7b", "paligemma-1"]
BENCHMARKS = ["calvin", "bridge", "libero-10"]
BACKBONE_TABLES = ("main", "freeze", "scratch", "correlation", "transfer")
TASKS = {
    "qwen2.5-vl-7b": ["none", "omni-generation", "vqa-mix", "robobrain2"],
    "qwen2.5-vl-3b": ["none", "bridgevqa", "robo2vlm", "robopoint", "vica-332k"],
}
FAST = {"qwen3-vl-4b": ["none", "fast-freeze-vision", "fast-unfreeze-vision"]}
FLAT = "robo2vlm"  # the one task whose own score does not rise
SETS = ["caption", "where", "colour", "count", "relation", "existence", "pointing", "state"]


def episodes(
    model: str,
    variant: str,
    benchmark: str,
    skill: float,
    *,
    seed: int = 0,
    count: int = 96,
    noise: int = 0,
    **changes: object,
) -> pd.DataFrame:
    """`count` episodes in which each instruction is solved with probability near `skill`.

    Difficulty belongs to the initial state, so policies agree on which states are hard, as real ones do.
    """
    hard = np.random.default_rng(7).uniform(size=(count, 5))
    luck = np.random.default_rng([seed, noise, *map(ord, model + variant + benchmark)]).uniform(
        size=(count, 5)
    )
    solves = 0.5 * hard + 0.5 * luck < skill
    if benchmark == "calvin":
        solved = np.cumprod(solves, axis=1).sum(axis=1)
        success = solved == 5
    else:
        solved = solves[:, 0].astype(int)
        success = solved == 1
    frame = pd.DataFrame(
        {
            "study": "embedded",
            "scale": "embedded",
            "benchmark": benchmark,
            "model": model,
            "auxiliary": "none",
            "variant": variant,
            "seed": seed,
            "episode": np.arange(count),
            "task": [f"task {i % 4}" for i in range(count)],
            "instruction": [f"do task {i % 4}" for i in range(count)],
            "initial_state": np.arange(count) // 4,
            "rollout_seed": 5,
            "checkpoint": f"{model}-{variant}-{benchmark}-{seed}",
            "execution_horizon": {"calvin": 10, "bridge": 2, "libero-10": 4}.get(benchmark, 2),
            "max_steps": 60,
            "steps": 30,
            "success": success,
            "solved": solved,
            "protocol": f"{benchmark} embedded",
        }
    )
    return frame.assign(**changes)


def record(stage: str, settings: Mapping[str, object] | None = None) -> dict[str, object]:
    """A provenance record without inputs."""
    return {"stage": stage, "settings": settings or {}, "inputs": {}}


def write_episodes(root: Path, frame: pd.DataFrame) -> Path:
    first = frame.iloc[0]
    key = f"{first['model']}/{first['auxiliary']}/{first['variant']}/{first['benchmark']}/seed{first['seed']}"
    path = root / "rollouts" / key / "episodes.parquet"
    path.parent.mkdir(parents=True, exist_ok=True)
    frame.to_parquet(path, index=False)
    return path


def write_study(
    root: Path, seeds: tuple[int, ...] = (0,), skills: dict[str, float] | None = None
) -> list[Path]:
    """Write records of all cells of main, freeze and scratch, with floor and ceiling; return the files.

    Skill increases in the order of TEN. A frozen vision encoder and random weights reduce the skill, a frozen
    word embedding does not. `skills` overrides the factors of variants.
    """
    factor = {"full": 1.0, "freeze-vision": 0.5, "freeze-embedding": 1.0, "scratch": 0.35} | (skills or {})
    paths = []
    for benchmark in BENCHMARKS:
        for place, model in enumerate(TEN):
            for variant in factor:
                if variant != "full" and model not in THREE:
                    continue
                for seed in seeds:
                    skill = (0.55 + 0.04 * place) * factor[variant]
                    paths.append(write_episodes(root, episodes(model, variant, benchmark, skill, seed=seed)))
        paths.append(write_episodes(root, episodes("random", "full", benchmark, 0.12)))
        paths.append(write_episodes(root, episodes("expert", "full", benchmark, 0.97)))
    return paths


def write_capability(root: Path, models: list[str] = TEN, questions: int = 100) -> list[Path]:
    """Write question scores that increase in the order of TEN. The sets differ a little; return the files."""
    paths = []
    for model in models:
        place = TEN.index(model)
        correct = {name: 40 + 4 * place + (3 * i * (place % 3)) % 17 for i, name in enumerate(SETS)}
        sets = {
            name: {"score": value / questions, "correct": value, "questions": questions}
            for name, value in correct.items()
        }
        total, asked = sum(correct.values()), questions * len(SETS)
        overall = {"score": total / asked, "correct": total, "questions": asked}
        path = root / "capability" / model / "none.json"
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(json.dumps({"sets": sets, "overall": overall, "provenance": record("capability")}))
        paths.append(path)
    return paths


def write_auxiliary(root: Path, seeds: tuple[int, ...] = (0, 1, 2)) -> list[Path]:
    """Write records of all cells of auxiliary and fast_injection, with floor and ceiling; return the files.

    RoboPoint reduces skill by a third, ViCA increases it, and the other tasks do not change it. FAST tokens
    help a VLA with a frozen vision encoder only if the VLM's vision encoder was trained on them.
    """
    paths = []

    def add(model: str, task: str, variant: str, benchmark: str, skill: float, seed: int) -> None:
        frame = episodes(model, variant, benchmark, skill, seed=seed, noise=len(task), auxiliary=task).assign(
            checkpoint=f"{model}-{task}-{variant}-{benchmark}-{seed}"
        )
        paths.append(write_episodes(root, frame))

    for model, tasks in TASKS.items():
        for task in tasks:
            factor = {"robopoint": 0.67, "vica-332k": 1.4}.get(task, 1.0)
            for seed in seeds:
                add(model, task, "full", "calvin", 0.55 * factor, seed)
    for model, tasks in FAST.items():
        for task in tasks:
            frozen = {"fast-unfreeze-vision": 0.6}.get(task, 0.3)
            add(model, task, "freeze-vision", "bridge", frozen, 0)
            add(model, task, "full", "bridge", 0.65, 0)
    for benchmark in ("calvin", "bridge"):
        paths.append(write_episodes(root, episodes("random", "full", benchmark, 0.12)))
        paths.append(write_episodes(root, episodes("expert", "full", benchmark, 0.97)))
    return paths


def write_ranked(
    root: Path,
    places: Mapping[str, Sequence[int]],
    models: Sequence[str] = TEN,
    seeds: Sequence[int] = (0,),
    **changes: object,
) -> list[Path]:
    """Write records without noise: on each benchmark of `places`, a backbone solves more at a higher place.

    A backbone at place p of n solves p + 1 of n + 1 states of each of four tasks, or of chains p % 6
    instructions. So any half of the states may differ, but policies never swap. `changes`: of columns.
    """
    paths = []
    for benchmark, order in places.items():
        for model, place in zip(models, order, strict=True):
            for seed in seeds:
                frame = episodes(model, "full", benchmark, 0.5, seed=seed, count=4 * (len(models) + 1))
                solved = (np.arange(len(frame)) // 4 <= place).astype(int)
                frame = frame.assign(solved=solved, success=solved == 1, **changes)
                if benchmark == "calvin":
                    frame = frame.assign(solved=place % 6, success=place % 6 == 5, **changes)
                paths.append(write_episodes(root, frame))
    return paths


def write_own_scores(root: Path) -> list[Path]:
    """Write the score.json of every fine-tuned VLM; return the provenance files.

    The scores are 0.2 before and 0.8 after fine-tuning, except for the task FLAT.
    """
    paths = []
    for model, tasks in {**TASKS, **FAST}.items():
        for task in tasks[1:]:
            folder = root / "auxiliary" / model / task
            folder.mkdir(parents=True)
            scores = {
                when: {"score": value, "ci_low": value - 0.04, "ci_high": value + 0.04, "questions": 400}
                for when, value in (("before", 0.2), ("after", 0.22 if task == FLAT else 0.8))
            }
            (folder / "score.json").write_text(json.dumps(scores))
            (folder / "provenance.json").write_text(json.dumps(record("auxiliary")))
            paths.append(folder / "provenance.json")
            if task == "omni-generation":
                for suffix in ("pdf", "png"):
                    (folder / f"generated.{suffix}").write_text(f"images of {model}, {suffix}")
    return paths


def write_tuned_capability(root: Path) -> list[Path]:
    """Write question scores of every VLM of auxiliary and fast_injection. Each task costs ten points."""
    paths = []
    for model, tasks in {**TASKS, **FAST}.items():
        for task in tasks:
            correct = 60 if task == "none" else 50
            entry = {"score": correct / 100, "correct": correct, "questions": 100}
            path = root / "capability" / model / f"{task}.json"
            path.parent.mkdir(parents=True, exist_ok=True)
            whole = {"sets": {"where": entry}, "overall": entry, "provenance": record("capability")}
            path.write_text(json.dumps(whole))
            paths.append(path)
    return paths


def write_fast_report(root: Path) -> Path:
    """Write report.json next to the FAST tokens; returns their provenance file."""
    folder = root / "auxiliary_data" / "fast"
    folder.mkdir(parents=True)
    report = {
        "round_trip_error": 0.0213,
        "largest_error": 0.08,
        "error_bound": 0.1,
        "tokens_a_chunk": 8.4,
        "vocabulary": 256,
        "chunks": 900,
    }
    (folder / "report.json").write_text(json.dumps(report))
    (folder / "provenance.json").write_text(json.dumps(record("fast-data")))
    return folder / "provenance.json"


def write_curves(root: Path) -> list[Path]:
    """Write train.jsonl and provenance.json of every full VLA; return the provenance files."""
    paths = []
    for benchmark in BENCHMARKS:
        for place, model in enumerate(TEN):
            folder = root / "vla" / model / "none" / "full" / benchmark / "seed0"
            folder.mkdir(parents=True)
            lines = [
                json.dumps(
                    {"step": step, "loss": (0.5 + 0.02 * place) / (1 + step / 200), "learning_rate": 1e-3}
                )
                for step in range(50, 2001, 50)
            ]
            (folder / "train.jsonl").write_text("\n".join(lines) + "\n")
            settings = {"backbone": model, "variant": "full", "benchmark": benchmark, "seed": 0}
            (folder / "provenance.json").write_text(json.dumps(record("vla", settings)))
            paths.append(folder / "provenance.json")
    return paths


def settings(table: str, cells: Mapping[str, object] | None = None, **changes: object) -> TableSettings:
    """The settings of `table` in the synthetic study. `cells` and `changes` replace single keys."""
    variants = {
        "freeze": ["full", "freeze-vision", "freeze-embedding"],
        "scratch": ["full", "scratch"],
        "fast_injection": ["freeze-vision", "full"],
    }.get(table, ["full"])
    tasks = {"auxiliary": TASKS, "fast_injection": FAST}.get(table)
    if tasks is None:
        backbones = TEN if table in ("main", "correlation", "transfer") else THREE
        tasks = {name: ["none"] for name in backbones}
    benchmarks = {
        "freeze": ["calvin", "bridge"],
        "auxiliary": ["calvin"],
        "fast_injection": ["bridge"],
    }.get(table, BENCHMARKS)
    shown = {
        "backbones": list(tasks),
        "auxiliaries": tasks,
        "variants": variants,
        "benchmarks": benchmarks,
    } | dict(cells or {})
    shown["auxiliaries"] = {name: shown["auxiliaries"].get(name, ["none"]) for name in shown["backbones"]}
    whole = {
        "table": table,
        "study": "embedded",
        "scale": "embedded",
        "seeds": [0, 1, 2] if table == "auxiliary" else [0],
        "cells": shown,
        "vla_steps": dict.fromkeys(variants, 2000),
    }
    return TableSettings.model_validate(whole | changes)
