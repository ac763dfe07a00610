"""What one job costs: seconds on how many GPUs and cores, bytes, and where the numbers are from."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any

from vlm4vla.config.config import Config
from vlm4vla.workflow.estimate import assumptions as assumed
from vlm4vla.workflow.estimate.cluster import Cluster
from vlm4vla.workflow.estimate.models import Model, model_of
from vlm4vla.workflow.estimate.rates import Rate, Rates
from vlm4vla.workflow.estimate.units import backbone_of, episodes, joins_parts, samples, units_of
from vlm4vla.workflow.jobs import Job

MEASURED, MEASURED_MEAN, FLOPS, ASSUMED = "measured", "measured, mean of the nearest", "FLOPs", "assumed"


@dataclass(frozen=True)
class Work:
    """`seconds` by the clock on `gpus` and `cores`; `kept`: bytes that stay, `scratch`: bytes more while it
    runs; `source`: measured, FLOPs or assumed; `assumes`: keys of `assumptions.WORDS`."""

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
        name = backbone_of(job, self.config)
        if joins_parts(job) or (job.stage == "capability" and not units_of(job, self.config).count):
            return Work(_READING, ASSUMED)
        if name and self.config.backbones[name].tiny is None:
            return self._real(job, name)
        if name is None and _of_the_real_benchmarks(job):
            return self._real_data(job)
        return self._on_a_core(job, name)

    def model(self, name: str) -> Model:
        """The shape of a backbone of the study."""
        if name not in self._models:
            self._models[name] = model_of(self.config.backbones[name], self.config.image_size)
        return self._models[name]

    # Tiny backbones, embedded simulators, tables: one CPU core -----------------------------------------

    def _on_a_core(self, job: Job, name: str | None) -> Work:
        units = units_of(job, self.config)
        found = self.rates.find(job.stage, units.kind)
        if found is not None:
            rate = found.rate
            seconds = rate.start + rate.seconds * units.count
            source = MEASURED if found.exact else MEASURED_MEAN
            return Work(seconds, source, kept=rate.megabytes * 1e6)
        if name is not None:
            return self._tiny_by_flops(job, name, units.count)
        return Work(units.count * _GUESS.get(job.stage, 60.0), ASSUMED)

    def _tiny_by_flops(self, job: Job, name: str, count: float) -> Work:
        model = self.model(name)
        tokens = assumed.prompt_tokens(self.config.backbones[name].family) // 2  # words are whole tokens
        if job.stage in ("capability", "rollout"):
            calls = count * (_calls(job.settings) if job.stage == "rollout" else assumed.ANSWER_TOKENS)
            flops = calls * model.shape.forward(tokens)
        else:
            flops = count * model.shape.training(tokens, job.settings.get("freeze") == "vision")
        kept = 4 * model.parameters if job.stage in ("backbone", "auxiliary", "vla") else 0.0
        return Work(flops / assumed.CORE_FLOPS, FLOPS, kept=kept, assumes=("core",))

    # Released checkpoints: GPUs ------------------------------------------------------------------------

    def _real(self, job: Job, name: str) -> Work:
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
        return self._real_rollout(job, name)

    def _training(self, job: Job, name: str, tokens: int, assumes: tuple[str, ...]) -> Work:
        model, training = self.model(name), job.settings["training"]
        gpus = self._gpus(training)
        count = samples(training)
        kept = assumed.WEIGHT_BYTES * model.parameters
        scratch = 2 * assumed.STATE_BYTES * model.parameters  # the old checkpoint goes when the new is whole
        checkpoint = self.config.backbones[name].checkpoint or name
        rate = self._on_gpus(job.stage, checkpoint)
        if rate is not None:
            seconds = assumed.START + count * rate.seconds / gpus
            return Work(seconds, MEASURED, gpus, gpus, kept, scratch, ("start", "weights"))
        frozen = job.settings.get("freeze") == "vision"
        flops = count * model.shape.training(tokens, frozen) * model.scale
        return self._by_flops(flops, gpus, self.mfu, kept, scratch, ("mfu", "weights", *assumes))

    def _answers(self, job: Job, name: str, questions: float, kept: float) -> Work:
        """Questions that are read once and answered token by token; a token is a pass without the picture."""
        model = self.model(name)
        reading = model.shape.forward(assumed.QUESTION_TOKENS)
        saying = 2 * model.shape.active_parameters * assumed.ANSWER_TOKENS
        flops = questions * (reading + saying) * model.scale
        return self._by_flops(
            flops, self._one_gpu(), assumed.INFERENCE, kept, 0.0, ("inference", "questions")
        )

    def _by_flops(
        self, flops: float, gpus: int, share: float, kept: float, scratch: float, assumes: tuple[str, ...]
    ) -> Work:
        if not gpus:
            cores = self.cluster.cores
            seconds = flops / (cores * assumed.CORE_FLOPS)
            others = (key for key in assumes if key not in ("mfu", "inference"))
            return Work(seconds, FLOPS, 0, cores, kept, scratch, ("core", *others))
        seconds = assumed.START + flops / (gpus * self.cluster.gpu.flops * share)
        return Work(seconds, FLOPS, gpus, gpus, kept, scratch, ("start", *assumes))

    def _gpus(self, training: dict[str, Any]) -> int:
        """GPUs of a training: what its settings say, no more than there are."""
        wanted = (training.get("execution") or {}).get("processes") or self.cluster.gpus_a_job
        return min(wanted, self.cluster.gpus)

    def _on_gpus(self, stage: str, kind: str) -> Rate | None:
        """What was measured of this very kind on a GPU of the cluster's model."""
        found = self.rates.find(stage, kind, self.cluster.model) if self.cluster.model else None
        return found.rate if found else None

    def _one_gpu(self) -> int:
        return min(1, self.cluster.gpus)

    def _real_rollout(self, job: Job, name: str) -> Work:
        settings = job.settings
        count = episodes(settings)
        rate = self._on_gpus("rollout", f"{settings['benchmark']}/{self.config.backbones[name].checkpoint}")
        if rate is not None:
            seconds = assumed.START + count * rate.seconds
            return Work(seconds, MEASURED, 1, assumed.ENVIRONMENTS, _FILMS, assumes=("start",))
        tokens = assumed.prompt_tokens(self.config.backbones[name].family)
        model = self.model(name)
        flops = count * _calls(settings) * model.shape.forward(tokens) * model.scale
        assumes = ("inference", "episodes", "prompt")
        acting = self._by_flops(flops, self._one_gpu(), assumed.INFERENCE, _FILMS, 0.0, assumes)
        stepping = self._stepping(settings, count)
        cores = max(acting.cores, stepping.cores)
        told = (*acting.assumes, *stepping.assumes)
        return Work(acting.seconds + stepping.seconds, FLOPS, acting.gpus, cores, _FILMS, assumes=told)

    def _stepping(self, settings: dict[str, Any], count: int) -> Work:
        """The simulator's share of `count` episodes."""
        benchmark = settings["benchmark"]
        if _embedded(settings):
            found = self.rates.find("rollout", f"{benchmark}/random")
            return Work(count * (found.rate.seconds if found else _GUESS["rollout"]), ASSUMED)
        cores = min(assumed.ENVIRONMENTS, self.cluster.cores)
        seconds = count * _simulator_seconds(settings) / cores
        return Work(seconds, ASSUMED, 0, cores, _FILMS, assumes=("episodes", "simulators"))

    def _real_data(self, job: Job) -> Work:
        """Demonstrations as published, and the policies that no backbone stands behind."""
        settings = job.settings
        if job.stage == "rollout":
            return self._stepping(settings, episodes(settings))
        size = assumed.DATA_BYTES.get(settings["benchmark"], 0.0)
        return Work(size / assumed.DOWNLOAD, ASSUMED, kept=size, assumes=("download", "data"))


