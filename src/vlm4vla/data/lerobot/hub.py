"""Download the needed files of a dataset from the Hugging Face hub, at a fixed revision, into its cache."""

from __future__ import annotations

import os
from collections.abc import Sequence
from fnmatch import fnmatch
from pathlib import Path

from vlm4vla.core.disk import check_room
from vlm4vla.core.errors import UserError

META = ("meta/*",)


def dataset_folder(dataset: str, revision: str | None, patterns: Sequence[str], key: str) -> Path:
    """Return the folder of a dataset, after downloading the files that match `patterns` if it is on the hub.

    `dataset` is a folder, or a name on the hub together with `revision`. `key` is the key of config.yaml that
    contains both. Files in the hub's cache are not downloaded again, and interrupted downloads resume. With
    HF_HUB_OFFLINE=1, only the cache is used. Raises UserError for an invalid name, revision or token, for
    files that cannot be downloaded, and for a disk without enough space.
    """
    local = Path(dataset).expanduser()
    check_no_revision(dataset, revision, key)
    if revision is None:
        if local.is_dir():
            return local
        raise UserError(
            f"{key}.dataset: folder {dataset!r} does not exist: write the folder of a dataset, or the "
            "name of a dataset on the hub together with its `revision`"
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
            _check_download_fits(dataset, revision, patterns, where)
        path = snapshot_download(
            dataset, repo_type="dataset", revision=revision, allow_patterns=list(patterns)
        )
    except GatedRepoError:
        raise UserError(
            f"{where}: is gated: accept its terms on its page on the hub, and log in with `hf auth login` or "
            "set HF_TOKEN"
        ) from None
    except RevisionNotFoundError:
        raise UserError(
            f"{key}.revision: {dataset!r} has no revision {revision!r}: write a commit, tag or branch"
        ) from None
    except RepositoryNotFoundError:
        raise UserError(
            f"{where}: is not on the hub, or is private: check the name, or log in with `hf auth login`"
        ) from None
    except LocalEntryNotFoundError as error:
        why = "HF_HUB_OFFLINE is set" if constants.is_offline_mode() else "the hub cannot be reached"
        raise UserError(
            f"{where}: {why}, and the cache {constants.HF_HUB_CACHE} does not contain all its files "
            f"({_first_line(error)}): download the dataset on a machine that reaches the hub, or write the "
            "path of a folder"
        ) from None
    except (HTTPError, HFValidationError, OSError) as error:
        raise UserError(
            f"{where}: cannot be downloaded ({_first_line(error)}): run again to resume the download, or "
            "write the path of a folder"
        ) from None
    return Path(path)


def cached_folder(dataset: str, revision: str) -> Path | None:
    """Return the snapshot of a dataset in the hub's cache, as far as it is there, if the hub is switched off.

    None with a connection to the hub, which can complete a snapshot, and if the cache has no snapshot.
    """
    from huggingface_hub import constants, snapshot_download
    from huggingface_hub.errors import HFValidationError, LocalEntryNotFoundError

    if not constants.is_offline_mode():
        return None
    try:
        return Path(snapshot_download(dataset, repo_type="dataset", revision=revision, allow_patterns=META))
    except (LocalEntryNotFoundError, HFValidationError, OSError):
        return None


def check_no_revision(dataset: str, revision: str | None, key: str) -> None:
    """Raise UserError for a folder with a `revision`: only datasets on the hub have revisions."""
    if revision is not None and dataset.startswith(("/", "~", ".")):
        raise UserError(
            f"{key}.revision: {dataset!r} is a folder, which has no revision: write `revision: null`"
        )


def camera_patterns(camera: str, video: bool) -> list[str]:
    """Return the patterns of the files to download: the tables and, with `video`, the videos of one camera.

    The patterns match the layouts of both v2.x and v3.0.
    """
    tables = [*META, "data/*"]
    return [*tables, f"videos/{camera}/*", f"videos/*/{camera}/*"] if video else tables


def _check_download_fits(dataset: str, revision: str, patterns: Sequence[str], where: str) -> None:
    """Check that the cache's disk has space for the download, unless the hub does not return file sizes."""
    from huggingface_hub import HfApi, constants
    from huggingface_hub.errors import HTTPError, OfflineModeIsEnabled

    try:
        api = HfApi()
        commit = api.dataset_info(dataset, revision=revision).sha
        files = api.list_repo_tree(dataset, repo_type="dataset", revision=commit, recursive=True)
        sizes = {file.path: getattr(file, "size", None) or 0 for file in files}
    except (HTTPError, OfflineModeIsEnabled, OSError):
        return  # the download itself reports the error
    cache = Path(constants.HF_HUB_CACHE)
    cached = cache / f"datasets--{dataset.replace('/', '--')}" / "snapshots" / str(commit)
    needed = sum(
        size
        for path, size in sizes.items()
        if any(fnmatch(path, pattern) for pattern in patterns) and not (cached / path).exists()
    )
    check_room(cache, needed, f"{where}: the download", "set HF_HOME to a folder on a larger disk")


def _first_line(error: BaseException) -> str:
    lines = str(error).strip().splitlines()
    return lines[0] if lines else os.strerror(getattr(error, "errno", None) or 5)
