"""Checkpoints from the Hugging Face hub: one pinned commit, whole, into the cache that all its tools share.

Files that are whole stay when a download is killed, and a lost connection goes on inside a file; the next run
fetches what is missing. What is in the cache needs no network, and with HF_HUB_OFFLINE set none is tried.
"""

from __future__ import annotations

import re
import threading
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from types import TracebackType
from typing import Any, TypeVar

from vlm4vla.backbones.weights import weight_files
from vlm4vla.core.disk import check_room
from vlm4vla.core.errors import UserError
from vlm4vla.core.progress import Progress

COMMIT = re.compile("[0-9a-f]{40}")
ATTEMPTS = 5  # at a connection that breaks
PAUSE = 5.0  # seconds before the second attempt; doubled for each further one
ABANDONED = 3600.0  # seconds after which nobody writes an unfinished file any more

T = TypeVar("T")


def fetch(name: str, revision: str | None, patterns: Sequence[str], key: str) -> Path:
    """The cached folder of the files of hub name `name` at commit `revision` that match `patterns`.

    `key` of config.yaml holds both. Raises UserError, one line, when the revision is none or no commit, the
    name or the commit does not exist, the model is gated, the disk has no room, or the hub cannot be reached.
    """
    if revision is None:
        raise UserError(
            f"{key}.checkpoint: {name!r} is no local folder, and a hub name needs its commit: write "
            "`revision`, or the path of a folder"
        )
    try:
        return _fetch(name, revision, list(patterns), key)
    except _hub_errors() as error:
        raise UserError(_told(error, name, revision, key)) from None


def _fetch(name: str, revision: str, patterns: list[str], key: str) -> Path:
    from huggingface_hub import HfApi, is_offline_mode, snapshot_download

    cached = _cached(name, revision, patterns)
    if cached is not None:
        return cached
    if is_offline_mode():
        if not COMMIT.fullmatch(revision):
            raise UserError(
                f"{key}.revision: {revision!r} is no commit, and HF_HUB_OFFLINE forbids to ask for it: write "
                "the 40 hexadecimal digits of one that is in the cache"
            )
        raise UserError(
            f"{key}.checkpoint: {name!r} at {revision} is not in the cache {_cache()}, and HF_HUB_OFFLINE "
            f"forbids downloads: run `hf download {name} --revision {revision}` where there is a network, or "
            "write the path of a folder"
        )
    if not COMMIT.fullmatch(revision):
        commit = _again(lambda: HfApi().model_info(name, revision=revision).sha)
        raise UserError(
            f"{key}.revision: {revision!r} is a branch, a tag or a part of a commit, and may name other "
            f"weights tomorrow: write its commit, {commit}"
        )
    files = _again(lambda: snapshot_download(name, revision=revision, allow_patterns=patterns, dry_run=True))
    if not files:
        raise UserError(
            f"{key}.checkpoint: {name!r} has no file like {', '.join(patterns)}: write the name of a model"
        )
    _discard_abandoned(name)
    wanted = sum(file.file_size or 0 for file in files if file.will_download)
    check_room(_cache(), wanted, f"{key}.checkpoint: {name!r}", "set HF_HOME to a folder on a larger one")
    with _Told(name, wanted):
        return Path(_again(lambda: snapshot_download(name, revision=revision, allow_patterns=patterns)))


def _cached(name: str, revision: str, patterns: list[str]) -> Path | None:
    """The folder in the cache, if all of it is there: no network."""
    from huggingface_hub import snapshot_download
    from huggingface_hub.errors import LocalEntryNotFoundError

    if not COMMIT.fullmatch(revision):
        return None  # what a branch named when it was cached says nothing of today
    try:
        folder = Path(
            snapshot_download(name, revision=revision, allow_patterns=patterns, local_files_only=True)
        )
        weight_files(folder)  # a cache that another version has written may not know what belongs to it
    except (LocalEntryNotFoundError, UserError):
        return None
    return folder


