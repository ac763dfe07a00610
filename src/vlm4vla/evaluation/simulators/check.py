"""Whether a simulator can be started at all: checked before a study begins, and before a job's server."""

from __future__ import annotations

import importlib.util
import shutil
import sys
from pathlib import Path

from vlm4vla.config.simulators import Simulator
from vlm4vla.conventions.simulators import HARNESS, HARNESS_MODULE, HARNESS_VERSION
from vlm4vla.core.errors import UserError

# How the environments are made: envs/NAME/README.md says more.
MADE_BY = {
    "libero": "make env-libero",
    "calvin": "envs/calvin/README.md",
    "simplerenv": "envs/simplerenv/README.md",
}


def check_installed(simulator: Simulator, benchmark: str) -> None:
    """Raise UserError with one line when vla-eval, the simulator or docker is not where it should be."""
    runs, key = simulator.runs, f"benchmarks.{benchmark}.evaluation.simulator"
    if importlib.util.find_spec(HARNESS_MODULE) is None:
        raise UserError(
            f"{key}: {HARNESS} is not installed in {sys.prefix}, where the policy is served: "
            f"`{Path(sys.prefix) / 'bin' / 'pip'} install {HARNESS}=={HARNESS_VERSION}`"
        )
    how = MADE_BY.get(simulator.adapter, "install it there")
    if runs.container is not None:
        if shutil.which("docker") is None:
            raise UserError(
                f"{key}.runs.container: docker is not installed: install it, or write runs.environment "
                f"({how})"
            )
        return
    where = Path(runs.environment).expanduser() if runs.environment is not None else Path(sys.prefix)
    if not (where / "bin" / "python").exists():
        raise UserError(f"{key}.runs.environment: {str(where)!r} is no virtual environment: make it ({how})")
    for module in (HARNESS_MODULE, simulator.convention.module):
        if module is not None and not _holds(where, module, own=runs.environment is None):
            raise UserError(f"{key}: {module!r} is not installed in {where}: make that environment ({how})")


def _holds(environment: Path, module: str, own: bool) -> bool:
    if own:
        return importlib.util.find_spec(module) is not None
    packages = list(environment.glob("lib/python3*/site-packages"))
    return any(
        (folder / module).exists()
        or (folder / f"{module}.py").exists()
        or any(module in path.read_text() for path in folder.glob("__editable__*.py"))
        or any(_on_path(path, module) for path in folder.glob("*.pth"))
        for folder in packages
    )


def _on_path(path: Path, module: str) -> bool:
    """Whether a .pth file leads to a folder with the module: an editable installation."""
    return any(
        (Path(line) / module).exists() for line in path.read_text().splitlines() if line.startswith("/")
    )
