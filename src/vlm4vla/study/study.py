"""The study: its targets, and every artefact that they declare. The workflow's rules ask this module."""

from __future__ import annotations

from vlm4vla.study.inputs import StageInputs
from vlm4vla.study.outputs import TABLES
from vlm4vla.study.runs import FAST
from vlm4vla.study.settings import StageSettings

TARGETS = {
    "all_tables": TABLES,
    "table_main": ("main",),
    "table_freeze": ("freeze",),
    "table_scratch": ("scratch",),
    "table_auxiliary": ("auxiliary",),
    "table_fast_injection": ("fast_injection",),
    "table_executed_steps": ("executed_steps",),
    "correlation": ("correlation",),
}


class Study(StageInputs, StageSettings):
    """The runs, files, inputs, settings and targets of one configuration."""

    def target_of(self, table: str) -> str:
        """The target that makes `table` alone, and the name of its rule."""
        return next(name for name, tables in TARGETS.items() if tables == (table,))

    def targets(self, name: str) -> list[str]:
        """Files of a target: those of its tables that this configuration has; all tables have a summary,
        films and the configuration beside them."""
        here = [table for table in TARGETS[name] if table in self.tables()]
        files = [path for table in here for path in self.table_files(table)]
        if name == "all_tables":
            files += [*self.film_files(), *self.summary_files(), *self.config_files()]
        return files

    def declared(self) -> list[str]:
        """Every artefact of `all_tables`, the intermediate ones too, each once."""
        files = [self.questions_path()] if self.needs_questions() else []
        for table in self.tables():
            cells = self.cells_of(table)
            files += [self.backbone_path(vlm) for vlm in cells.backbones]
            files += [self.backbone_path(self.config.experts[name].backbone) for name in cells.experts]
            files += [self.demonstrations_path(benchmark) for benchmark in cells.benchmarks]
            for vlm, task in self.vlms(table):
                if task != "none":
                    data = self.auxiliary_data_path("fast" if task in FAST else task)
                    files += [data, self.auxiliary_path(vlm, task)]
            files += [self.vla_path(run) for run in self.cells(table) if not self.is_served_by_others(run)]
            files += [*self.table_episodes(table), *self.table_capability(table), *self.table_files(table)]
        files += [*self.film_files(), *self.summary_files(), *self.config_files()]
        return list(dict.fromkeys(files))
