"""A finished folder stays as it is until its successor is whole.

A stage that runs again for a finished folder writes to a hidden folder in it, and resumes there if it was
interrupted. When the stage has finished, the new files take the place of the old ones, provenance.json last.

Snakemake's outputs are set aside before a job starts (workflow/kept_outputs.py): they have hidden names
meanwhile.
"""

from __future__ import annotations

import shutil
from pathlib import Path

NEXT = ".next"  # in a finished folder: its unfinished successor
WHOLE = ".whole"  # the finished successor, when the old files are gone
FINISHED = "provenance.json"
# Environment variable of the workflow's jobs: the output that a job declares was set aside before the job
# started. If it is there, a job that a killed run has left behind has finished it in the meantime.
OF_WORKFLOW = "VLM4VLA_JOB_OF_WORKFLOW"


def aside(path: Path) -> Path:
    """Where an output is while a job makes its successor."""
    return path.with_name(f".{path.name}.set-aside")


def unconfirmed(path: Path) -> Path:
    """The mark of an output set aside: its job had ended, but its run was killed before it recorded that."""
    return path.with_name(f".{path.name}.unconfirmed")


def work_folder(output: Path) -> Path:
    """The folder that a stage writes to: `output`, or a hidden folder in it if `output` is finished."""
    finished = output / FINISHED
    stands = output.name != NEXT and (finished.exists() or aside(finished).exists())
    return output / NEXT if stands else output


def replace(output: Path) -> None:
    """Put the files of the finished successor in the place of the old files.

    This only removes and renames, so that a full disk does not stop it. After an interruption,
    `finish_replacing` goes on.
    """
    (output / FINISHED).unlink(missing_ok=True)  # it describes what goes now
    for path in output.iterdir():
        if not path.name.startswith("."):
            _remove(path)
    (output / NEXT).rename(output / WHOLE)
    finish_replacing(output)


def finish_replacing(output: Path) -> bool:
    """Move the files of the successor whose predecessor is gone. Returns whether there were any."""
    if not (output / WHOLE).is_dir():
        return False
    for path in sorted((output / WHOLE).iterdir(), key=lambda path: path.name == FINISHED):
        _remove(output / path.name)
        path.rename(output / path.name)
    (output / WHOLE).rmdir()
    return True


def _remove(path: Path) -> None:
    if path.is_dir() and not path.is_symlink():
        shutil.rmtree(path)
    else:
        path.unlink(missing_ok=True)
