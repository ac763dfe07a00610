"""The study that the Snakefile opens: its targets, and every artefact that they need."""

from __future__ import annotations

from vlm4vla.backbones.found_families import with_families
from vlm4vla.config.config import Config
from vlm4vla.conventions.tables import TABLES
from vlm4vla.study.files import StudyFiles
from vlm4vla.study.settings import StageSettings
from vlm4vla.study.stopping import check_references


def table_targets() -> dict[str, tuple[str, ...]]:
    """The tables that each target makes."""
    return {"all_tables": tuple(TABLES)} | {entry.target: (name,) for name, entry in TABLES.items()}


class Study(StudyFiles, StageSettings):
    """The runs, files, settings and targets of one configuration.

    Raises UserError for an `evaluation.stop` without a comparison (see `check_references`).
    """

    def __init__(self, config: Config):
        super().__init__(with_families(config))
        check_references(self)

    def target_of(self, table: str) -> str:
        """The target that makes only `table`. The rule of the table has the same name."""
        return TABLES[table].target

    def targets(self, name: str) -> list[str]:
        """The files of a target: of each of its tables that the configuration has.

        The target `all_tables` also has the films, the summary and the configuration.
        """
        tables = [table for table in table_targets()[name] if table in self.tables()]
        files = [path for table in tables for path in self.table_files(table)]
        if name == "all_tables":
            files += [*self.film_files(), *self.summary_files(), *self.config_files()]
        return files

    def declared(self) -> list[str]:
        """Every artefact that the study makes for `all_tables` and the stages before, each once."""
        files = [self.questions_path()] if self.needs_questions() else []
        for table in self.tables():
            cells = self.cells_of(table)
            files += [self.backbone_path(name) for name in cells.backbones]
            files += [self.backbone_path(self.config.experts[name].backbone) for name in cells.experts]
            files += [self.demonstrations_path(benchmark) for benchmark in cells.benchmarks]
            for vlm, task in self.vlms(table):
                if task != "none":
                    files += [self.auxiliary_data_path(task), self.auxiliary_path(vlm, task)]
            files += [self.vla_path(run) for run in self.cells(table) if self.is_trained(run)]
            files += [*self.table_episodes(table), *self.table_capability(table), *self.table_files(table)]
        files += [*self.film_files(), *self.summary_files(), *self.config_files()]
        return [path for path in dict.fromkeys(files) if not self.is_of_other_study(path)]
