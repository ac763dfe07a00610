"""Where a configuration names files of the user's own, and where a stage's settings say which one it runs.

Both keys are left out of the JSON while they say nothing, so that a study without such files has the settings
that it always had.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, ClassVar

from pydantic import Field, field_validator, model_validator

from vlm4vla.config.base import Sparse
from vlm4vla.core import registry


class Extended(Sparse):
    """A configuration. `extensions`: paths of Python files of the user's own, from the folder of the
    Snakefile; reading the configuration runs them, before its other names are checked."""

    LATER: ClassVar[frozenset[str]] = frozenset({"extensions"})

    extensions: list[str] = Field(default_factory=list)

    @model_validator(mode="before")
    @classmethod
    def _run(cls, given: Any) -> Any:
        if isinstance(given, Mapping):
            paths = given.get("extensions", [])
            named = isinstance(paths, list) and all(isinstance(path, str) for path in paths)
            registry.activate(paths if named else [])
        return given

    @field_validator("extensions")
    @classmethod
    def _each_once(cls, paths: list[str]) -> list[str]:
        if len(set(paths)) != len(paths):
            raise ValueError(f"{paths} repeats a file: write each once")
        return paths


class FromExtension(Sparse):
    """Settings of a stage. `extension`: SHA-256 (hex) of the user's file that the stage runs, where its
    family, benchmark or auxiliary task comes from one."""

    LATER: ClassVar[frozenset[str]] = frozenset({"extension"})

    extension: str | None = None
