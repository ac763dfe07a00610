"""The study as a table of runs: which VLAs, rollouts and scores each table needs."""

from __future__ import annotations

from dataclasses import dataclass, fields
from typing import Any, get_args

from vlm4vla.config.auxiliary import FastName
from vlm4vla.config.config import Config
from vlm4vla.config.tables import FINE_TUNED, Cells
from vlm4vla.config.training import Training
from vlm4vla.study import capability as capability_plan

REFERENCES = ("random", "expert")  # floor and ceiling: policies that no backbone stands behind
EXECUTED = "-executed"  # stands before another number of executed steps in a rollout's path
EXPERT_VARIANT = "full"  # expert VLAs are fully trained
FAST = get_args(FastName)  # FAST injection as a value of `auxiliary`


@dataclass(frozen=True, order=True)
class Run:
    """One VLA (or reference policy) on one benchmark: the key of its training and of its rollouts.

    `executed`: empty, or `-executed` and how many steps of a chunk its rollouts execute in place of the
    benchmark's.
    """

    vlm: str
    auxiliary: str
    variant: str
    benchmark: str
    seed: int
    executed: str = ""

    @property
    def key(self) -> str:
        """The run's folder below `vla/`."""
        return f"{self.vlm}/{self.auxiliary}/{self.variant}/{self.benchmark}/seed{self.seed}"

    @property
    def rollouts(self) -> str:
        """The run's folder below `rollouts/`."""
        return self.key + self.executed

    @classmethod
    def of(cls, wildcards: Any) -> Run:
        """The run that Snakemake's wildcards, or anything with their attributes, name."""
        return cls(*(getattr(wildcards, field.name) for field in fields(cls)))


class Runs:
    """The runs of one configuration. Methods that a rule calls take Snakemake's wildcards, or a `Run`."""

    def __init__(self, config: Config):
        self.config = config

    def tables(self) -> list[str]:
        """Tables that the configuration asks for; `correlation` is made wherever `main` is."""
        return [*self.config.tables, *(["correlation"] if "main" in self.config.tables else [])]

    def cells_of(self, table: str) -> Cells:
        """The product that `table` shows; `correlation` shows the cells of `main` without expert VLAs.

        Written out: `all` backbones, the list of auxiliaries of each backbone, the training seeds.
        """
        cells = self.config.tables["main" if table == "correlation" else table]
        backbones = list(self.config.backbones) if cells.backbones == ["all"] else cells.backbones
        given = cells.auxiliaries
        auxiliaries = {name: given[name] if isinstance(given, dict) else given for name in backbones}
        seeds = cells.seeds or self.config.seeds
        experts = [] if table == "correlation" else cells.experts
        written_out = {"backbones": backbones, "auxiliaries": auxiliaries, "seeds": seeds, "experts": experts}
        return cells.model_copy(update=written_out)

    def cells(self, table: str) -> list[Run]:
        """The VLAs that `table` holds, in its order."""
        cells = self.cells_of(table)
        return [
            Run(vlm, auxiliary, variant, benchmark, seed, executed)
            for benchmark in cells.benchmarks
            for vlm in cells.backbones
            for variant in cells.variants
            for auxiliary in cells.auxiliaries[vlm]
            for seed in cells.seeds
            for executed in (self.executed(benchmark) if table == "executed_steps" else [""])
        ] + self.experts(table)

    def horizons(self, benchmark: str) -> list[int]:
        """Executed steps of a chunk that are tried on `benchmark`: its own, then the others in order."""
        evaluation = self.config.benchmarks[benchmark].evaluation
        own = evaluation.execution_horizon
        return [own, *sorted(set(evaluation.executed) - {own})]

    def executed(self, benchmark: str) -> list[str]:
        """The same as parts of paths; a benchmark's own number has none."""
        return ["", *(f"{EXECUTED}{steps}" for steps in self.horizons(benchmark)[1:])]

    def experts(self, table: str) -> list[Run]:
        """The expert VLAs that `table` holds."""
        cells = self.cells_of(table)
        return [
            Run(expert, "none", EXPERT_VARIANT, benchmark, seed)
            for benchmark in cells.benchmarks
            for expert in cells.experts
            for seed in cells.seeds
        ]

    def vlms(self, table: str) -> list[tuple[str, str]]:
        """(backbone, auxiliary) of every VLM that `table` shows, each once, in its order."""
        cells = self.cells_of(table)
        return [(vlm, auxiliary) for vlm in cells.backbones for auxiliary in cells.auxiliaries[vlm]]

    def scored(self, table: str) -> list[tuple[str, str]]:
        """(backbone, auxiliary) of every VLM whose capability `table` shows."""
        bases = [(vlm, "none") for vlm in self.cells_of(table).backbones]
        if table in FINE_TUNED:
            return list(dict.fromkeys([*bases, *self.vlms(table)]))
        return bases if table == "correlation" else []

    def references(self, table: str) -> list[Run]:
        """Floor and ceiling of every benchmark of `table`; on real simulators no script can do the tasks."""
        return [
            Run(policy, "none", "full", benchmark, 0)
            for benchmark in self.cells_of(table).benchmarks
            for policy in (REFERENCES if self.is_embedded(benchmark) else REFERENCES[:1])
        ]

    def policies(self) -> list[str]:
        """What `vlm` may be in the path of a VLA: a backbone or an expert VLA."""
        return [*self.config.backbones, *self.config.experts]

    def auxiliaries(self) -> list[str]:
        """What `auxiliary` may be in a path: none, or a task of the configuration."""
        return self.config.auxiliaries()

    def is_embedded(self, benchmark: str) -> bool:
        """Whether `benchmark` is evaluated here, not on a simulator through vla-eval."""
        return self.config.benchmarks[benchmark].evaluation.simulator is None

    def embedded_benchmarks(self) -> list[str]:
        return [name for name in self.config.benchmarks if self.is_embedded(name)]

    def simulator_benchmarks(self) -> list[str]:
        return [name for name in self.config.benchmarks if not self.is_embedded(name)]

    def is_served_by_others(self, run: Any) -> bool:
        """Whether a server of others answers for `run`, so that nothing is trained for it."""
        simulator = self.config.benchmarks[run.benchmark].evaluation.simulator
        return simulator is not None and run.vlm in simulator.policies

    def needs_questions(self) -> bool:
        """Whether anything learns from, or is scored on, the generated questions."""
        tiny = any(backbone.tiny for backbone in self.config.backbones.values())
        return tiny or self.config.capability.source == "embedded"

    def training(self, run: Any) -> Training:
        """VLA training of `run`: the expert's own, the variant's, the benchmark's, or the study's."""
        expert = self.config.experts.get(run.vlm)
        if expert and expert.training:
            return expert.training
        training = self.config.variants[run.variant].training
        training = training or self.config.benchmarks[run.benchmark].training or self.config.vla
        rates = {} if expert else self.config.backbones[run.vlm].learning_rates
        if run.benchmark not in rates:
            return training
        optimiser = training.optimiser.model_copy(update={"learning_rate": rates[run.benchmark]})
        return training.model_copy(update={"optimiser": optimiser})

    @property
    def capability_rules(self) -> str:
        """The rules that make capability scores, by where these come from."""
        return capability_plan.RULES[self.config.capability.source]

    def _film_table(self) -> str:
        """The table whose policies the report shows in films: the main one, else the first."""
        return "main" if "main" in self.config.tables else next(iter(self.config.tables))
