"""The stage demonstrations: scripted experts are recorded, or a data set is taken."""

from __future__ import annotations

from pathlib import Path

from vlm4vla.config.stages import DemonstrationsSettings


def run(settings: DemonstrationsSettings, *, output: Path) -> None:
    """Write `output`; see the two stages. A data set needs no simulator, and imports none."""
    if settings.demonstrations.dataset is not None:
        from vlm4vla.stages.demonstrations_dataset import run as take

        take(settings, output=output)
    else:
        from vlm4vla.stages.demonstrations_recorded import run as record

        record(settings, output=output)
