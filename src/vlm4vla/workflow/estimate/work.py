"""The cost of a job: seconds on a number of GPUs and cores, disk space, and the source of these numbers."""

from __future__ import annotations

import math
from dataclasses import dataclass, replace
from typing import Any

from vlm4vla.config.config import Config
from vlm4vla.conventions.benchmarks import facts
from vlm4vla.workflow.estimate import assumptions as assumed
from vlm4vla.workflow.estimate.cluster import Cluster
from vlm4vla.workflow.estimate.models import Model, model_of
from vlm4vla.workflow.estimate.rates import Rate, Rates
from vlm4vla.workflow.estimate.units import (
    backbone_of,
    merges_shards,
    on_simulator,
    rollout_episodes,
    training_samples,
    units_of,
)
from vlm4vla.workflow.jobs import Job

MEASURED, MEASURED_MEAN, FLOPS, ASSUMED = "measured", "measured, mean of similar jobs", "FLOPs", "assumed"


@dataclass(frozen=True)
class Work:
    """The cost of a job: `seconds` of wall time on `gpus` and `cores`.

    `source`: MEASURED, MEASURED_MEAN, FLOPS or ASSUMED. `kept`: bytes of its output. `scratch`: further bytes
    while it runs. `assumes`: keys of `assumptions.SENTENCES`.
    """

    seconds: float
    source: str
    gpus: int = 0
    cores: int = 1
    kept: float = 0.0
    scratch: float = 0.0
    assumes: tuple[str, ...] = ()


