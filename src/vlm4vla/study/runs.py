"""The runs of a study: the VLAs, rollouts and capability scores that each table needs."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any, Literal, get_args

from vlm4vla.config.auxiliary import FastName
from vlm4vla.config.config import Config
from vlm4vla.config.released_policies import ReleasedPolicy
from vlm4vla.config.tables import Cells
from vlm4vla.config.training import Training
from vlm4vla.conventions.scales import REAL
from vlm4vla.conventions.tables import TABLES
from vlm4vla.study import capability as capability_plan
from vlm4vla.study.layout import EXECUTED

REFERENCES = ("random", "expert")  # floor and ceiling: policies without a backbone
EXPERT_VARIANT = "full"  # all weights of an expert VLA are trained
TRANSFER = next(name for name, entry in TABLES.items() if entry.transfer)
FAST = get_args(FastName)  # FAST injection as a value of `auxiliary`


@dataclass(frozen=True, order=True)
class Run:
    """One VLA, or one reference policy, on one benchmark. It identifies a training and its rollouts.

    `model`: a backbone, an expert VLA or a reference policy; the wildcard `vlm` of paths. `executed`: empty,
    or `-executed` and the number of steps of a chunk that the rollouts execute instead of the benchmark's
    number.
    """

    model: str
    auxiliary: str
    variant: str
    benchmark: str
    seed: int
    executed: str = ""

    @classmethod
    def from_wildcards(cls, wildcards: Any) -> Run:
        """The run that Snakemake's wildcards of a VLA or a rollout name. A `Run` is returned unchanged."""
        if isinstance(wildcards, Run):
            return wildcards
        return cls(
            wildcards.vlm,
            wildcards.auxiliary,
            wildcards.variant,
            wildcards.benchmark,
            int(wildcards.seed),
            getattr(wildcards, "executed", ""),
        )

    def wildcards(self) -> dict[str, str | int]:
        """The values of the wildcards in paths."""
        return {
            "vlm": self.model,
            "auxiliary": self.auxiliary,
            "variant": self.variant,
            "benchmark": self.benchmark,
            "seed": self.seed,
            "executed": self.executed,
        }


