"""Where every artefact of a study lies, below its results folder."""

from __future__ import annotations

from pathlib import Path

from vlm4vla.config.config import Config
from vlm4vla.study import published_outputs as published_study
from vlm4vla.study.outputs import CONFIG, SUMMARY, film_outputs, outputs
from vlm4vla.study.runs import Run, Runs


class ResultsLayout(Runs):
    """The files of one configuration's artefacts."""

    def __init__(self, config: Config):
        super().__init__(config)
        self.root = Path(config.results) / config.study

    def questions_path(self) -> str:
        return f"{self.root}/questions/provenance.json"

    def backbone_path(self, vlm: str) -> str:
        return f"{self.root}/backbones/{vlm}/provenance.json"

    def capability_path(self, vlm: str, auxiliary: str = "none") -> str:
        return f"{self.root}/capability/{vlm}/{auxiliary}.json"

    def auxiliary_data_path(self, task: str) -> str:
        return f"{self.root}/auxiliary_data/{task}/provenance.json"

    def auxiliary_path(self, vlm: str, task: str) -> str:
        return f"{self.root}/auxiliary/{vlm}/{task}/provenance.json"

    def demonstrations_path(self, benchmark: str) -> str:
        return f"{self.root}/demonstrations/{benchmark}/provenance.json"

    def vla_path(self, run: Run) -> str:
        return f"{self.root}/vla/{run.key}/provenance.json"

    def episodes_path(self, run: Run) -> str:
        return f"{self.root}/rollouts/{run.rollouts}/episodes.parquet"

    def table_files(self, table: str) -> list[str]:
        return [f"{self.root}/{name}" for name in outputs(table, self.cells_of(table).model_dump())]

    def table_words(self, table: str) -> str:
        """What the captions of Snakemake's report quote: written with the table, no result of its own."""
        return f"{self.root}/analysis/{table}.rst"

    def shown_files(self, table: str) -> list[str]:
        """Files of a table that Snakemake's report shows."""
        return [path for path in self.table_files(table) if path != self.table_words(table)]

    def film_files(self) -> list[str]:
        benchmarks = self.cells_of(self._film_table()).benchmarks
        return [f"{self.root}/{name}" for name in film_outputs(benchmarks)]

    def summary_files(self) -> list[str]:
        return [f"{self.root}/{name}" for name in SUMMARY]

    def analyses(self) -> list[str]:
        """The numbers behind every table."""
        return [f"{self.root}/analysis/{table}.json" for table in self.tables()]

    def config_files(self) -> list[str]:
        return [f"{self.root}/{name}" for name in CONFIG]

    @property
    def published_root(self) -> str:
        return f"{self.config.results}/{published_study.TARGET}"

    def published_study(self) -> list[str]:
        """Files of the target `published`: the analysis of the paper's numbers alone."""
        return [f"{self.published_root}/{name}" for name in published_study.outputs()]
