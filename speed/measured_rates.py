"""Rates of a finished study, for `vlm4vla estimate`: core seconds and bytes by stage and kind.

The program reads the CPU seconds of every finished job, as the study's summary does, and subtracts the time
that the job recorded for its start. For jobs of older versions, it measures how long a process of the stage
needs to start. It writes speed/rates.json. Rates of GPUs in that file stay; --gpu adds one.

    python speed/measured_rates.py results/embedded [results/OTHER ...] [--config FILE ...] [--keep]
    python speed/measured_rates.py --gpu h100 Qwen/Qwen2.5-VL-3B-Instruct/pixels-200704 SAMPLES_A_SECOND

A rate holds for one image size. If the configuration sets `pixels` for a backbone, write `/pixels-` and its
least number of pixels behind the checkpoint.

Run it in the folder where the studies ran. Each rate comes from the first study that has it, and otherwise
from the output of training_rate.py or rollout_rate.py (the files --training-rate and --rollout-rate).
"""

from __future__ import annotations

import argparse
import json
import os
import resource
import subprocess
import sys
from collections import defaultdict
from collections.abc import Iterator
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any

from vlm4vla.config.layers import read_layers
from vlm4vla.core.artefacts import write_json
from vlm4vla.core.cpu_time import read_log
from vlm4vla.core.errors import UserError
from vlm4vla.core.imports import MODULES
from vlm4vla.report.pages.cost import log_of, read_cost
from vlm4vla.stages.running import STAGES
from vlm4vla.study.layout import EPISODES, PROVENANCE
from vlm4vla.study.runs import REFERENCES
from vlm4vla.study.study import Study
from vlm4vla.workflow.estimate.cluster import GPUS
from vlm4vla.workflow.estimate.rates import CPU, FILE, Rate, rates_json, read_rates
from vlm4vla.workflow.estimate.units import units_of
from vlm4vla.workflow.jobs import Job, plan


def start_seconds(stage: str, plain: bool) -> float:
    """CPU seconds that a process of `stage` needs to start; `plain`: without the imports for policies."""
    command = stage.replace("_", "-")
    if command not in STAGES:
        return 0.0
    modules = ["vlm4vla.cli", STAGES[command].module, *(() if plain else MODULES.get(stage, ()))]
    code = f"from vlm4vla.core.imports import load; load(*{modules})"
    spent = []
    for _ in range(2):  # the second run does not read from disk
        before = resource.getrusage(resource.RUSAGE_CHILDREN)
        subprocess.run([sys.executable, "-c", code], check=True)
        after = resource.getrusage(resource.RUSAGE_CHILDREN)
        spent.append(after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime)
    return spent[-1]


def finished(study: Study) -> Iterator[tuple[Job, float, float | None, int]]:
    """Every finished job of `all_tables` and of tables of single cells, with its cost.

    The cost is the job's CPU seconds, the part that its start took (None if the job did not record it), and
    the size of its results in bytes.
    """
    cells = [str(path) for path in sorted((study.root / "cells").rglob("*.csv"))]
    for job in plan(study, ["all_tables", *cells]).values():
        path = Path(job.output)
        if not path.exists():
            continue
        shares_folder = job.stage in ("table", "cell", "report")
        folder = path.parent if path.name in (PROVENANCE, EPISODES) else path
        size = 0 if shares_folder else sum(each.stat().st_size for each in _files(folder))
        file = path if path.suffix == ".json" else path.with_name(PROVENANCE)
        record = _provenance(file)
        name = study.layout.job_of(job.output)
        seconds = read_cost(study.root, name, file).cpu if name else 0.0
        if not name or not seconds:
            continue
        if "settings" in record:  # those of the job count, even if the configuration has changed since
            job = replace(job, write_settings=partial(json.dumps, record["settings"]))
        own = read_log(log_of(study.root, name))
        yield job, seconds, own.start_up if own else None, size


def _files(path: Path) -> Iterator[Path]:
    yield from (each for each in path.rglob("*") if each.is_file()) if path.is_dir() else [path]


def _provenance(file: Path) -> dict[str, Any]:
    """The provenance in a stage's `file`; empty if there is none."""
    if not file.is_file():
        return {}
    found: dict[str, Any] = json.loads(file.read_text())
    return found.get("provenance", found)


