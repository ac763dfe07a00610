"""Tables in the configuration: which cells each shows."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Annotated, Any, Literal

from pydantic import BeforeValidator, Field, model_validator

from vlm4vla.config.base import Name, Seeds, Strict
from vlm4vla.config.names import Benchmark

AllOrNames = Literal["all"] | list[Name]
TableName = Literal["main", "freeze", "scratch", "auxiliary", "fast_injection", "executed_steps"]
FINE_TUNED = ("auxiliary", "fast_injection")  # tables that show backbones after an auxiliary task


def _auxiliary_names(value: Any) -> Any:
    """Refuse what is neither a list of names nor a mapping of such lists, in one line and not one a form."""
    lists = list(value.values()) if isinstance(value, Mapping) else [value]
    for words in lists:
        if not isinstance(words, list) or not words or not all(isinstance(word, str) for word in words):
            raise ValueError(
                f"{words!r} is no list of names: write `[none, TASK, ...]` for every backbone of the table, "
                "or such a list below each backbone's name"
            )
        if len(set(words)) != len(words):
            raise ValueError(f"{words} repeats a name: write each once")
    return value


class Cells(Strict):
    """A table: the product of what is named here; `backbones: all` is every backbone of the study.

    `auxiliaries`: what each backbone is fine-tuned on before it becomes a policy, `none` for nothing; one
    list, or a mapping from backbones to lists, where backbones that the table does not show are left out.
    `seeds` takes the place of the study's training seeds.
    """

    backbones: Annotated[
        list[Name],
        Field(min_length=1),
        BeforeValidator(
            lambda value: ["all"] if value == "all" else value, json_schema_input_type=AllOrNames
        ),
    ]
    auxiliaries: Annotated[dict[str, list[str]] | list[str], BeforeValidator(_auxiliary_names)] = Field(
        default_factory=lambda: ["none"]
    )
    variants: Annotated[list[Name], Field(min_length=1)]
    experts: list[Name] = Field(default_factory=list)  # expert VLAs that stand beside the backbones
    benchmarks: Annotated[list[Benchmark], Field(min_length=1)]
    seeds: Seeds | None = None

    @model_validator(mode="after")
    def _each_once(self) -> Cells:
        for key in ("backbones", "variants", "experts", "benchmarks"):
            words = getattr(self, key)
            if len(set(words)) != len(words):
                raise ValueError(f"{key} {words} repeats a name: write each once")
        if self.seeds is not None and len(set(self.seeds)) != len(self.seeds):
            raise ValueError(f"seeds {self.seeds} repeats a seed: write each once")
        return self
