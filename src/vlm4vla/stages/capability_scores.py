"""The stage capability-scores: a published score stands in place of a measured one."""

from __future__ import annotations

from pathlib import Path

from vlm4vla.config.stages import ScoresSettings
from vlm4vla.core.artefacts import Provenance, write_json
from vlm4vla.evaluation.capability.entries import entry


def run(settings: ScoresSettings, *, output: Path) -> None:
    """Write the JSON file `output` as the capability stage does; what it says stands in the settings."""
    inputs = {"scores": Path(settings.file).expanduser()}
    provenance = Provenance("capability-scores", settings.model_dump(mode="json"), inputs, None)
    sets = {name: entry(score) for name, score in settings.sets.items()}
    overall = entry(settings.overall)
    write_json(output, {"sets": sets, "overall": overall, "provenance": provenance.record()})
