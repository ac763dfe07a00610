"""Delete files of installed packages that nothing of a study loads: tests, tools, files for other systems.

Usage: .venv/bin/python workflow/slim.py, which `make env` runs. It deletes files that a package's own list
of files (RECORD) names, in the environment of the Python that runs it. It edits nothing: pip still knows the
packages, and `pip check` and `pip uninstall` work as before. `pip install --force-reinstall --no-deps
PACKAGE==VERSION` brings the files of a package back. docs/set-up.md names what is missing afterwards.
"""

from __future__ import annotations

import shutil
from collections.abc import Iterator
from fnmatch import fnmatchcase
from importlib import metadata
from pathlib import Path
from platform import machine

# PuLP brings its solver for each processor of Linux.
OTHER_CBC = f"pulp/solverdir/cbc/linux/{'i64' if machine() in ('aarch64', 'arm64') else 'arm64'}/*"
# Patterns of paths in site-packages by package. `*` also stands for `/`, and a text is a list of patterns.
UNUSED = {
    "diffusers": "diffusers/pipelines/* diffusers/modular_pipelines/*",  # ready-made image generators
    "h5py": "h5py/tests/*",
    "matplotlib": "*/tests/*",
    "mpmath": "mpmath/tests/*",
    # An interactive viewer with a window of its own (mujoco.viewer stays), and headers for C programs.
    "mujoco": "mujoco/experimental/* mujoco/include/*",
    "networkx": "*/tests/*",
    "numpy": "*/tests/*",
    "pandas": "pandas/tests/*",
    "pulp": f"pulp/solverdir/cbc/win/* pulp/solverdir/cbc/osx/* pulp/solverdir/cbc/linux/i32/* {OTHER_CBC}",
    # Files for C++ and Cython programs, and Flight, which sends Arrow tables over a network. The library is
    # loaded by the name libarrow_python.so.MAJOR; the other two names are copies for compilers.
    "pyarrow": "pyarrow/tests/* pyarrow/include/* pyarrow/src/* pyarrow/*.pxd pyarrow/*.pxi pyarrow/*.pyx "
    "pyarrow/libarrow_python.so pyarrow/libarrow_python.so.*.* pyarrow/*_flight* pyarrow/flight.py",
    "pyopengl": "OpenGL/DLLS/*",  # of Windows
    "scipy": "*/tests/*",
    "sympy": "*/tests/*",
    "torch": "torch/test/* torch/lib/*_test.so torch/bin/*test* torch/bin/*Test* torch/bin/protoc*",
}


def unused_files() -> Iterator[Path]:
    """The files of the installed packages that UNUSED describes and that are still there."""
    for name, patterns in UNUSED.items():
        try:
            files = metadata.distribution(name).files or ()
        except metadata.PackageNotFoundError:
            continue
        for file in files:
            if any(fnmatchcase(file.as_posix(), pattern) for pattern in patterns.split()):
                path = Path(str(file.locate()))
                if path.is_file():
                    yield path


def delete(paths: list[Path]) -> int:
    """Delete files, and folders in which only byte code is left. Returns the space on disk in bytes."""
    freed = 0
    for path in paths:
        freed += path.stat().st_blocks * 512
        path.unlink()
    for folder in {path.parent for path in paths}:
        while folder.is_dir() and {entry.name for entry in folder.iterdir()} <= {"__pycache__"}:
            shutil.rmtree(folder)
            folder = folder.parent
    return freed


if __name__ == "__main__":
    found = list(unused_files())
    if found:
        freed = delete(found) / 1e6
        print(f"environment: deleted {freed:.0f} MB of tests and tools inside packages (docs/set-up.md)")