class Runs:
    """The runs of one configuration."""

    def __init__(self, config: Config):
        self.config = config

    def tables(self) -> list[str]:
        """The tables of the configuration, then the tables that show the cells of one of them.

        A table of rankings on several benchmarks is left out if there is one benchmark and no other study.
        """
        configured = self.config.tables
        others = [name for name, entry in TABLES.items() if entry.same_cells_as in configured]
        return [*configured, *(n for n in others if not TABLES[n].transfer or self._has_two_rankings(n))]

    def _has_two_rankings(self, table: str) -> bool:
        return len(self.cells_of(table).benchmarks) + len(self.config.transfer.records) > 1

    def carry_over(self, table: str) -> Literal["numbers", "name"] | None:
        """What the caption of `table` says about embedded benchmarks beside real ones or another study.

        The numbers of the table transfer if it has the same cells, so that `table` needs no other rollout;
        otherwise, only its name. None for tables without embedded benchmarks, and without anything beside.
        """
        shown = self.cells_of(table).benchmarks
        if self.config.scale in REAL or TRANSFER not in self.tables() or TABLES[table].transfer:
            return None
        ranked = self.cells_of(TRANSFER).benchmarks
        beside = self.config.transfer.records or not all(map(self.is_embedded, ranked))
        if not beside or not any(map(self.is_embedded, ranked)) or not any(map(self.is_embedded, shown)):
            return None
        same = TABLES[TRANSFER].same_cells_as
        return "numbers" if same in (table, TABLES[table].same_cells_as) else "name"

    def cells_of(self, table: str) -> Cells:
        """The cells of `table` in full: every backbone by name, its auxiliary tasks, and the training seeds.

        A table that shows the cells of another table leaves out the expert VLAs.
        """
        shared = TABLES[table].same_cells_as
        cells = self.config.tables[shared or table]
        backbones = list(self.config.backbones) if cells.backbones == ["all"] else cells.backbones
        tasks = cells.auxiliaries
        auxiliaries = {name: tasks[name] if isinstance(tasks, dict) else tasks for name in backbones}
        seeds = cells.seeds or self.config.seeds
        experts = [] if shared else cells.experts
        in_full = {"backbones": backbones, "auxiliaries": auxiliaries, "seeds": seeds, "experts": experts}
        return cells.model_copy(update=in_full)

    def cells(self, table: str) -> list[Run]:
        """The VLAs of `table`, in the order of its rows."""
        cells = self.cells_of(table)
        return [
            Run(vlm, auxiliary, variant, benchmark, seed, executed)
            for benchmark in cells.benchmarks
            for vlm in cells.backbones
            for variant in cells.variants
            for auxiliary in cells.auxiliaries[vlm]
            for seed in cells.seeds
            for executed in (self.executed_suffixes(benchmark) if TABLES[table].horizons else [""])
        ] + self.expert_vlas(table)

    def horizons(self, benchmark: str) -> list[int]:
        """The numbers of executed steps to evaluate on `benchmark`: its own, then the others, sorted."""
        evaluation = self.config.benchmarks[benchmark].evaluation
        own = evaluation.execution_horizon
        return [own, *sorted(set(evaluation.executed) - {own})]

    def executed_suffixes(self, benchmark: str) -> list[str]:
        """The values of `Run.executed` for these numbers. The benchmark's own number has an empty suffix."""
        return ["", *(f"{EXECUTED}{steps}" for steps in self.horizons(benchmark)[1:])]

    def expert_vlas(self, table: str) -> list[Run]:
        """The expert VLAs of `table`."""
        cells = self.cells_of(table)
        return [
            Run(expert, "none", EXPERT_VARIANT, benchmark, seed)
            for benchmark in cells.benchmarks
            for expert in cells.experts
            for seed in cells.seeds
        ]

    def vlms(self, table: str) -> list[tuple[str, str]]:
        """(backbone, auxiliary task) of every VLM of `table`, each once, in the order of its rows."""
        cells = self.cells_of(table)
        return [(vlm, auxiliary) for vlm in cells.backbones for auxiliary in cells.auxiliaries[vlm]]

    def scored(self, table: str) -> list[tuple[str, str]]:
        """(backbone, auxiliary task) of every VLM whose capability `table` shows."""
        if not TABLES[table].capability:
            return []
        bases = [(vlm, "none") for vlm in self.cells_of(table).backbones]
        return list(dict.fromkeys([*bases, *self.vlms(table)])) if TABLES[table].fine_tuned else bases

    def references(self, table: str) -> list[Run]:
        """Floor and ceiling of every benchmark of `table`, which only some real simulators have."""
        return [
            Run(policy, "none", "full", benchmark, 0)
            for benchmark in self.cells_of(table).benchmarks
            for policy in self.reference_policies(benchmark)
        ]

    def reference_policies(self, benchmark: str) -> tuple[str, ...]:
        """Floor and, if a script solves every task of `benchmark`, the ceiling."""
        return (
            REFERENCES if self.is_embedded(benchmark) or self.has_own_experts(benchmark) else REFERENCES[:1]
        )

    def has_own_experts(self, benchmark: str) -> bool:
        """Whether `benchmark` is evaluated on a real simulator that has an expert for each task."""
        simulator = self.config.benchmarks[benchmark].evaluation.simulator
        return simulator is not None and simulator.convention.expert

    def policies(self) -> list[str]:
        """The values of `vlm` in the path of a VLA: backbones and expert VLAs."""
        return [*self.config.backbones, *self.config.experts]

    def auxiliaries(self) -> list[str]:
        """The values of `auxiliary` in a path: `none` and the tasks of the configuration."""
        return self.config.auxiliaries()

    def is_embedded(self, benchmark: str) -> bool:
        """Whether `benchmark` is evaluated on the embedded simulator, not on another one through vla-eval."""
        return self.config.benchmarks[benchmark].evaluation.simulator is None

    def real_at_embedded(self, benchmarks: Iterable[str]) -> list[str]:
        """Those of `benchmarks` that run on real simulators, at a scale of tiny models."""
        if self.config.scale in REAL:
            return []
        return [name for name in benchmarks if not self.is_embedded(name)]

    def embedded_benchmarks(self) -> list[str]:
        return [name for name in self.config.benchmarks if self.is_embedded(name)]

    def simulator_benchmarks(self) -> list[str]:
        return [name for name in self.config.benchmarks if not self.is_embedded(name)]

    def is_served_externally(self, run: Run) -> bool:
        """Whether an external policy server answers for `run`, so that no VLA is trained."""
        simulator = self.config.benchmarks[run.benchmark].evaluation.simulator
        return simulator is not None and run.model in simulator.policies

    def released_policy(self, run: Run) -> ReleasedPolicy | None:
        """The released policy that acts in `run`, so that no VLA is trained; None for all other runs."""
        return self.config.benchmarks[run.benchmark].released_policies.get(run.model)

    def is_trained(self, run: Run) -> bool:
        """Whether `run` is of a VLA that is trained here: no reference policy, and none of other authors."""
        others = self.is_served_externally(run) or self.released_policy(run) is not None
        return run.model not in REFERENCES and not others

    def embedded_released(self) -> list[tuple[str, str]]:
        """(expert VLA, benchmark) of each released policy on an embedded benchmark."""
        return [
            (name, benchmark)
            for benchmark in self.embedded_benchmarks()
            for name in self.config.benchmarks[benchmark].released_policies
        ]

    def needs_questions(self) -> bool:
        """Whether a backbone is pre-trained or scored on the generated questions."""
        tiny = any(backbone.tiny for backbone in self.config.backbones.values())
        return tiny or self.config.capability.source == "embedded"

    def training(self, run: Run) -> Training:
        """The VLA training of `run`: of the expert VLA, the variant, the benchmark or the study.

        The first of these that the configuration sets counts.
        """
        expert = self.config.experts.get(run.model)
        if expert and expert.training:
            return expert.training
        training = self.config.variants[run.variant].training
        training = training or self.config.benchmarks[run.benchmark].training or self.config.vla
        rates = {} if expert else self.config.backbones[run.model].learning_rates
        if run.benchmark not in rates:
            return training
        optimiser = training.optimiser.model_copy(update={"learning_rate": rates[run.benchmark]})
        return training.model_copy(update={"optimiser": optimiser})

    @property
    def capability_rules(self) -> str:
        """The file with the rule for capability scores, which depends on their source."""
        return capability_plan.RULES[self.config.capability.source]

    def _film_table(self) -> str:
        """The table whose policies the report shows in films: the main table, else the first one."""
        return "main" if "main" in self.config.tables else next(iter(self.config.tables))