class Estimator:
    """Costs of the jobs of one study on one cluster."""

    def __init__(self, config: Config, cluster: Cluster, rates: Rates, mfu: float = assumed.MFU):
        self.config = config
        self.cluster = cluster
        self.rates = rates
        self.mfu = mfu
        self._models: dict[str, Model] = {}

    def work(self, job: Job) -> Work:
        """The cost of a job."""
        cost = self._cost(job)
        if job.stage == "rollout" and job.settings["evaluation"].get("stop"):
            return replace(cost, assumes=(*cost.assumes, "stops"))
        return cost

    def _cost(self, job: Job) -> Work:
        name = backbone_of(job, self.config)
        if merges_shards(job) or (job.stage == "capability" and not units_of(job, self.config).count):
            return Work(_READING_SECONDS, ASSUMED)
        if name and self.config.backbones[name].tiny is None:
            return self._checkpoint_job(job, name)
        if name is None and _has_real_benchmark(job) and not self._measured_simulator(job):
            return self._benchmark_job(job)
        return self._cpu_job(job, name)

    def _measured_simulator(self, job: Job) -> bool:
        """Whether the rate of a reference on a real simulator is known."""
        found = self.rates.find(job.stage, units_of(job, self.config).kind)
        return on_simulator(job) and found is not None and found.related

    def model(self, name: str) -> Model:
        """The shape of the backbone `name` of the study."""
        if name not in self._models:
            self._models[name] = model_of(self.config.backbones[name], self.config.image_size)
        return self._models[name]

    # Tiny backbones, embedded simulators, tables: one CPU core -----------------------------------------

    def _cpu_job(self, job: Job, name: str | None) -> Work:
        units = units_of(job, self.config)
        found = self.rates.find(job.stage, units.kind)
        if on_simulator(job) and not (found and found.related):
            return self._unmeasured_simulation(job, name, units.count)
        if found is not None:
            rate = found.rate
            seconds = rate.start + rate.seconds * units.count
            source = MEASURED if found.exact else MEASURED_MEAN
            return Work(seconds, source, kept=rate.megabytes * 1e6)
        if name is not None:
            return self._tiny_from_flops(job, name, units.count)
        return Work(units.count * _ASSUMED_SECONDS.get(job.stage, 60.0), ASSUMED)

    def _unmeasured_simulation(self, job: Job, name: str | None, count: float) -> Work:
        """The cost of episodes of a tiny policy or of experts on a real simulator without a rate."""
        simulation = self._simulation(job, count)
        if name is None:
            return simulation
        policy = self._tiny_from_flops(job, name, count)
        return replace(
            simulation,
            seconds=simulation.seconds + policy.seconds,
            assumes=(*simulation.assumes, *policy.assumes),
        )

    def _tiny_from_flops(self, job: Job, name: str, count: float) -> Work:
        model = self.model(name)
        # For a tiny backbone, each word is one token.
        tokens = assumed.prompt_tokens(self.config.backbones[name].family) // 2
        if job.stage in ("capability", "rollout"):
            calls = count * (_policy_calls(job.settings) if job.stage == "rollout" else assumed.ANSWER_TOKENS)
            flops = calls * model.shape.forward(tokens)
        else:
            flops = count * model.shape.training(tokens, job.settings.get("freeze") == "vision")
        kept = 4 * model.parameters if job.stage in ("backbone", "auxiliary", "vla") else 0.0
        return Work(flops / assumed.CORE_FLOPS, FLOPS, kept=kept, assumes=("core",))

    # Released checkpoints: GPUs ------------------------------------------------------------------------

    def _checkpoint_job(self, job: Job, name: str) -> Work:
        model = self.model(name)
        weights = assumed.WEIGHT_BYTES * model.parameters
        scaled = ("shape",) if model.scale != 1 else ()
        match job.stage:
            case "backbone":
                return Work(
                    weights / assumed.DOWNLOAD,
                    ASSUMED,
                    kept=weights,
                    assumes=("download", "weights", *scaled),
                )
            case "vla":
                tokens = assumed.prompt_tokens(self.config.backbones[name].family)
                return self._training(job, name, tokens, ("prompt", *scaled))
            case "auxiliary":
                if job.settings["training"] is None:
                    return self._answers(job, name, 2 * job.settings["questions"], weights)
                return self._training(job, name, assumed.QUESTION_TOKENS, ("questions", *scaled))
            case "capability":
                return self._answers(job, name, units_of(job, self.config).count, 0.0)
        return self._checkpoint_rollout(job, name)

    def _training(self, job: Job, name: str, tokens: int, assumes: tuple[str, ...]) -> Work:
        model, training = self.model(name), job.settings["training"]
        gpus = self._training_gpus(training)
        samples = training_samples(training)
        per_weight, per_state, precision = assumed.WEIGHT_BYTES, assumed.STATE_BYTES, "weights"
        if not training.get("execution"):
            per_weight, per_state = assumed.PLAIN_WEIGHT_BYTES, assumed.PLAIN_STATE_BYTES
            precision = "float32"
        kept = per_weight * model.parameters
        # Two checkpoints: the old one is deleted after the new one is complete.
        scratch = 2 * per_state * model.parameters
        rate = self._gpu_rate(job.stage, name)
        if rate is not None:
            seconds = assumed.START + samples * rate.seconds / gpus
            return Work(seconds, MEASURED, gpus, gpus, kept, scratch, ("start", precision))
        frozen = job.settings.get("freeze") == "vision"
        flops = samples * model.shape.training(tokens, frozen) * model.scale
        return self._from_flops(flops, gpus, self.mfu, kept, scratch, ("mfu", precision, *assumes))

    def _answers(self, job: Job, name: str, questions: float, kept: float) -> Work:
        """The cost of answers to questions.

        A model reads the image and the question in one pass. Each token of the answer needs one more pass,
        without the image.
        """
        model = self.model(name)
        question = model.shape.forward(assumed.QUESTION_TOKENS)
        answer = 2 * model.shape.active_parameters * assumed.ANSWER_TOKENS
        flops = questions * (question + answer) * model.scale
        return self._from_flops(
            flops, self._one_gpu(), assumed.INFERENCE, kept, 0.0, ("inference", "questions")
        )

    def _from_flops(
        self, flops: float, gpus: int, share: float, kept: float, scratch: float, assumes: tuple[str, ...]
    ) -> Work:
        """`share`: the share of the GPUs' peak that is reached. Without GPUs, all cores compute."""
        if not gpus:
            cores = self.cluster.cores
            seconds = flops / (cores * assumed.CORE_FLOPS)
            others = (key for key in assumes if key not in ("mfu", "inference"))
            return Work(seconds, FLOPS, 0, cores, kept, scratch, ("core", *others))
        seconds = assumed.START + flops / (gpus * self.cluster.gpu.flops * share)
        return Work(seconds, FLOPS, gpus, gpus, kept, scratch, ("start", *assumes))

    def _training_gpus(self, training: dict[str, Any]) -> int:
        """The GPUs of a training by its settings, at most those of the cluster."""
        processes = (training.get("execution") or {}).get("processes") or self.cluster.gpus_a_job
        return min(processes, self.cluster.gpus)

    def _gpu_rate(self, stage: str, name: str, benchmark: str = "") -> Rate | None:
        """The measured rate of exactly this checkpoint on a GPU of the cluster's model.

        A rate holds for one image size. Its kind names the least number of pixels that the configuration
        sets, if it sets one: `CHECKPOINT/pixels-200704`.
        """
        backbone = self.config.backbones[name]
        parts = [benchmark, backbone.checkpoint or name, *(["pixels"] if backbone.pixels else [])]
        kind = "/".join(part for part in parts if part)
        if backbone.pixels:
            kind += f"-{backbone.pixels.min}"
        found = self.rates.find(stage, kind, self.cluster.model) if self.cluster.model else None
        return found.rate if found else None

    def _one_gpu(self) -> int:
        return min(1, self.cluster.gpus)

    def _checkpoint_rollout(self, job: Job, name: str) -> Work:
        settings = job.settings
        episodes = rollout_episodes(settings)
        rate = self._gpu_rate("rollout", name, settings["benchmark"])
        if rate is not None:
            seconds = assumed.START + episodes * rate.seconds
            return Work(seconds, MEASURED, 1, assumed.ENVIRONMENTS, _RECORD_BYTES, assumes=("start",))
        tokens = assumed.prompt_tokens(self.config.backbones[name].family)
        model = self.model(name)
        flops = episodes * _policy_calls(settings) * model.shape.forward(tokens) * model.scale
        assumes = ("inference", "episodes", "prompt")
        policy = self._from_flops(flops, self._one_gpu(), assumed.INFERENCE, _RECORD_BYTES, 0.0, assumes)
        simulator = self._simulation(job, episodes)
        return Work(
            policy.seconds + simulator.seconds,
            FLOPS,
            policy.gpus,
            max(policy.cores, simulator.cores),
            _RECORD_BYTES,
            assumes=(*policy.assumes, *simulator.assumes),
        )

    def _simulation(self, job: Job, episodes: float) -> Work:
        """The cost of the simulator in `episodes` episodes, without the policy."""
        settings = job.settings
        benchmark = settings["benchmark"]
        if not on_simulator(job):
            found = self.rates.find("rollout", f"{benchmark}/random")
            return Work(episodes * (found.rate.seconds if found else _ASSUMED_SECONDS["rollout"]), ASSUMED)
        environments = assumed.ENVIRONMENTS if job.stage == "rollout" else 1
        cores = min(environments, self.cluster.cores)
        seconds = episodes * _simulator_seconds(settings) / cores
        return Work(seconds, ASSUMED, 0, cores, _RECORD_BYTES, assumes=("episodes", "simulators"))

    def _benchmark_job(self, job: Job) -> Work:
        """The cost of a job without a backbone: published demonstrations, or rollouts in a real simulator."""
        settings = job.settings
        if job.stage == "rollout":
            return self._simulation(job, rollout_episodes(settings))
        size = facts(settings["benchmark"]).dataset_bytes
        return Work(size / assumed.DOWNLOAD, ASSUMED, kept=size, assumes=("download", "data"))


