"""Tables in the configuration: the cells that each table shows."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Annotated, Any, Literal

from pydantic import BeforeValidator, Field, WithJsonSchema, model_validator

from vlm4vla.config.base import Benchmark, Name, Seeds, Strict, one_of
from vlm4vla.conventions.tables import TABLES, configured_tables

AllOrNames = Literal["all"] | list[Name]

TableName = Annotated[str, one_of(lambda: TABLES)]
ConfiguredTable = Annotated[  # a key under `tables` in config.yaml
    str,
    one_of(configured_tables),
    WithJsonSchema({"type": "string", "enum": configured_tables()}),
]


def _check_auxiliaries(value: Any) -> Any:
    """Refuse a value that is neither a list of names nor a mapping of such lists.

    Pydantic would report one error for each of the two forms; this check reports one line.
    """
    lists = list(value.values()) if isinstance(value, Mapping) else [value]
    for words in lists:
        if not isinstance(words, list) or not words or not all(isinstance(word, str) for word in words):
            raise ValueError(
                f"{words!r} is not a list of names: write `[none, TASK, ...]` for all backbones of the "
                "table, or one such list under the name of each backbone"
            )
        if len(set(words)) != len(words):
            raise ValueError(f"{words} repeats a name: write each once")
    return value


class Cells(Strict):
    """The cells of a table: every combination of the names in these lists."""

    backbones: Annotated[
        list[Name],
        Field(min_length=1),
        BeforeValidator(
            lambda value: ["all"] if value == "all" else value, json_schema_input_type=AllOrNames
        ),
    ] = Field(description="Keys of `backbones`, or `all`.")
    auxiliaries: Annotated[dict[str, list[str]] | list[str], BeforeValidator(_check_auxiliaries)] = Field(
        default_factory=lambda: ["none"],
        description="The auxiliary tasks on which each backbone is fine-tuned before it is trained into a "
        "policy; `none` means no fine-tuning. Either one list for all backbones, or a mapping from backbones "
        "to lists. Backbones in the mapping that the table does not show are ignored.",
    )
    variants: Annotated[list[Name], Field(min_length=1)] = Field(description="Keys of `variants`.")
    experts: list[Name] = Field(
        default_factory=list,
        description="Keys of `experts`. The table shows these policies after the backbones.",
    )
    benchmarks: Annotated[list[Benchmark], Field(min_length=1)] = Field(description="Keys of `benchmarks`.")
    seeds: Seeds | None = Field(
        None, description="Training seeds of this table. They replace the `seeds` of the study."
    )

    @model_validator(mode="after")
    def _names_are_unique(self) -> Cells:
        for key in ("backbones", "variants", "experts", "benchmarks"):
            words = getattr(self, key)
            if len(set(words)) != len(words):
                raise ValueError(f"{key} {words} repeats a name: write each once")
        if self.seeds is not None and len(set(self.seeds)) != len(self.seeds):
            raise ValueError(f"seeds {self.seeds} repeats a seed: write each once")
        return self
