"""What the Snakefile calls before it has any rule."""

from __future__ import annotations

import os
import shutil
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from vlm4vla import extensions
from vlm4vla.artefacts import UserError
from vlm4vla.preflight import open_study, release_stale_lock
from vlm4vla.simulators.check import check_simulators_installed
from vlm4vla.study import Study


def requested_targets() -> list[str]:
    """Targets on the command line; Snakemake itself knows them only after it has read the Snakefile."""
    from snakemake.cli import parse_args

    if Path(sys.argv[0]).name not in ("snakemake", "__main__.py"):
        return []
    _, arguments = parse_args(sys.argv[1:])
    return [str(target) for target in arguments.targets]


def is_dry_run() -> bool:
    """Whether Snakemake was asked only to say what it would do."""
    return any(word in sys.argv for word in ("-n", "--dry-run", "--dryrun", "--lint", "--report"))


def begin(config: Mapping[str, Any]) -> Study:
    """Check everything and return the study; a user's mistake ends Snakemake with its lines and status 1."""
    try:
        study = open_study(config, requested_targets())
        if not is_dry_run():
            check_simulators_installed(study.config)
    except UserError as error:
        for line in str(error).splitlines():
            print(f"error: {line}", file=sys.stderr)
        sys.stdout.flush()
        sys.stderr.flush()
        # Snakemake answers any exception, SystemExit too, with a traceback of the Snakefile.
        os._exit(1)
    extensions.share()  # jobs run them where they need them
    # Jobs find the package's command although nobody has activated the environment.
    if shutil.which("vlm4vla") is None:
        os.environ["PATH"] = os.pathsep.join((str(Path(sys.executable).parent), os.environ.get("PATH", "")))
    if release_stale_lock(Path.cwd()):
        print("The last run was killed: its lock is removed, and what it left is resumed.", file=sys.stderr)
    return study
