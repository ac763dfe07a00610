"""Types that the models of the configuration share: numbers, names and base classes."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from typing import Annotated, Any, ClassVar

from pydantic import (
    AfterValidator,
    BaseModel,
    ConfigDict,
    Field,
    SerializerFunctionWrapHandler,
    WithJsonSchema,
    model_serializer,
)
from pydantic_core import PydanticCustomError

from vlm4vla.conventions.benchmarks import BENCHMARKS
from vlm4vla.core import registry

Positive = Annotated[int, Field(gt=0)]
Rate = Annotated[float, Field(gt=0)]
Fraction = Annotated[float, Field(ge=0, le=1)]
Seeds = Annotated[list[Annotated[int, Field(ge=0)]], Field(min_length=1)]
Name = Annotated[str, Field(pattern=r"^[a-z0-9][a-z0-9._-]*$")]


def one_of(known: Callable[[], Iterable[str]]) -> AfterValidator:
    """Refuse a name that is not among `known()`, with the error that pydantic raises for a `Literal`."""

    def check(name: str) -> str:
        if name not in known():
            expected = ", ".join(f"'{each}'" for each in known())
            raise PydanticCustomError("literal_error", "Input should be {expected}", {"expected": expected})
        return name

    return AfterValidator(check)


def _registered_name(kind: registry.Kind, built_in: Iterable[str]) -> tuple[AfterValidator, WithJsonSchema]:
    """A built-in name, or a name that an extension file registers.

    The JSON schema does not know the extension files, so it lists the built-in names as examples only.
    """

    def known() -> Iterator[str]:
        yield from built_in
        yield from registry.names(kind)  # runs the extension files; not reached for a built-in name

    examples = {"type": "string", "pattern": f"^{registry.NAME}$", "examples": list(built_in)}
    return one_of(known), WithJsonSchema(examples)


Benchmark = Annotated[str, *_registered_name("benchmark", BENCHMARKS)]
TaskName = Annotated[str, *_registered_name("auxiliary task", registry.TASKS)]


class Strict(BaseModel):
    """A model that refuses unknown keys and cannot be changed after it was created."""

    model_config = ConfigDict(extra="forbid", frozen=True)


class OmitsDefaults(Strict):
    """A model whose JSON omits some keys while they have their default values.

    Snakemake compares the JSON of a stage's settings and reruns the stage when the JSON differs. A key in
    `OMITTED_AT_DEFAULT` does not appear in the JSON of studies that do not use the key.
    """

    OMITTED_AT_DEFAULT: ClassVar[frozenset[str]] = frozenset()

    @model_serializer(mode="wrap")
    def _without_defaults(self, write: SerializerFunctionWrapHandler) -> dict[str, Any]:
        fields = type(self).model_fields
        return {
            key: value
            for key, value in write(self).items()
            if key not in self.OMITTED_AT_DEFAULT
            or getattr(self, key) != fields[key].get_default(call_default_factory=True)
        }
