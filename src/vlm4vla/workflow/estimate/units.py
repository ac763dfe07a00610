"""How much work a job is: its kind and the number of its units, from the stage's settings."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any

from vlm4vla.config.config import Config
from vlm4vla.study.runs import REFERENCES
from vlm4vla.workflow.jobs import Job

LMMS_QUESTIONS = 3000  # about as many as a task of lmms-eval has in the mean
TASKS = {"calvin": 1, "bridge": 4, "libero-10": 10}  # `evaluation.episodes` is of each


@dataclass(frozen=True)
class Units:
    """`count` units called `unit`, of a kind as `rates` has it."""

    kind: str
    unit: str
    count: float


def backbone_of(job: Job, config: Config) -> str | None:
    """The backbone (key of config.backbones) that a job works on, if it works on one."""
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


def samples(training: dict[str, Any] | None) -> int:
    """Samples that a training sees."""
    return training["steps"] * training["batch"] if training else 0


def units_of(job: Job, config: Config) -> Units:
    """The job's units; tables and the report are one unit each."""
    settings = job.settings
    name = backbone_of(job, config)
    family = config.backbones[name].family if name else ""
    match job.stage:
        case "questions":
            pictures = settings["questions"]["train_pictures"] + settings["questions"]["held_out_pictures"]
            return Units("questions", "picture", pictures)
        case "backbone":
            alignment, recipe = settings.get("alignment"), settings.get("recipe")
            seen = samples(alignment and alignment["training"]) + samples(recipe and recipe["training"])
            return Units(family, "sample", seen)
        case "auxiliary_data":
            if "fast" in settings:
                return Units("fast", "picture", settings["fast"]["pictures"])
            pictures = settings["train_pictures"] + settings["held_out_pictures"]
            return Units(settings["task"], "picture", pictures)
        case "auxiliary":
            if settings["training"] is None:  # a checkpoint is scored, no more
                return Units(f"checkpoint/{family}", "question", 2 * settings["questions"])
            return Units(f"{settings['task']}/{family}", "sample", samples(settings["training"]))
        case "capability" if "capability" not in settings:  # lmms-eval's, or read from a file
            count = LMMS_QUESTIONS * len(settings["tasks"]) if "model" in settings else 0
            return Units(f"lmms-eval/{family}", "question", count)
        case "capability":
            asked = settings["capability"]
            return Units(family, "question", asked["questions_per_set"] * len(asked["sets"]))
        case "demonstrations":
            return Units(settings["benchmark"], "episode", settings["demonstrations"].get("episodes") or 0)
        case "vla":
            kind = f"{family}/{head_of(job, config)}/{settings['freeze']}"
            return Units(kind, "sample", samples(settings["training"]))
        case "rollout":
            benchmark = settings["benchmark"]
            policy = f"{head_of(job, config)}/{family}" if name else settings["policy"]
            return Units(f"{benchmark}/{policy}", "episode", episodes(settings))
        case _:
            return Units("/".join(job.key[:1]) or job.stage, "job", 1)


def episodes(settings: dict[str, Any]) -> int:
    """Episodes (chains on calvin) of a rollout; of one of its parts, where it has some, the largest's."""
    evaluation = settings["evaluation"]
    simulator = evaluation.get("simulator")
    if not simulator:
        return evaluation["episodes"] * TASKS.get(settings["benchmark"], 1)
    tasks = len(simulator["tasks"]) if simulator.get("tasks") else TASKS.get(settings["benchmark"], 1)
    return math.ceil(evaluation["episodes"] * tasks / simulator["runs"]["shards"])


def joins_parts(job: Job) -> bool:
    """Whether a job plays nothing and puts the parts of an evaluation on a simulator together."""
    settings = job.settings
    return (
        job.stage == "rollout"
        and bool(settings["evaluation"].get("simulator"))
        and settings.get("shard") is None
    )
