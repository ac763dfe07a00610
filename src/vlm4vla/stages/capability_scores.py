"""The stage capability-scores: published question scores instead of measured ones."""

from __future__ import annotations

from pathlib import Path

from vlm4vla.config.stages import ScoresSettings
from vlm4vla.core.artefacts import Provenance, write_json
from vlm4vla.evaluation.capability.published_scores import score_json


def run(settings: ScoresSettings, *, output: Path) -> None:
    """Write the scores in the settings to the JSON file `output`, in the format of the stage capability."""
    inputs = {"scores": Path(settings.file).expanduser()}
    provenance = Provenance("capability-scores", settings.model_dump(mode="json"), inputs, None)
    sets = {name: score_json(score) for name, score in settings.sets.items()}
    overall = score_json(settings.overall)
    write_json(output, {"sets": sets, "overall": overall, "provenance": provenance.record()})