_READING_SECONDS = 30.0  # for a job that only merges or reads files
_RECORD_BYTES = 5e7  # for the records and films of a rollout
# Core seconds per unit without a known rate. A table or a page of the report takes a minute.
_ASSUMED_SECONDS = {
    "questions": 0.005,
    "auxiliary_data": 0.005,
    "demonstrations": 0.03,
    "rollout": 0.3,
}


def _has_real_benchmark(job: Job) -> bool:
    """Whether a job without a backbone uses a published dataset, or a simulator that is not embedded."""
    if job.stage == "demonstrations":
        return bool(job.settings["demonstrations"].get("dataset"))
    if job.stage == "rollout":
        return on_simulator(job)
    return False


def _max_steps(settings: dict[str, Any]) -> int:
    """The largest number of steps of an episode, of a rollout or of demonstrations."""
    steps: int = settings.get("evaluation", settings)["max_steps"]
    return steps * facts(settings["benchmark"]).instructions_per_episode


def _policy_calls(settings: dict[str, Any]) -> int:
    """The largest number of calls of the policy in an episode."""
    return math.ceil(_max_steps(settings) / settings["evaluation"]["execution_horizon"])


def _simulator_seconds(settings: dict[str, Any]) -> float:
    """The longest time that one environment needs for the steps of an episode."""
    rate = facts(settings["benchmark"]).simulator_steps_per_second or min(assumed.SIMULATOR_STEPS.values())
    return _max_steps(settings) / rate
