"""What a rule has made stays until its successor is whole.

Snakemake removes the outputs of a job before the job starts, and those of a failed job at its end: a failing
rerun would leave nothing of what stood. Its own flag `update` is no way out. After a failed job it restores
the files but records the new settings for them, so that the next run takes old files for new ones (9.27.1;
see findings/snakemake-update-flag-keeps-old-files-with-new-settings.sh).

Here a job's outputs are set aside under hidden names next to them. They come back, with their times and
Snakemake's record of them, if the job fails, and are removed when it has succeeded. A list of them lies in
Snakemake's folder, so that the next run puts them back if this one is killed.
"""

from __future__ import annotations

import contextlib
import hashlib
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from vlm4vla.core.artefacts import parse_json, remove_unfinished_file, write_json
from vlm4vla.core.successor import aside, unconfirmed

LISTS = Path(".snakemake") / "set_aside"


def set_aside(outputs: list[Path], lists: Path = LISTS) -> list[Path]:
    """Rename the files among `outputs`, and list them. Returns those that were renamed.

    The temporary files that a killed job has left next to its outputs are removed. A stage does that itself.
    """
    for path in outputs:
        if not _has_lock(path):
            remove_unfinished_file(path)
    moved = [path for path in outputs if path.is_file() and not path.is_symlink()]
    if moved:
        write_json(_list_of(outputs, lists), [str(path) for path in outputs])
    for path in moved:
        path.replace(aside(path))
    return moved


def put_back(outputs: list[Path], lists: Path = LISTS) -> list[Path]:
    """Undo `set_aside`, over whatever an unfinished job has left. Returns the files that came back."""
    back = [path for path in outputs if aside(path).is_file()]
    for path in back:
        aside(path).replace(path)
    for path in outputs:
        unconfirmed(path).unlink(missing_ok=True)
    _list_of(outputs, lists).unlink(missing_ok=True)
    return back


def forget(outputs: list[Path], lists: Path = LISTS) -> None:
    """Remove what was set aside, because the job has succeeded."""
    for path in outputs:
        aside(path).unlink(missing_ok=True)
        unconfirmed(path).unlink(missing_ok=True)
    _list_of(outputs, lists).unlink(missing_ok=True)


def put_back_all(lists: Path = LISTS) -> list[Path]:
    """Put back what the jobs of a killed run set aside. No other run may be active.

    A job may have ended after its run was killed. Its outputs are whole if all are there, and stay.
    """
    back = []
    for path in sorted(lists.glob("[!.]*.json")):
        outputs = None
        with contextlib.suppress(OSError, ValueError):
            outputs = parse_json(path.read_text())
        if isinstance(outputs, list) and all(isinstance(each, str) for each in outputs):
            paths = [Path(each) for each in outputs]
            if paths and all(path.is_file() for path in paths):
                forget(paths, lists)
            else:
                back += put_back(paths, lists)
        path.unlink(missing_ok=True)
    return back


def _has_lock(path: Path) -> bool:
    """Whether the output is of a stage, so that a job of a killed run may still be writing it."""
    return path.with_name(".lock").exists() or path.with_name(f".{path.stem}.lock").exists()


def _list_of(outputs: list[Path], lists: Path) -> Path:
    name = hashlib.sha256("\n".join(map(str, outputs)).encode()).hexdigest()[:32]
    return lists / f"{name}.json"


def _local(job: Any) -> list[Path]:
    return [Path(file) for file in job.output if not file.is_storage]


def install(job_class: type[Any]) -> None:
    """Make Snakemake's class of jobs (`snakemake.jobs.Job`) keep outputs. Once per process."""
    from snakemake.exceptions import RuleException, WorkflowError

    if getattr(job_class.postprocess, "keeps_outputs", False):
        return
    remove, postprocess = job_class.remove_existing_output, job_class.postprocess

    async def remove_existing_output(self: Any) -> None:
        # A job of a killed run may have finished these outputs: then the stage need not do it again.
        unrecorded = {Path(file) for file in await self.dag.workflow.persistence.incomplete(self)}
        for path in set_aside(_local(self)):
            if path in unrecorded:
                unconfirmed(path).touch()
        await remove(self)

    records_before: dict[tuple[str, ...], dict[str, Any]] = {}  # by the outputs of a job

    async def keeping(self: Any, *arguments: Any, **options: Any) -> None:
        if not _is_main(self):
            await postprocess(self, *arguments, **options)
            return
        persistence, outputs = self.dag.workflow.persistence, tuple(map(str, self.output))
        if outputs not in records_before:  # Snakemake overwrites or removes them if the job has failed
            records_before[outputs] = {str(file): persistence.metadata(file) for file in self.output}
        error = bool(options.get("error"))
        failed, called_again = True, False
        try:
            await postprocess(self, *arguments, **options)
            failed = error
        except (RuleException, WorkflowError):
            # An output is missing, for example. Snakemake now calls this again, with `error`, and removes the
            # outputs that it finds: what was set aside must not be back before that.
            called_again = not error
            raise
        finally:
            if not called_again:
                _settle(self, failed, records_before.pop(outputs))

    keeping.keeps_outputs = True
    job_class.remove_existing_output, job_class.postprocess = remove_existing_output, keeping


def _is_main(job: Any) -> bool:
    """Whether this is the Snakemake of the user, not one that runs a single job for it."""
    from snakemake_interface_executor_plugins.settings import ExecMode

    return bool(job.dag.workflow.exec_mode == ExecMode.DEFAULT)


def _settle(job: Any, failed: bool, records: Mapping[str, Any]) -> None:
    outputs = _local(job)
    if not failed:
        forget(outputs)
        return
    persistence, back = job.dag.workflow.persistence, {str(path) for path in put_back(outputs)}
    for file in job.output:
        if str(file) in back:
            persistence.cleanup_metadata(file)
            if records[str(file)] is not None:
                persistence._write_record(persistence._get_key(file), records[str(file)])
