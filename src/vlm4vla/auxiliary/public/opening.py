"""Open a public dataset from its settings: find its files in a folder or on the hub."""

from __future__ import annotations

from pathlib import Path

from vlm4vla.auxiliary.public.conversations import Conversations
from vlm4vla.auxiliary.public.demonstrations import DemonstrationFrames
from vlm4vla.auxiliary.public.json_rows import JsonRows
from vlm4vla.auxiliary.public.sample import PublicSamples
from vlm4vla.auxiliary.public.table_rows import HubRows, ParquetRows
from vlm4vla.auxiliary.public.tables import Tables
from vlm4vla.config.public_sets import SetSettings
from vlm4vla.core.errors import UserError
from vlm4vla.core.inside import outside

DEMONSTRATION_FILES = ["meta/*", "meta/**", "data/**", "videos/**"]


def open_set(settings: SetSettings, name: str) -> tuple[PublicSamples, Path]:
    """Return the samples of a dataset, and the folder that contains the images of the samples.

    Raises UserError if the dataset, a file or a column does not exist. `name` starts the message.
    """
    folder = Path(settings.dataset).expanduser()
    tables = settings.layout in ("choices", "answers")
    columns = [column for column in settings.columns.values() if column]
    if not folder.is_dir():
        if settings.revision is None:
            raise UserError(
                f"{name}.dataset: {settings.dataset!r} is not a folder, and a dataset of the hub needs a "
                "commit: write `revision`, or the path of a folder"
            )
        if tables:
            rows = HubRows(settings.dataset, settings.revision, settings.split, columns)
            return Tables(rows, settings.columns, settings.frames), Path(settings.pictures).expanduser()
        folder = download(settings, name)
    pictures = folder / Path(settings.pictures).expanduser()  # an absolute path replaces `folder`
    if settings.layout == "demonstrations":
        return DemonstrationFrames(folder, settings), folder
    files = find_files(folder, settings.files, name, first=tables)
    if tables:
        return Tables(ParquetRows(files, columns), settings.columns, settings.frames), pictures
    return Conversations(JsonRows(files), settings.columns, settings.frames), pictures


def find_files(folder: Path, patterns: list[str], name: str, first: bool) -> list[Path]:
    """Return the files in `folder` that match the patterns, in order. Links out of the folder are refused.

    With `first`, only the first pattern that matches any file is used.
    """
    found: list[Path] = []
    for pattern in patterns:
        if Path(pattern).is_absolute():
            raise UserError(
                f"{name}.files: {pattern!r} is an absolute path: write a pattern relative to {str(folder)!r}"
            )
        found += [path for path in sorted(folder.glob(pattern)) if path.is_file() and path not in found]
        if found and first:
            break
    for path in found:
        if (problem := outside(folder, path.relative_to(folder).as_posix())) is not None:
            raise UserError(f"{path}: {problem}")
    if not found:
        raise UserError(
            f"{name}.files: {str(folder)!r} has no file that matches {' or '.join(map(repr, patterns))}: "
            "write a pattern that matches the dataset's files"
        )
    return found


def download(settings: SetSettings, name: str) -> Path:
    """Download a dataset of the hub at its revision into the hub's cache, and return its folder.

    An interrupted download resumes.
    """
    from huggingface_hub import snapshot_download
    from huggingface_hub.errors import HfHubHTTPError, HFValidationError, LocalEntryNotFoundError

    wanted = DEMONSTRATION_FILES if settings.layout == "demonstrations" else list(settings.files)
    if settings.pictures and not Path(settings.pictures).expanduser().is_absolute():
        wanted = [*wanted, f"{settings.pictures}/**"]
    try:
        found = snapshot_download(
            settings.dataset, repo_type="dataset", revision=settings.revision, allow_patterns=wanted
        )
    except (HfHubHTTPError, HFValidationError, LocalEntryNotFoundError, OSError) as error:
        raise UserError(
            f"{name}.dataset: {settings.dataset!r} at {settings.revision!r} cannot be downloaded "
            f"({str(error).splitlines()[0]}): check name and revision, or write the path of a folder"
        ) from None
    return Path(found)
