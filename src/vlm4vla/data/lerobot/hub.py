"""Data sets from the Hugging Face hub: the files that are needed, at a pinned revision, in its cache."""

from __future__ import annotations

import os
import shutil
from collections.abc import Sequence
from fnmatch import fnmatch
from pathlib import Path

from vlm4vla.core.errors import UserError

META = ("meta/*",)


def dataset_folder(dataset: str, revision: str | None, patterns: Sequence[str], key: str) -> Path:
    """The folder of a data set: `dataset` itself where it is one, else the hub's files that match `patterns`.

    `key` of config.yaml holds `dataset` and `revision`. Files that are in the hub's cache are not downloaded
    again, and a file that was cut off goes on; HF_HUB_OFFLINE=1 asks the cache alone. Raises UserError for a
    name, revision or token that will not do, for files that cannot be had, and for a disk without room.
    """
    local = Path(dataset).expanduser()
    check_no_revision(dataset, revision, key)
    if revision is None:
        if local.is_dir():
            return local
        raise UserError(
            f"{key}.dataset: folder {dataset!r} does not exist: write the folder of a data set, or a hub "
            "name together with its `revision`"
        )
    from huggingface_hub import constants, snapshot_download
    from huggingface_hub.errors import (
        GatedRepoError,
        HFValidationError,
        HTTPError,
        LocalEntryNotFoundError,
        RepositoryNotFoundError,
        RevisionNotFoundError,
    )

    where = f"{key}.dataset: {dataset!r} at {revision!r}"
    try:
        if not constants.is_offline_mode():
            _check_room(dataset, revision, patterns, where)
        path = snapshot_download(
            dataset, repo_type="dataset", revision=revision, allow_patterns=list(patterns)
        )
    except GatedRepoError:
        raise UserError(
            f"{where}: is gated: accept its terms on the hub's page, and log in with `hf auth login` or set "
            "HF_TOKEN"
        ) from None
    except RevisionNotFoundError:
        raise UserError(
            f"{key}.revision: {dataset!r} has no revision {revision!r}: write a commit, tag or branch of it"
        ) from None
    except RepositoryNotFoundError:
        raise UserError(
            f"{where}: is not on the hub, or is private: check the name, or log in with `hf auth login`"
        ) from None
    except LocalEntryNotFoundError as error:
        why = "HF_HUB_OFFLINE is set" if constants.is_offline_mode() else "the hub cannot be reached"
        raise UserError(
            f"{where}: {why}, and the cache {constants.HF_HUB_CACHE} does not hold all of its files "
            f"({_first_line(error)}): download it where the hub can be reached, or write the path of a folder"
        ) from None
    except (HTTPError, HFValidationError, OSError) as error:
        raise UserError(
            f"{where}: cannot be downloaded ({_first_line(error)}): run again to go on, or write the path of "
            "a folder"
        ) from None
    return Path(path)


def check_no_revision(dataset: str, revision: str | None, key: str) -> None:
    """Refuse a `revision` beside a folder: only what the hub holds has one."""
    if revision is not None and dataset.startswith(("/", "~", ".")):
        raise UserError(f"{key}.revision: {dataset!r} is a folder: write `revision: null` beside it")


def camera_patterns(camera: str, video: bool) -> list[str]:
    """What frames need of a data set: its tables, and the videos of one camera, as v2.x or v3.0 has them."""
    tables = [*META, "data/*"]
    return [*tables, f"videos/{camera}/*", f"videos/*/{camera}/*"] if video else tables


def _check_room(dataset: str, revision: str, patterns: Sequence[str], where: str) -> None:
    """Refuse a download that the disk of the cache cannot take. What the hub does not tell is not checked."""
    from huggingface_hub import HfApi, constants
    from huggingface_hub.errors import HTTPError, OfflineModeIsEnabled

    try:
        api = HfApi()
        commit = api.dataset_info(dataset, revision=revision).sha
        files = api.list_repo_tree(dataset, repo_type="dataset", revision=commit, recursive=True)
        sizes = {file.path: getattr(file, "size", None) or 0 for file in files}
    except (HTTPError, OfflineModeIsEnabled, OSError):
        return  # the download itself says what is wrong
    cache = Path(constants.HF_HUB_CACHE)
    kept = cache / f"datasets--{dataset.replace('/', '--')}" / "snapshots" / str(commit)
    needed = sum(
        size
        for path, size in sizes.items()
        if any(fnmatch(path, pattern) for pattern in patterns) and not (kept / path).exists()
    )
    place = next(folder for folder in (cache, *cache.parents) if folder.exists())
    free = shutil.disk_usage(place).free
    if needed > free:
        raise UserError(
            f"{where}: {needed / 1e9:.1f} GB are to be downloaded, and the disk of {cache} has "
            f"{free / 1e9:.1f} GB free: free some room, or set HF_HOME to a folder with more"
        )


def _first_line(error: BaseException) -> str:
    lines = str(error).strip().splitlines()
    return lines[0] if lines else os.strerror(getattr(error, "errno", None) or 5)
