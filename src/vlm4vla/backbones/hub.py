"""Downloads of checkpoints from the Hugging Face hub at a pinned commit, into the shared Hugging Face cache.

If a download is interrupted, complete files stay in the cache and the next run fetches only the missing ones.
If the connection breaks, the download resumes inside the file. Cached files need no network. If
HF_HUB_OFFLINE is set, the network is not used at all.
"""

from __future__ import annotations

import re
import threading
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from types import TracebackType
from typing import Any, TypeVar

from vlm4vla.backbones.complete_folder import CONFIG, check_complete, check_names
from vlm4vla.backbones.folder_files import PATTERNS, MissingFileError
from vlm4vla.core.disk import check_room
from vlm4vla.core.errors import UserError
from vlm4vla.core.progress import Progress

COMMIT = re.compile("[0-9a-f]{40}")
ATTEMPTS = 5  # for a request, while the connection breaks or the hub is overloaded
PAUSE = 5.0  # seconds before the second attempt; doubled before each further attempt
ABANDONED = 3600.0  # seconds without a write, after which an unfinished file counts as abandoned

T = TypeVar("T")


def fetch(name: str, revision: str | None, patterns: Sequence[str], key: str) -> Path:
    """Download the files of model `name` at commit `revision` that match `patterns`; return their folder.

    `key`: the key of config.yaml that holds both. Raises UserError if the revision is None or not a commit,
    the name or the commit does not exist, the model is gated, the disk has no room, or the hub cannot be
    reached.
    """
    if revision is None:
        raise UserError(
            f"{key}.checkpoint: {name!r} is not a local folder, and a hub name needs a commit: write "
            "`revision`, or the path of a local folder"
        )
    try:
        return _fetch(name, revision, list(patterns), key)
    except _hub_errors() as error:
        raise UserError(_describe(error, name, revision, key)) from None


def _fetch(name: str, revision: str, patterns: list[str], key: str) -> Path:
    from huggingface_hub import HfApi, is_offline_mode, snapshot_download

    incomplete = ""
    try:
        cached = cached_snapshot(name, revision, patterns)
        if cached is not None:
            return cached
    except MissingFileError as error:  # an earlier download did not finish
        incomplete = f" as a whole ({error})"
    except UserError as error:
        raise UserError(f"{key}.checkpoint: {error}; remove this file from the cache first") from None
    if is_offline_mode():
        if not COMMIT.fullmatch(revision):
            raise UserError(
                f"{key}.revision: {revision!r} is not a commit, and HF_HUB_OFFLINE forbids looking it up: "
                "write the 40 hexadecimal digits of a cached commit"
            )
        raise UserError(
            f"{key}.checkpoint: {name!r} at {revision} is not in the cache {_cache_folder()}{incomplete}, "
            f"and HF_HUB_OFFLINE forbids downloads: run `hf download {name} --revision {revision}` where a "
            "network is available, or write the path of a local folder"
        )
    if not COMMIT.fullmatch(revision):
        commit = _retry(lambda: HfApi().model_info(name, revision=revision).sha)
        raise UserError(
            f"{key}.revision: {revision!r} is a branch, a tag or part of a commit, and its weights may "
            f"change: write its commit, {commit}"
        )
    files = _retry(lambda: snapshot_download(name, revision=revision, allow_patterns=patterns, dry_run=True))
    if not files:
        raise UserError(
            f"{key}.checkpoint: {name!r} has no file that matches {', '.join(patterns)}: write the name of a "
            "model"
        )
    check_names([file.filename for file in files], f"{key}.checkpoint: {name!r}")
    _discard_abandoned(name)
    size = sum(file.file_size or 0 for file in files if file.will_download)
    alternative = "set HF_HOME to a folder on a larger disk"
    check_room(_cache_folder(), size, f"{key}.checkpoint: {name!r}", alternative)
    with _DownloadProgress(name, size):
        return Path(_retry(lambda: snapshot_download(name, revision=revision, allow_patterns=patterns)))


def fetch_config(name: str, revision: str, key: str) -> Path:
    """The folder of the cache with config.json of model `name` at commit `revision`, which is downloaded.

    `key`: the key of config.yaml that holds both. Raises UserError if the file cannot be had.
    """
    from huggingface_hub import hf_hub_download, is_offline_mode, try_to_load_from_cache
    from huggingface_hub.errors import HFValidationError

    try:
        cached = try_to_load_from_cache(name, CONFIG, revision=revision)
    except HFValidationError:
        raise UserError(
            f"{key}.checkpoint: {name!r} is not a name on the hub: write OWNER/NAME, or the path of a local "
            "folder without `revision`"
        ) from None
    if isinstance(cached, str):
        return Path(cached).parent
    if is_offline_mode():
        raise UserError(
            f"{key}.family: {name!r} is not in the cache {_cache_folder()}, and HF_HUB_OFFLINE forbids "
            "looking its family up: write `family`, or run once where a network is available"
        )
    try:
        return Path(_retry(lambda: hf_hub_download(name, CONFIG, revision=revision))).parent
    except _hub_errors() as error:
        raise UserError(f"{_describe(error, name, revision, key)}, or write `family`") from None


