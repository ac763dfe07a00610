"""The scales of a study, and the files that override config.yaml for each of them."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any, Literal, Self

Scale = Literal["embedded", "smoke", "paper", "released"]
BASE = Path("config.yaml")
FOLDER = Path("workflow/scales")
# The files over config.yaml, in the order of --configfile.
LAYERS: dict[str, tuple[Path, ...]] = {
    "embedded": (),
    "smoke": (FOLDER / "smoke.yaml",),
    "paper": (FOLDER / "paper.yaml",),
    "released": (FOLDER / "paper.yaml", FOLDER / "released.yaml"),
}
# The scales with real models and simulators, whose numbers can be compared with the published ones.
REAL = ("paper", "released")


class StudyScale(str):
    """The scale of a study that also knows which of its benchmarks run on real simulators."""

    real: frozenset[str]

    def __new__(cls, name: str, real: Iterable[str] = ()) -> Self:
        scale = super().__new__(cls, name)
        scale.real = frozenset(real)
        return scale

    @classmethod
    def of(cls, analyses: Iterable[Mapping[str, Any]]) -> Self:
        """The scale of the study that made `analyses`, one of each table; `paper` if there is none."""
        settings = [analysis["settings"] for analysis in analyses]
        real = {name for each in settings for name in each.get("real", ())}
        return cls(settings[0]["scale"] if settings else "paper", real)

    def is_real(self, benchmark: str) -> bool:
        """Whether `benchmark` is the real one."""
        return self in REAL or benchmark in self.real
