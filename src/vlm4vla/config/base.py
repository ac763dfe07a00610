"""Types that the models of the configuration share: numbers, names and base classes."""

from __future__ import annotations

import os
import re
from collections.abc import Callable, Iterable, Iterator, Mapping
from functools import cache
from typing import Annotated, Any, ClassVar, get_args

from pydantic import (
    AfterValidator,
    BaseModel,
    ConfigDict,
    Field,
    JsonValue,
    SerializerFunctionWrapHandler,
    ValidationError,
    WithJsonSchema,
    model_serializer,
    model_validator,
)
from pydantic_core import InitErrorDetails, PydanticCustomError

from vlm4vla.conventions.benchmarks import BENCHMARKS, ONLY_REAL
from vlm4vla.core import registry

MOST = 10**9  # of steps, episodes, images or widths: more is a slip, and no run would end
Positive = Annotated[int, Field(gt=0, le=MOST)]
Width = Annotated[int, Field(gt=0, le=65536)]  # of a layer: two such layers have 4 billion weights
Depth = Annotated[int, Field(gt=0, le=1000)]  # number of layers
Rate = Annotated[float, Field(gt=0, le=1e9)]
Fraction = Annotated[float, Field(ge=0, le=1)]
Seed = Annotated[int, Field(ge=0, lt=2**32)]  # every random generator in use takes these
Seeds = Annotated[list[Seed], Field(min_length=1)]
# A name is a folder of the results. File systems allow 255 bytes, of which a log's path needs some. Those of
# Windows and many USB disks drop a dot at the end.
Name = Annotated[str, Field(pattern=r"^[a-z0-9]([a-z0-9._-]*[a-z0-9_-])?$", max_length=100)]
LARGEST_INTEGER = 2**63 - 1  # of Parquet, and of most readers of JSON
_BOOLEAN = "yes, no, true and false are not numbers or names: write a number, or the word in quotation marks"
_NO_TEXT = "the text has a character that no file can hold (NUL, or half of a surrogate pair): remove it"
_NO_HOME = "names the home folder of an unknown user: write the whole path"
_LARGE = f"the number is too large for files: write at most {LARGEST_INTEGER}"


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


Benchmark = Annotated[str, *_registered_name("benchmark", (*BENCHMARKS, *ONLY_REAL))]
TaskName = Annotated[str, *_registered_name("auxiliary task", registry.TASKS)]


@cache
def _types(model: type[BaseModel], field: str) -> frozenset[Any]:
    """The types in the annotation of a field."""

    def inside(annotation: Any) -> Iterator[Any]:
        yield annotation
        if annotation is JsonValue:  # an alias, whose parts get_args does not return
            yield from (bool, int, float, str)
        for argument in get_args(annotation):
            yield from inside(argument)

    return frozenset(each for each in inside(model.model_fields[field].annotation) if isinstance(each, type))


def _is_text(value: str) -> bool:
    """Whether files and paths can hold a string: no NUL, and no half of a surrogate pair."""
    try:
        return "\0" not in value and bool(value.encode() or True)
    except UnicodeEncodeError:
        return False


def _has_home(value: str) -> bool:
    """Whether a path that begins with `~` or `~user` has this home folder. True for all other strings."""
    home = re.match(r"~[^/\s]*(?=/|$)", value)
    return home is None or not os.path.expanduser(home.group()).startswith("~")


def _scalars(value: Any) -> Iterator[Any]:
    """The values in lists and mappings."""
    if isinstance(value, Mapping):
        value = list(value.values())
    if isinstance(value, list | tuple):
        for each in value:
            yield from _scalars(each)
    else:
        yield value


class Strict(BaseModel):
    """A model that refuses unknown keys and cannot be changed after it was created.

    Numbers must be finite. Pydantic would take `yes` as 1, and integers of any size.
    """

    model_config = ConfigDict(extra="forbid", frozen=True, allow_inf_nan=False)

    @model_validator(mode="before")
    @classmethod
    def _has_no_odd_values(cls, raw: Any) -> Any:
        """Raise ValidationError for each value that pydantic would take and files or paths would not."""
        errors: list[InitErrorDetails] = []
        for key, value in raw.items() if isinstance(raw, Mapping) else ():
            types = _types(cls, key) if key in cls.model_fields else frozenset()
            if not types or any(issubclass(each, BaseModel) for each in types):
                continue  # an unknown key, or models, which check their own keys
            for each in _scalars(value):
                kind = None
                if isinstance(each, bool):
                    kind = None if bool in types else PydanticCustomError("boolean", _BOOLEAN)
                elif isinstance(each, int) and abs(each) > LARGEST_INTEGER:
                    kind = PydanticCustomError("large_integer", _LARGE)
                elif isinstance(each, str) and not _is_text(each):
                    kind = PydanticCustomError("no_text", _NO_TEXT)
                elif isinstance(each, str) and not _has_home(each):
                    kind = PydanticCustomError("no_home", _NO_HOME)
                if kind is not None:
                    errors.append({"type": kind, "loc": (key,), "input": each})
        if errors:
            raise ValidationError.from_exception_data(cls.__name__, errors)
        return raw


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
