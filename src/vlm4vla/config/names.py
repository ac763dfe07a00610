"""Names in config.yaml that something must serve: built in, or a file of the user's own (vlm4vla.extensions).

A name that nothing serves is told as a wrong word of a fixed list would be, with the nearest known one. The
JSON schema, which knows no user's file, lists the built-in names as examples.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import Annotated

from pydantic import AfterValidator, WithJsonSchema
from pydantic_core import PydanticCustomError

from vlm4vla.conventions.benchmarks import BENCHMARKS
from vlm4vla.core import registry
from vlm4vla.core.registry import TASKS


def _served(kind: registry.Kind, built_in: Iterable[str]) -> Callable[[str], str]:
    def check(name: str) -> str:
        if name in built_in:
            return name
        known = [*built_in, *registry.names(kind)]
        if name not in known:
            expected = ", ".join(f"'{each}'" for each in known)
            raise PydanticCustomError("literal_error", "Input should be {expected}", {"expected": expected})
        return name

    return check


def _listed(built_in: Iterable[str]) -> WithJsonSchema:
    return WithJsonSchema({"type": "string", "pattern": f"^{registry.NAME}$", "examples": list(built_in)})


Benchmark = Annotated[str, AfterValidator(_served("benchmark", BENCHMARKS)), _listed(BENCHMARKS)]
TaskName = Annotated[str, AfterValidator(_served("auxiliary task", TASKS)), _listed(TASKS)]
