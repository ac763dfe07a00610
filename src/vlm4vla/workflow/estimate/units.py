"""The amount of work of a job: its kind and the number of its units, from the settings of its stage."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any

from vlm4vla.config.config import Config
from vlm4vla.conventions.benchmarks import facts
from vlm4vla.study.runs import REFERENCES
from vlm4vla.workflow.jobs import Job

LMMS_QUESTIONS = 3000  # roughly the mean number of questions of a task in lmms-eval


@dataclass(frozen=True)
class Units:
    """`count` units of work. `unit`: the name of the unit. `kind`: the kind of work, as in `rates`."""

    kind: str
    unit: str
    count: float


def backbone_of(job: Job, config: Config) -> str | None:
    """The backbone (a key of config.backbones) that a job works on; None if it works on none."""
    if job.stage not in ("backbone", "auxiliary", "capability", "vla", "rollout"):
        return None
    name = job.key[0]
    if job.stage == "rollout" and name in REFERENCES:
        return None
    return config.experts[name].backbone if name in config.experts else name


def head_of(job: Job, config: Config) -> str:
    """The kind of head of the policy that a job trains or rolls out."""
    expert = config.experts.get(job.key[0])
    return expert.head.kind if expert else config.head.kind


def training_samples(training: dict[str, Any] | None) -> int:
    """The number of samples in a training, which may be None."""
    return training["steps"] * training["batch"] if training else 0


def units_of(job: Job, config: Config) -> Units:
    """The units of a job. A table, a cell's table and a part of the report are one unit each."""
    settings = job.settings
    name = backbone_of(job, config)
    family = config.backbones[name].family if name else ""
    match job.stage:
        case "questions":
            pictures = settings["questions"]["train_pictures"] + settings["questions"]["held_out_pictures"]
            return Units("questions", "picture", pictures)
        case "backbone":
            alignment, recipe = settings.get("alignment"), settings.get("recipe")
            samples = training_samples(alignment and alignment["training"])
            samples += training_samples(recipe and recipe["training"])
            return Units(family, "sample", samples)
        case "auxiliary_data":
            if "fast" in settings:
                return Units("fast", "picture", settings["fast"]["pictures"])
            pictures = settings["train_pictures"] + settings["held_out_pictures"]
            return Units(settings["task"], "picture", pictures)
        case "auxiliary":
            if settings["training"] is None:  # the job only scores a checkpoint
                return Units(f"checkpoint/{family}", "question", 2 * settings["questions"])
            return Units(f"{settings['task']}/{family}", "sample", training_samples(settings["training"]))
        case "capability" if "capability" not in settings:  # by lmms-eval, or read from a file
            count = LMMS_QUESTIONS * len(settings["tasks"]) if "model" in settings else 0
            return Units(f"lmms-eval/{family}", "question", count)
        case "capability":
            asked = settings["capability"]
            return Units(family, "question", asked["questions_per_set"] * len(asked["sets"]))
        case "demonstrations":
            benchmark = settings["benchmark"]
            where = _simulator_kind(benchmark, settings.get("simulator"))
            episodes = settings["demonstrations"].get("episodes") or 0
            tasks = facts(benchmark).tasks if settings.get("simulator") else 1
            return Units(where, "episode", episodes * tasks)
        case "vla":
            kind = f"{family}/{head_of(job, config)}/{settings['freeze']}"
            return Units(kind, "sample", training_samples(settings["training"]))
        case "rollout":
            where = _simulator_kind(settings["benchmark"], settings["evaluation"].get("simulator"))
            policy = f"{head_of(job, config)}/{family}" if name else settings["policy"]
            return Units(f"{where}/{policy}", "episode", rollout_episodes(settings))
        case "cell":
            return Units("cell", "job", 1)
        case _:
            return Units("/".join(job.key[:1]) or job.stage, "job", 1)


def on_simulator(job: Job) -> bool:
    """Whether a job runs episodes on a real simulator."""
    if job.stage not in ("rollout", "demonstrations"):
        return False
    settings = job.settings
    return settings.get("evaluation", settings).get("simulator") not in (None, "embedded")


def _simulator_kind(benchmark: str, simulator: Any) -> str:
    """The first word of the kind of episodes: those of a real simulator cost more than embedded ones."""
    return benchmark if simulator in (None, "embedded") else f"{simulator['adapter']} simulator"


def rollout_episodes(settings: dict[str, Any]) -> int:
    """The number of episodes (chains on CALVIN) of a rollout, or of the largest shard if it has shards.

    A rollout that can stop early has no shards. It counts in full, because nobody knows where it stops.
    """
    evaluation = settings["evaluation"]
    simulator = evaluation.get("simulator")
    if not simulator:
        return evaluation["episodes"] * facts(settings["benchmark"]).tasks
    tasks = len(simulator["tasks"]) if simulator.get("tasks") else facts(settings["benchmark"]).tasks
    shards = 1 if evaluation.get("stop") else simulator["runs"]["shards"]
    return math.ceil(evaluation["episodes"] * tasks / shards)


def merges_shards(job: Job) -> bool:
    """Whether a job runs no episodes but merges the shards of an evaluation on a simulator."""
    settings = job.settings
    return (
        job.stage == "rollout"
        and bool(settings["evaluation"].get("simulator"))
        and not settings["evaluation"].get("stop")
        and settings.get("shard") is None
    )