def cached_snapshot(name: str, revision: str, patterns: Sequence[str] = PATTERNS) -> Path | None:
    """The snapshot's folder in the cache, or None if it has none; uses no network.

    Raises UserError if a file of the snapshot is missing (MissingFileError) or damaged.
    """
    from huggingface_hub import snapshot_download
    from huggingface_hub.errors import LocalEntryNotFoundError

    if not COMMIT.fullmatch(revision):
        return None  # a branch may have moved since it was cached
    try:
        folder = Path(
            snapshot_download(name, revision=revision, allow_patterns=list(patterns), local_files_only=True)
        )
    except LocalEntryNotFoundError:
        return None
    check_complete(folder)
    return folder


def _retry(request: Callable[[], T]) -> T:
    """Call `request`, up to ATTEMPTS times while the connection breaks or the hub is overloaded."""
    import httpx2

    for attempt in range(ATTEMPTS):
        try:
            return request()
        except _hub_errors() as error:
            cause = _root_cause(error)
            status = getattr(getattr(cause, "response", None), "status_code", None)
            overloaded = status is not None and (status == 429 or status >= 500)
            temporary = overloaded or isinstance(cause, httpx2.TransportError)
            if not temporary or attempt == ATTEMPTS - 1:
                raise
            wait = PAUSE * 2**attempt
            print(
                f"Hugging Face hub: {_first_line(cause)}; keeping complete files, retrying in {wait:.0f} s",
                flush=True,
            )
            time.sleep(wait)
    raise AssertionError("unreachable")


def _hub_errors() -> tuple[type[BaseException], ...]:
    import httpx2
    from huggingface_hub.errors import HFValidationError

    return (OSError, HFValidationError, httpx2.HTTPError)


def _root_cause(error: BaseException) -> BaseException:
    """The original error inside the errors that the hub's client wraps around it."""
    from huggingface_hub.errors import DryRunError, LocalEntryNotFoundError

    while isinstance(error, (DryRunError, LocalEntryNotFoundError)) and error.__cause__ is not None:
        error = error.__cause__
    return error


def _first_line(error: BaseException) -> str:
    return (str(error).strip() or type(error).__name__).splitlines()[0].rstrip(".")


def _describe(error: BaseException, name: str, revision: str, key: str) -> str:
    """One line for the user: what went wrong and what to do."""
    from huggingface_hub import constants, get_token
    from huggingface_hub.errors import GatedRepoError, RepositoryNotFoundError, RevisionNotFoundError

    error = _root_cause(error)
    page = f"{constants.ENDPOINT}/{name}"
    if isinstance(error, GatedRepoError):
        if get_token() is None:
            return (
                f"{key}.checkpoint: {name!r} is gated, and no token is set: accept its terms at {page}, "
                "then run `hf auth login` or set HF_TOKEN; or write the path of a local folder"
            )
        return (
            f"{key}.checkpoint: {name!r} is gated, and the token has no access to it: accept its terms at "
            f"{page} with the account of the token; or write the path of a local folder"
        )
    if isinstance(error, RepositoryNotFoundError):
        private = "" if get_token() else " and run `hf auth login` if it is private"
        return (
            f"{key}.checkpoint: the hub has no model {name!r}: check the name{private}, or write the path of "
            "a local folder"
        )
    if isinstance(error, RevisionNotFoundError):
        return f"{key}.revision: {name!r} has no commit {revision!r}: write one from {page}/commits/main"
    return (
        f"{key}.checkpoint: {name!r} at {revision!r} cannot be downloaded ({_first_line(error)}): check "
        "the name, the revision and the network, or write the path of a local folder"
    )


def _cache_folder() -> Path:
    from huggingface_hub import constants

    return Path(constants.HF_HUB_CACHE)


def _blob_folder(name: str) -> Path:
    return _cache_folder() / f"models--{name.replace('/', '--')}" / "blobs"


def _discard_abandoned(name: str) -> None:
    """Remove the unfinished files of killed downloads; later downloads do not use them."""
    for path in _blob_folder(name).glob("*.incomplete"):
        if time.time() - path.stat().st_mtime > ABANDONED:
            path.unlink(missing_ok=True)


class _DownloadProgress:
    """Logs regularly how much of a download of `size` bytes has arrived in the cache."""

    def __init__(self, name: str, size: float):
        self.blobs = _blob_folder(name)
        self.before = self._bytes()
        self.progress = Progress(f"download {name} (MB)", max(1, round(size / 1e6)))
        self._end = threading.Event()
        self._thread = threading.Thread(target=self._watch, daemon=True)

    def _bytes(self) -> int:
        total = 0
        for path in self.blobs.glob("*"):
            try:
                total += path.stat().st_size
            except OSError:  # the file was renamed in the meantime
                continue
        return total

    def _watch(self) -> None:
        while not self._end.wait(2.0):
            self.progress.update(min(self.progress.total - 1, round((self._bytes() - self.before) / 1e6)))

    def __enter__(self) -> _DownloadProgress:
        from huggingface_hub.utils import disable_progress_bars

        disable_progress_bars()  # progress bars are for a terminal, but the output goes to a log
        self._thread.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> Any:
        self._end.set()
        self._thread.join()
        if kind is None:
            self.progress.update(self.progress.total)
