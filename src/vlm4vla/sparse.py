"""Settings whose later keys stand in JSON only where they are set.

Snakemake compares a stage's settings as JSON, and a key that appears there reruns the stage. A key that was
added later is therefore left out while it has its default.
"""

from __future__ import annotations

from typing import Any, ClassVar

from pydantic import SerializerFunctionWrapHandler, model_serializer

from vlm4vla.fields import Strict


class Sparse(Strict):
    """`LATER`: names of the keys that are left out of JSON at their default."""

    LATER: ClassVar[frozenset[str]] = frozenset()

    @model_serializer(mode="wrap")
    def _without_defaults(self, write: SerializerFunctionWrapHandler) -> dict[str, Any]:
        fields = type(self).model_fields
        return {
            key: value
            for key, value in write(self).items()
            if key not in self.LATER
            or getattr(self, key) != fields[key].get_default(call_default_factory=True)
        }
