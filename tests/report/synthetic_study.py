"""A made-up study for the report's tests: episode records, question scores and training logs."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pandas as pd

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

    Difficulty belongs to the initial state, so that policies agree on what is hard, as real ones do.
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
            "execution_horizon": {"calvin": 10, "bridge": 2, "libero-10": 4}[benchmark],
            "max_steps": 60,
            "steps": 30,
            "success": success,
            "solved": solved,
            "protocol": f"{benchmark} embedded",
        }
    )
    return frame.assign(**changes)


def write_episodes(root: Path, frame: pd.DataFrame) -> Path:
    first = frame.iloc[0]
    key = f"{first['model']}/none/{first['variant']}/{first['benchmark']}/seed{first['seed']}"
    path = root / "rollouts" / key / "episodes.parquet"
    path.parent.mkdir(parents=True, exist_ok=True)
    frame.to_parquet(path, index=False)
    return path


def write_study(
    root: Path, seeds: tuple[int, ...] = (0,), skills: dict[str, float] | None = None
) -> list[Path]:
    """Records of all cells of main, freeze and scratch, floor and ceiling; returns the files.

    Skill grows with the place in TEN; freezing vision and random weights cost half, the rest nothing.
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
    """Question scores that grow with the place in TEN, each set a little differently."""
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
        path.write_text(json.dumps({"sets": sets, "overall": overall, "provenance": {}}))
        paths.append(path)
    return paths


def write_curves(root: Path) -> list[Path]:
    """train.jsonl and provenance.json of every full VLA; returns the provenance files."""
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
            (folder / "provenance.json").write_text(json.dumps({"settings": settings}))
            paths.append(folder / "provenance.json")
    return paths


def settings(table: str, **changes: object) -> dict:
    variants = {
        "main": ["full"],
        "correlation": ["full"],
        "freeze": ["full", "freeze-vision", "freeze-embedding"],
        "scratch": ["full", "scratch"],
    }[table]
    cells = {
        "backbones": TEN if table in ("main", "correlation") else THREE,
        "variants": variants,
        "benchmarks": ["calvin", "bridge"] if table == "freeze" else BENCHMARKS,
    }
    whole = {"table": table, "study": "embedded", "scale": "embedded", "seeds": [0], "cells": cells}
    return whole | {"vla_steps": dict.fromkeys(variants, 2000)} | changes
