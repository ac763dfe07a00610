"""The families of backbones by name: built in, or of a user's own file; no heavy import here."""

from __future__ import annotations

from vlm4vla.core import registry
from vlm4vla.core.registry import FAMILIES

# Families whose text model no expert head can read: it has no rotary positions and another call.
NOT_READ = ("kosmos-2",)


def families() -> list[str]:
    """What `family` may be: the built-in ones, then those of the user's own."""
    return [*FAMILIES, *registry.names("family")]


def is_read(family: str) -> bool:
    """Whether expert heads can read the family's language model."""
    own = registry.find("family", family) if family not in FAMILIES else None
    return family not in NOT_READ if own is None else own.is_read
