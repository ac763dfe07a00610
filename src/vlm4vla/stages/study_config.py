"""The configuration that a study was made with, as an artefact of its own: to run again and to read."""

from __future__ import annotations

from html import escape
from pathlib import Path

import yaml

from vlm4vla.config.config import Config
from vlm4vla.core.artefacts import write_text
from vlm4vla.report.pages.page import page


def run(config: Config, *, output: Path) -> list[Path]:
    """Write `output`/config.yaml, every default written out, and the same as a page, config.html."""
    text = yaml.safe_dump(config.model_dump(mode="json"), sort_keys=False, allow_unicode=True, width=110)
    made = output / "config.yaml"
    write_text(made, f"# The study {config.study} as it was run, with every default.\n{text}")
    write_text(output / "config.html", page(f"Configuration of {config.study}", f"<pre>{escape(text)}</pre>"))
    return [made, output / "config.html"]
