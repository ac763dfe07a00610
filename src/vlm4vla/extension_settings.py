"""Where a configuration names files of the user's own, and where a stage's settings say which one it runs.

Both keys are left out of the JSON while they say nothing, so that a study without such files has the settings
that it always had.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from pydantic import Field, SerializerFunctionWrapHandler, field_validator, model_serializer, model_validator

from vlm4vla import extensions
from vlm4vla.fields import Strict


class _Silent(Strict):
    @model_serializer(mode="wrap")
    def _only_what_says_something(self, dump: SerializerFunctionWrapHandler) -> dict[str, Any]:
        return {
            key: value for key, value in dump(self).items() if value or key not in ("extension", "extensions")
        }


class Extended(_Silent):
    """A configuration. `extensions`: paths of Python files of the user's own, from the folder of the
    Snakefile; reading the configuration runs them, before its other names are checked."""

    extensions: list[str] = Field(default_factory=list)

    @model_validator(mode="before")
    @classmethod
    def _run(cls, given: Any) -> Any:
        if isinstance(given, Mapping):
            paths = given.get("extensions", [])
            named = isinstance(paths, list) and all(isinstance(path, str) for path in paths)
            extensions.activate(paths if named else [])
        return given

    @field_validator("extensions")
    @classmethod
    def _each_once(cls, paths: list[str]) -> list[str]:
        if len(set(paths)) != len(paths):
            raise ValueError(f"{paths} repeats a file: write each once")
        return paths


class FromExtension(_Silent):
    """Settings of a stage. `extension`: SHA-256 (hex) of the user's file that the stage runs, where its
    family, benchmark or auxiliary task comes from one."""

    extension: str | None = None
