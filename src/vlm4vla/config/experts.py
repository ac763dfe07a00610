"""Expert VLAs: policies with settings of their own, which stand beside the study's in a table."""

from __future__ import annotations

from pydantic import model_validator

from vlm4vla.config.base import Name, Positive, Strict
from vlm4vla.config.heads import ExpertHeadSettings
from vlm4vla.config.training import Training


class Expert(Strict):
    """A backbone of the study with another head.

    What is left out (`chunk`, `execution_horizon`, `training`) is the benchmark's and the study's.
    """

    backbone: Name
    head: ExpertHeadSettings
    chunk: Positive | None = None
    execution_horizon: Positive | None = None
    training: Training | None = None

    @model_validator(mode="after")
    def _executes_what_it_predicts(self) -> Expert:
        if self.chunk and self.execution_horizon and self.execution_horizon > self.chunk:
            raise ValueError(
                f"execution_horizon {self.execution_horizon} is above chunk {self.chunk}: "
                f"write at most {self.chunk}"
            )
        return self
