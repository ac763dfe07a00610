"""Check that a simulator is installed, before a study begins and before a job starts its policy server."""

from __future__ import annotations

import importlib.metadata
import importlib.util
import shutil
import sys
from pathlib import Path

from vlm4vla.config.simulators import Simulator
from vlm4vla.conventions.simulators import HARNESS, HARNESS_MODULE, HARNESS_VERSION
from vlm4vla.core.errors import UserError


def check_installed(simulator: Simulator, benchmark: str) -> None:
    """Raise UserError if vla-eval, the simulator or docker is not installed where it is needed.

    vla-eval must have the version that this package's classes are written for, and the simulator the one that
    its initial states belong to, if they depend on the version.
    """
    runs, key = simulator.runs, f"benchmarks.{benchmark}.evaluation.simulator"
    if importlib.util.find_spec(HARNESS_MODULE) is None:
        raise UserError(
            f"{key}: {HARNESS} is not installed in {sys.prefix}, where the policy server runs: run "
            "`make env-vla-eval`"
        )
    _check_version(Path(sys.prefix), HARNESS, HARNESS_VERSION, key, "run `make env-vla-eval`")
    how = simulator.convention.installation
    if runs.container is not None:
        if shutil.which("docker") is None:
            raise UserError(
                f"{key}.runs.container: docker is not installed: install it, or write runs.environment "
                f"({how})"
            )
        return
    where = Path(runs.environment).expanduser() if runs.environment is not None else Path(sys.prefix)
    if not (where / "bin" / "python").exists():
        raise UserError(
            f"{key}.runs.environment: {str(where)!r} is not a virtual environment: create it ({how})"
        )
    for module in (HARNESS_MODULE, simulator.convention.module):
        if module is not None and not _has_module(where, module, own=runs.environment is None):
            raise UserError(f"{key}: {module!r} is not installed in {where}: create the environment ({how})")
    again = f"create the environment again ({how})"
    _check_version(where, HARNESS, HARNESS_VERSION, key, again)
    if simulator.convention.module is not None and simulator.convention.version is not None:
        _check_version(where, simulator.convention.module, simulator.convention.version, key, again)


def _check_version(environment: Path, package: str, wanted: str, key: str, remedy: str) -> None:
    """Raise UserError if another version of `package` is installed in `environment`."""
    found = _version(environment, package)
    if found != wanted:
        raise UserError(
            f"{key}: {package} {found or 'without a version'} is installed in {environment}, and this study "
            f"needs {wanted}: {remedy}"
        )


def _version(environment: Path, package: str) -> str | None:
    """The version of `package` that is installed in `environment`, or None."""
    folders = [str(each) for each in environment.glob("lib/python3*/site-packages")]
    found = importlib.metadata.distributions(name=package, path=folders)
    return next((each.version for each in found), None)


def _has_module(environment: Path, module: str, own: bool) -> bool:
    """Whether `module` is installed in `environment`. `own`: it is the environment of this process."""
    if own:
        return importlib.util.find_spec(module) is not None
    packages = list(environment.glob("lib/python3*/site-packages"))
    return any(
        (folder / module).exists()
        or (folder / f"{module}.py").exists()
        or any(module in path.read_text() for path in folder.glob("__editable__*.py"))
        or any(_is_on_path(path, module) for path in folder.glob("*.pth"))
        for folder in packages
    )


def _is_on_path(path: Path, module: str) -> bool:
    """Whether a .pth file names a folder that contains the module, as in an editable installation."""
    return any(
        (Path(line) / module).exists() for line in path.read_text().splitlines() if line.startswith("/")
    )
