"""Write a synthetic study to disk: artefacts with provenance from questions to a table."""

from __future__ import annotations

from pathlib import Path

import synthetic_study as made

from vlm4vla.analysis.records import read_episodes
from vlm4vla.core.artefacts import Provenance, checkpoint_hash, file_hash, write_json
from vlm4vla.report.rows.cells import measure
from vlm4vla.report.rows.contrasts import EXTRA, add_contrasts
from vlm4vla.report.rows.paper_numbers import Published
from vlm4vla.report.rows.table import Table

MODELS = ["kosmos-2", "paligemma-1"]
VARIANTS = ["full", "freeze-vision"]
BENCHMARKS = ["calvin", "bridge"]


def _artefact(folder: Path, stage: str, files: dict[str, str], inputs: dict[str, Path], **extra) -> Path:
    """Write `files` (name -> content) and the provenance of a stage. Return the folder."""
    for name, content in files.items():
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_text(content)
    paths = {name: path / "provenance.json" for name, path in inputs.items()}
    provenance = Provenance(stage, {"stage": stage, "of": str(folder.name)}, paths, 0)
    hashes = {name: file_hash(folder / name) for name in files}
    provenance.write(folder / "provenance.json", outputs=hashes, **extra)
    return folder


def write_traced(root: Path, seeds: tuple[int, ...] = (0,), skill: float = 0.7) -> Path:
    """Write the study to `root` and return `root`. `skill`: success rate of the first model."""
    questions = _artefact(root / "questions", "questions", {"train/data.arrow": "pictures"}, {})
    demonstrations = {
        name: _artefact(root / "demonstrations" / name, "demonstrations", {"data/0.parquet": name}, {})
        for name in BENCHMARKS
    }
    paths = []
    for index, model in enumerate(MODELS):
        backbone = _artefact(
            root / "backbones" / model, "backbone", {"model.safetensors": model}, {"questions": questions}
        )
        for variant in VARIANTS:
            for benchmark in BENCHMARKS:
                for seed in seeds:
                    key = f"{model}/none/{variant}/{benchmark}/seed{seed}"
                    weights = {"policy.safetensors": key, "backbone/model.safetensors": model}
                    inputs = {"backbone": backbone, "demonstrations": demonstrations[benchmark]}
                    vla = _artefact(root / "vla" / key, "vla", weights, inputs)
                    (vla / "train.jsonl").write_text("{}\n")
                    checkpoint = checkpoint_hash(vla)
                    probability = skill + 0.1 * index - 0.3 * (variant != "full")
                    frame = made.episodes(model, variant, benchmark, probability, seed=seed).assign(
                        checkpoint=checkpoint
                    )
                    path = made.write_episodes(root, frame)
                    provenance = Provenance("rollout", {"seed": seed}, {"vla": vla / "provenance.json"}, 5)
                    provenance.write(
                        path.parent / "provenance.json",
                        checkpoint=checkpoint,
                        episodes=len(frame),
                        files={path.name: file_hash(path)},
                    )
                    paths.append(path)
    _table(root, paths, seeds)
    return root


def _table(root: Path, paths: list[Path], seeds: tuple[int, ...]) -> None:
    records = read_episodes(paths)
    cells = [(m, v, b) for b in BENCHMARKS for m in MODELS for v in VARIANTS]
    chains = ["average_length", "success_at_1"]
    metrics = {name: chains if name == "calvin" else ["success_rate"] for name in BENCHMARKS}
    rows, gaps = measure(records, cells, metrics, Published({}, {}), "embedded")
    add_contrasts(rows, records, "full", 0.05)
    settings = {
        "table": "freeze",
        "study": "embedded",
        "scale": "embedded",
        "seeds": list(seeds),
        "cells": {"backbones": MODELS, "variants": VARIANTS, "benchmarks": BENCHMARKS},
    }
    table = Table("freeze", "Frozen", "A caption.", rows, [], [], gaps, EXTRA)
    table.write(root / "tables", "freeze")
    write_json(root / "analysis" / "freeze.json", table.analysis(settings))
