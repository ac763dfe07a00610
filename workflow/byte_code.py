"""Import everything that jobs import, so that Python writes its byte code. `make env` runs this program.

Python writes the byte code of all other modules when they are imported for the first time. Two processes
share the modules, because most of the time goes into compiling.
"""

from __future__ import annotations

import importlib
import mmap
import os
import pkgutil
import sys
from collections.abc import Iterator, Sequence


def modules_of(package: str) -> Iterator[str]:
    """The names of a package and of all modules in it, without those that run when they are imported."""
    yield package
    for found in pkgutil.walk_packages(importlib.import_module(package).__path__, f"{package}."):
        if not found.name.endswith("__main__"):
            yield found.name


def import_untaken(names: Sequence[str], order: Sequence[int], taken: mmap.mmap) -> None:
    """Import `names` in an order, except those that another process has taken (bytes that are not 0)."""
    for number in order:
        if taken[number]:
            continue
        taken[number] = 1
        try:
            importlib.import_module(names[number])
        except ImportError as error:
            if error.name != "vla_eval":  # an extra; docs/simulators.md
                raise


if __name__ == "__main__":
    names = ["snakemake.cli", "snakemake.workflow", *modules_of("vlm4vla")]
    taken = mmap.mmap(-1, len(names))  # shared with the child
    order = range(len(names))
    child = os.fork()
    if not child:
        import_untaken(names, order[::-1], taken)
        sys.exit()
    import_untaken(names, order, taken)
    sys.exit(os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]))