def _again(work: Callable[[], T]) -> T:
    """`work`, some times over while the connection breaks or the hub is overloaded."""
    import httpx2

    for attempt in range(ATTEMPTS):
        try:
            return work()
        except _hub_errors() as error:
            root = _root(error)
            status = getattr(getattr(root, "response", None), "status_code", None)
            overloaded = status is not None and (status == 429 or status >= 500)
            passing = overloaded or isinstance(root, httpx2.TransportError)
            if not passing or attempt == ATTEMPTS - 1:
                raise
            wait = PAUSE * 2**attempt
            print(
                f"the hub: {_first_line(root)}; files that are whole stay, again in {wait:.0f} s", flush=True
            )
            time.sleep(wait)
    raise AssertionError("unreachable")


def _hub_errors() -> tuple[type[BaseException], ...]:
    import httpx2
    from huggingface_hub.errors import HFValidationError

    return (OSError, HFValidationError, httpx2.HTTPError)


def _root(error: BaseException) -> BaseException:
    """What lies below the errors that the hub's client makes of others."""
    from huggingface_hub.errors import DryRunError, LocalEntryNotFoundError

    while isinstance(error, (DryRunError, LocalEntryNotFoundError)) and error.__cause__ is not None:
        error = error.__cause__
    return error


def _first_line(error: BaseException) -> str:
    return (str(error).strip() or type(error).__name__).splitlines()[0].rstrip(".")


def _told(error: BaseException, name: str, revision: str, key: str) -> str:
    """What went wrong, in one line that says what to do."""
    from huggingface_hub import constants, get_token
    from huggingface_hub.errors import GatedRepoError, RepositoryNotFoundError, RevisionNotFoundError

    error = _root(error)
    page = f"{constants.ENDPOINT}/{name}"
    if isinstance(error, GatedRepoError):
        if get_token() is None:
            return (
                f"{key}.checkpoint: {name!r} is gated, and there is no token: accept its terms at {page}, "
                "then run `hf auth login` or set HF_TOKEN; or write the path of a folder"
            )
        return (
            f"{key}.checkpoint: {name!r} is gated, and the token has no access to it: accept its terms at "
            f"{page} with the account of the token; or write the path of a folder"
        )
    if isinstance(error, RepositoryNotFoundError):
        private = "" if get_token() else " and run `hf auth login` if it is private"
        return f"{key}.checkpoint: the hub has no model {name!r}: check the name{private}, or write a folder"
    if isinstance(error, RevisionNotFoundError):
        return (
            f"{key}.revision: {name!r} has no commit {revision!r}: write one of those at {page}/commits/main"
        )
    return (
        f"{key}.checkpoint: {name!r} at {revision!r} cannot be downloaded ({_first_line(error)}): check both "
        "and the network, or write the path of a folder"
    )


def _cache() -> Path:
    from huggingface_hub import constants

    return Path(constants.HF_HUB_CACHE)


def _blobs(name: str) -> Path:
    return _cache() / f"models--{name.replace('/', '--')}" / "blobs"


def _discard_abandoned(name: str) -> None:
    """Remove what killed downloads left half-way: nothing goes on from it, and it fills the disk."""
    for path in _blobs(name).glob("*.incomplete"):
        if time.time() - path.stat().st_mtime > ABANDONED:
            path.unlink(missing_ok=True)


class _Told:
    """Says now and then how much of a download lies in the cache."""

    def __init__(self, name: str, wanted: float):
        self.blobs = _blobs(name)
        self.before = self._bytes()
        self.progress = Progress(f"download {name} (MB)", max(1, round(wanted / 1e6)))
        self._end = threading.Event()
        self._thread = threading.Thread(target=self._watch, daemon=True)

    def _bytes(self) -> int:
        total = 0
        for path in self.blobs.glob("*"):
            try:
                total += path.stat().st_size
            except OSError:  # it was renamed in between
                continue
        return total

    def _watch(self) -> None:
        while not self._end.wait(2.0):
            self.progress.update(min(self.progress.total - 1, round((self._bytes() - self.before) / 1e6)))

    def __enter__(self) -> _Told:
        from huggingface_hub.utils import disable_progress_bars

        disable_progress_bars()  # they are made for a terminal, this is a log
        self._thread.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> Any:
        self._end.set()
        self._thread.join()
        if kind is None:
            self.progress.update(self.progress.total)
