"""Import everything that jobs import, so that Python writes its byte code. `make env` runs this program.

Python writes the byte code of all other modules when they are imported for the first time.
"""

from __future__ import annotations

import importlib
import pkgutil
from collections.abc import Iterator


def modules_of(package: str) -> Iterator[str]:
    """The names of a package and of all modules in it, without those that run when they are imported."""
    yield package
    for found in pkgutil.walk_packages(importlib.import_module(package).__path__, f"{package}."):
        if not found.name.endswith("__main__"):
            yield found.name


if __name__ == "__main__":
    for name in ("snakemake.cli", "snakemake.workflow", *modules_of("vlm4vla")):
        try:
            importlib.import_module(name)
        except ImportError as error:
            if error.name != "vla_eval":  # an extra; docs/simulators.md
                raise