_READING = 30.0  # seconds to put files of others together
_FILMS = 5e7  # bytes of a rollout's records and films
# Core seconds a unit where no rate is known; a table or a page takes a minute.
_GUESS = {
    "questions": 0.005,
    "auxiliary_data": 0.005,
    "demonstrations": 0.03,
    "rollout": 0.3,
}  # seconds a unit


def _of_the_real_benchmarks(job: Job) -> bool:
    """Whether a job without a backbone is of published data or of a simulator that is not embedded."""
    if job.stage == "demonstrations":
        return bool(job.settings["demonstrations"].get("dataset"))
    if job.stage == "rollout":
        return not _embedded(job.settings)
    return False


def _embedded(settings: dict[str, Any]) -> bool:
    """Whether a rollout's simulator is the package's own."""
    return settings["evaluation"].get("simulator") in (None, "embedded")


def _steps(settings: dict[str, Any]) -> int:
    """Steps of an episode at most."""
    benchmark = settings["benchmark"]
    return settings["evaluation"]["max_steps"] * assumed.INSTRUCTIONS.get(benchmark, 1)


def _calls(settings: dict[str, Any]) -> int:
    """Calls of the policy in an episode at most."""
    return math.ceil(_steps(settings) / settings["evaluation"]["execution_horizon"])


def _simulator_seconds(settings: dict[str, Any]) -> float:
    """Seconds of one environment's steps in an episode at most."""
    rate = assumed.SIMULATOR_STEPS.get(settings["benchmark"], min(assumed.SIMULATOR_STEPS.values()))
    return _steps(settings) / rate
