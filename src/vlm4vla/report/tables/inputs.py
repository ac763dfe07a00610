"""The settings and files that the builder of a table receives."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

import pandas as pd

from vlm4vla.analysis.records import read_episodes
from vlm4vla.config.stages import TableSettings
from vlm4vla.study.layout import ARTEFACTS, run_of


@dataclass(frozen=True)
class TableInputs:
    """Everything that a table is built from. Inputs that the table does not need are empty.

    Where an input is a folder, its provenance.json may be given instead.
    """

    settings: TableSettings
    episodes: Sequence[Path]
    """The episodes.parquet of every rollout of the table, including those of the random policy (floor) and of
    the scripted expert (ceiling)."""
    published: Path
    """The folder of the paper's numbers as CSV."""
    output: Path
    """The study's results folder."""
    capability: Sequence[Path] = ()
    """The files .../capability/{model}/{auxiliary}.json."""
    curves: Sequence[Path] = ()
    """The folders of the VLAs whose train.jsonl is drawn."""
    auxiliary: Sequence[Path] = ()
    """The folders .../auxiliary/{model}/{task} whose score.json is read."""
    fast: Sequence[Path] = ()
    """The folder of the FAST tokens whose report.json is read."""

    @cached_property
    def records(self) -> pd.DataFrame:
        """All episodes as one table of records. UserError: the records do not belong in one table."""
        own = self.settings
        return read_episodes(
            self.episodes, study=own.study, scale=own.scale, experts=own.cells.experts, run_of=run_of
        )

    @property
    def figures(self) -> Path:
        """The folder for the figures."""
        return self.output / ARTEFACTS["figure"].folder
