"""Write the configuration of a study to its results folder: as a YAML file and as a page."""

from __future__ import annotations

from html import escape
from pathlib import Path

import yaml

from vlm4vla.config.config import Config
from vlm4vla.core.artefacts import write_text
from vlm4vla.report.pages.page import html_page


def run(config: Config, *, output: Path) -> list[Path]:
    """Write config.yaml with all default values, and the same as config.html, to the folder `output`."""
    text = yaml.safe_dump(config.model_dump(mode="json"), sort_keys=False, allow_unicode=True, width=110)
    path = output / "config.yaml"
    write_text(path, f"# The configuration of the study {config.study}, with all default values.\n{text}")
    write_text(
        output / "config.html", html_page(f"Configuration of {config.study}", f"<pre>{escape(text)}</pre>")
    )
    return [path, output / "config.html"]
