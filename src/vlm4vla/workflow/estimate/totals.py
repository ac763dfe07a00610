"""The result of an estimate: costs by stage and source, their sums, the wall time, and the assumptions."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from vlm4vla.workflow.estimate import assumptions as assumed
from vlm4vla.workflow.estimate.schedule import Schedule, schedule
from vlm4vla.workflow.estimate.units import backbone_of
from vlm4vla.workflow.estimate.work import Estimator, Work
from vlm4vla.workflow.jobs import Job


@dataclass
class Row:
    """The jobs of one stage whose costs have the same source.

    `made` of the jobs have run already and cost nothing. The other numbers are sums over the remaining jobs.
    """

    stage: str
    source: str
    jobs: int = 0
    made: int = 0
    gpu_hours: float = 0.0
    core_hours: float = 0.0
    gigabytes: float = 0.0

    def add(self, work: Work, made: bool) -> None:
        """Add a job with the cost `work`."""
        self.jobs += 1
        if made:
            self.made += 1
            return
        hours = work.seconds / 3600
        self.gpu_hours += hours * work.gpus
        # The cores of a job on GPUs only load data, so they do not count.
        self.core_hours += 0.0 if work.gpus else hours * work.cores
        self.gigabytes += work.kept / 1e9


@dataclass
class Totals:
    """`rows`: in the order of the stages. `schedule`: of the jobs that have not run.

    `assumes`: the assumptions, as sentences. `notes`: problems that a run would have on the cluster.
    """

    rows: list[Row]
    schedule: Schedule
    assumes: list[str]
    notes: list[str] = field(default_factory=list)

    def sum(self, name: str) -> float:
        """The sum of a column."""
        return sum(getattr(row, name) for row in self.rows)

    def to_json(self) -> dict[str, Any]:
        """The estimate as JSON values."""
        names = ("jobs", "made", "gpu_hours", "core_hours", "gigabytes")
        return {
            "stages": [vars(row) for row in self.rows],
            "total": {name: self.sum(name) for name in names},
            "wall_hours": self.schedule.wall / 3600,
            "longest_chain_hours": self.schedule.critical / 3600,
            "peak_gigabytes": self.schedule.peak / 1e9,
            "assumed": self.assumes,
            "notes": self.notes,
        }


MAKING = ("questions", "backbone", "auxiliary_data", "demonstrations", "auxiliary", "capability")
ORDER = (*MAKING, "vla", "rollout", "cell", "table", "published", "report")


def estimate(jobs: Mapping[str, Job], estimator: Estimator) -> Totals:
    """The cost of `jobs` (from `jobs.plan`) on the estimator's cluster. Artefacts that exist cost nothing."""
    works = {output: estimator.work(job) for output, job in jobs.items()}
    made = {output for output in jobs if Path(output).exists()}
    rows: dict[tuple[str, str], Row] = {}
    for output, job in jobs.items():
        work = works[output]
        rows.setdefault((job.stage, work.source), Row(job.stage, work.source)).add(work, output in made)
    remaining = {output: job for output, job in jobs.items() if output not in made}
    simulated = schedule(remaining, works, estimator.cluster)
    keys = dict.fromkeys(key for output in remaining for key in works[output].assumes)
    sentences = [
        sentence.format(mfu=estimator.mfu) for key, sentence in assumed.SENTENCES.items() if key in keys
    ]
    sentences += _image_tokens(remaining, estimator)
    ordered = sorted(rows.values(), key=lambda row: ORDER.index(row.stage))
    return Totals(ordered, simulated, sentences, _notes(remaining, estimator))


def _image_tokens(jobs: Mapping[str, Job], estimator: Estimator) -> list[str]:
    """How many tokens of an image the FLOPs count: one sentence for each number, and where it comes from."""
    of: dict[str, list[str]] = {}
    for job in jobs.values():
        name = backbone_of(job, estimator.config)
        if name is None or name not in estimator.config.backbones:
            continue
        model = estimator.model(name)
        words = f"{model.shape.image_tokens} tokens"
        if model.scale != 1:
            words += f" (those of {model.source.split(',')[0]})"
        of.setdefault(words, [])
        if name not in of[words]:
            of[words].append(name)
    return [f"an image has {words} in {', '.join(sorted(found))}" for words, found in sorted(of.items())]


def _notes(jobs: Mapping[str, Job], estimator: Estimator) -> list[str]:
    """Notes on trainings of checkpoints without a GPU, or without memory for weights and optimiser."""
    cluster = estimator.cluster
    notes: dict[str, str] = {}
    for job in jobs.values():
        name = backbone_of(job, estimator.config)
        if job.stage not in ("vla", "auxiliary") or name is None or not job.settings.get("training"):
            continue
        if estimator.config.backbones[name].tiny is not None:
            continue
        if cluster.gpu is None:
            notes[""] = (
                "released checkpoints are trained on CPU cores in this estimate: write --gpus and "
                "--gpu-model to train them on GPUs"
            )
            continue
        if not job.settings["training"].get("execution"):
            needed = assumed.PLAIN_TRAINED_BYTES * estimator.model(name).parameters
            if needed > cluster.gpu.memory:
                notes[name] = (
                    f"{name}: without `execution`, weights and optimiser need {needed / 1e9:.0f} GB in "
                    f"float32 on one GPU, but one {cluster.model.upper()} has {cluster.gpu.memory / 1e9:.0f} "
                    "GB: write `execution` with `strategy: fsdp2`"
                )
            continue
        needed = assumed.TRAINED_BYTES * estimator.model(name).parameters
        gpus = min(cluster.gpus_a_job, cluster.gpus)
        if needed > gpus * cluster.gpu.memory:
            least = int(-(-needed // cluster.gpu.memory))
            notes[name] = (
                f"{name}: weights and optimiser need {needed / 1e9:.0f} GB, but {gpus} "
                f"{cluster.model.upper()} have {gpus * cluster.gpu.memory / 1e9:.0f} GB: use at least "
                f"{least} GPUs, and more for activations"
            )
    return list(notes.values())