def measure(study: Study) -> list[Rate]:
    """The rate of each stage and kind: the sum over its jobs, divided by the sum of their units."""
    starts: dict[tuple[str, bool], float] = {}
    sums: dict[tuple[str, str, str], list[tuple[float, float, float, int]]] = defaultdict(list)
    for job, seconds, recorded, size in finished(study):
        plain = job.stage == "rollout" and job.key[0] in REFERENCES
        if recorded is None and (job.stage, plain) not in starts:
            starts[job.stage, plain] = start_seconds(job.stage, plain)
        units = units_of(job, study.config)
        if units.count:
            start = min(starts[job.stage, plain] if recorded is None else recorded, seconds)
            sums[job.stage, units.kind, units.unit].append((seconds - start, units.count, start, size))
    rates = []
    for (stage, kind, unit), jobs in sums.items():
        seconds, units, start, size = (sum(column) for column in zip(*jobs, strict=True))
        count = len(jobs)
        rates.append(
            Rate(
                stage,
                kind,
                unit,
                seconds=float(f"{seconds / units:.4g}"),
                start=round(start / count, 2),
                megabytes=round(size / count / 1e6, 3),
                jobs=count,
            )
        )
    return sorted(rates, key=lambda rate: (rate.stage, rate.kind))


def open_study(results: Path, config: list[Path] | None) -> Study:
    """The study in the folder `results`. Raises UserError if the configuration belongs to another study."""
    study = Study(read_layers(config or [results / "config.yaml"]))
    if study.root.resolve() != results.resolve():
        raise UserError(
            f"{results}: the configuration belongs to {study.root}: write that folder, or --config"
        )
    return study


def program_rates(training: Path | None, rollout: Path | None) -> list[Rate]:
    """Rates from the output of training_rate.py and rollout_rate.py, with the families of config.yaml."""
    rates = []
    if training is not None:
        seconds = defaultdict(list)
        for found in json.loads(training.read_text())["backbones"].values():
            seconds[found["family"]].append(1 / found["samples_per_cpu_second"])
        for family, each in seconds.items():
            mean = float(f"{sum(each) / len(each):.4g}")
            rates.append(Rate("vla", f"{family}/mlp/none", "sample", mean, jobs=len(each)))
    if rollout is not None:
        record = json.loads(rollout.read_text())
        name = record["vla"].split()[-1]  # `untrained NAME`, or a trained policy's folder
        known = read_layers([Path("config.yaml")]).backbones
        policies = {"random": "random", "expert": "expert"}
        if name in known:
            policies["vla"] = f"mlp/{known[name].family}"
        for benchmark, each in record["benchmarks"].items():
            for policy, kind in policies.items():
                mean = float(f"{1 / each[policy]['episodes_per_cpu_second']:.4g}")
                rates.append(Rate("rollout", f"{benchmark}/{kind}", "episode", mean))
    return rates


def machine() -> str:
    """The number of cores and the name of the processor."""
    try:
        lines = Path("/proc/cpuinfo").read_text().splitlines()
        name = next(line.split(":", 1)[1].strip() for line in lines if line.startswith("model name"))
    except (OSError, StopIteration):
        name = "unknown processor"
    return f"{os.cpu_count()} cores of {name}"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("results", type=Path, nargs="*", help="folders of studies, such as results/embedded")
    parser.add_argument(
        "--config", type=Path, nargs="+", help="config.yaml and its layers (default: the copy in each study)"
    )
    parser.add_argument("--output", type=Path, default=FILE)
    parser.add_argument(
        "--keep", action="store_true", help="keep the rates of the file, and add those it lacks"
    )
    parser.add_argument(
        "--gpu",
        nargs=3,
        action="append",
        default=[],
        metavar=("MODEL", "CHECKPOINT", "SAMPLES"),
        help="a training rate that another program measured, in samples per second on one GPU of this model; "
        "CHECKPOINT/pixels-200704 for images of 448 pixels",
    )
    parser.add_argument("--training-rate", type=Path, help="output file of training_rate.py on this machine")
    parser.add_argument("--rollout-rate", type=Path, help="output file of rollout_rate.py on this machine")
    arguments = parser.parse_args()
    try:
        old = read_rates(arguments.output)
        new = arguments.results and not arguments.keep
        rates = [rate for rate in old.rates if rate.device != CPU or not new]
        machines = [old.machine] * (not new) + [machine()] * bool(arguments.results)
        about = {"machine": " and ".join(dict.fromkeys(filter(None, machines)))}
        sources = [measure(open_study(results, arguments.config)) for results in arguments.results]
        sources.append(program_rates(arguments.training_rate, arguments.rollout_rate))
        for found in sources:
            known = {(rate.stage, rate.kind, rate.device) for rate in rates}
            rates += [rate for rate in found if (rate.stage, rate.kind, rate.device) not in known]
    except UserError as error:
        sys.exit(f"error: {error}")
    for model, checkpoint, samples in arguments.gpu:
        if model not in GPUS:
            sys.exit(f"error: --gpu: unknown model {model!r}: write one of {', '.join(GPUS)}")
        one = Rate("vla", checkpoint, "sample", seconds=1 / float(samples), device=model)
        rates = [rate for rate in rates if (rate.stage, rate.kind, rate.device) != ("vla", checkpoint, model)]
        rates.append(replace(one, seconds=float(f"{one.seconds:.4g}")))
    write_json(arguments.output, rates_json(rates, **about))
    print(f"{arguments.output}: {len(rates)} rates")


if __name__ == "__main__":
    main()
