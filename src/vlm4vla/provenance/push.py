"""`vlm4vla push`: send a policy, a demonstration set or a packed study to the Hugging Face hub.

huggingface_hub's own client uploads the files. If the upload is interrupted, the same command resumes it:
files that have arrived are not sent again.
"""

from __future__ import annotations

import tempfile
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import TYPE_CHECKING

from vlm4vla.core.errors import UserError, one_line
from vlm4vla.provenance.push_parcels import Parcel, parcel

if TYPE_CHECKING:
    from huggingface_hub import HfApi

LOGIN = "run `hf auth login`, or set HF_TOKEN to a token with write access"


def run(folder: Path, name: str, *, public: bool, dry_run: bool, licence: str | None) -> None:
    """Print every file of `folder` with its size, and send the files to the repository `name`.

    `public`: who may see a new repository; by default only its owner. `dry_run`: print only, without the
    network. `licence`: an identifier of the hub for the card. Raises UserError (one line) for a folder that
    cannot be sent, an invalid name, a missing or refused token, a repository with another visibility, and an
    upload that fails.
    """
    _check_name(name)
    found = parcel(folder, name, licence)
    _print(found, name, public)
    if dry_run:
        print("dry run: nothing was sent")
        return
    _send(found, name, public)


def _check_name(name: str) -> None:
    from huggingface_hub.errors import HFValidationError
    from huggingface_hub.utils import validate_repo_id

    try:
        validate_repo_id(name)
    except HFValidationError as error:
        raise UserError(
            f"{name!r}: not a name on the hub ({one_line(str(error))}): write OWNER/NAME"
        ) from None


def _print(found: Parcel, name: str, public: bool) -> None:
    sizes = found.sizes()
    width = max(len(f"{size:,}") for size in sizes.values())
    for file, size in sizes.items():
        made = " (made for the hub)" if file in found.texts else ""
        print(f"{size:>{width},}  {one_line(file)}{made}")
    if found.left_out:
        shown = ", ".join(map(one_line, found.left_out[:10])) + (", ..." if found.left_out[10:] else "")
        print(f"left out, because a {found.kind} has no such files: {shown}")
    seen = "public" if public else "private"
    print(
        f"{found.kind}: {len(sizes)} files, {sum(sizes.values()) / 1e6:.1f} MB, to the {seen} "
        f"{found.repository} repository {name}" + (f", tag {found.tag}" if found.tag else "")
    )


def _send(found: Parcel, name: str, public: bool) -> None:
    from huggingface_hub import HfApi, constants, get_token

    if constants.is_offline_mode():
        raise UserError("HF_HUB_OFFLINE is set, which forbids uploads: unset it")
    if get_token() is None:
        raise UserError(f"no token for {constants.ENDPOINT}: {LOGIN}")
    api = HfApi()
    with _in_one_line(name):
        owner = api.whoami()["name"]
    full = name if "/" in name else f"{owner}/{name}"
    with _in_one_line(full):
        _check_visibility(api, full, found, public)
        api.create_repo(full, repo_type=found.repository, private=not public, exist_ok=True)
        commit = _upload(api, found, full)
        if found.tag is not None:
            _tag(api, found, full)
    print(
        f"sent: {constants.ENDPOINT}/{'datasets/' if found.repository == 'dataset' else ''}{full} ({commit})"
    )


def _check_visibility(api: HfApi, name: str, found: Parcel, public: bool) -> None:
    """Raise UserError if the repository exists and is seen by others than the user asks for."""
    from huggingface_hub.errors import RepositoryNotFoundError

    try:
        private = bool(api.repo_info(name, repo_type=found.repository).private)
    except RepositoryNotFoundError:
        return
    if private == public:
        has, option = ("private", "leave --public out") if private else ("public", "write --public")
        raise UserError(
            f"{name}: the repository exists and is {has}: {option}, write another name, or change its "
            "visibility on the hub"
        )


def _upload(api: HfApi, found: Parcel, name: str) -> str:
    """Send the files and return the new commit. The folder that is sent has links to them."""
    with tempfile.TemporaryDirectory(prefix="vlm4vla-push-") as temporary:
        for inside, path in found.files.items():
            link = Path(temporary, inside)
            link.parent.mkdir(parents=True, exist_ok=True)
            link.symlink_to(path.resolve())
        for inside, text in found.texts.items():
            Path(temporary, inside).write_text(text, encoding="utf-8")
        return api.upload_folder(
            repo_id=name,
            repo_type=found.repository,
            folder_path=temporary,
            commit_message=f"Upload a {found.kind}",
            delete_patterns=list(found.replaced) or None,
        ).oid


def _tag(api: HfApi, found: Parcel, name: str) -> None:
    """Move the tag to the newest commit."""
    from huggingface_hub.errors import RevisionNotFoundError

    with suppress(RevisionNotFoundError):
        api.delete_tag(name, tag=found.tag, repo_type=found.repository)
    api.create_tag(name, tag=found.tag, repo_type=found.repository)


@contextmanager
def _in_one_line(name: str) -> Iterator[None]:
    """Turn an error of the hub's client into a UserError."""
    from huggingface_hub.errors import HfHubHTTPError, HTTPError

    try:
        yield
    except UserError:
        raise
    except (HfHubHTTPError, HTTPError, OSError, RuntimeError, ValueError) as error:
        # The client wraps errors of its threads, so the status may be in the cause.
        chain: list[BaseException] = [error]
        while (cause := chain[-1].__cause__) is not None and len(chain) < 10:
            chain.append(cause)
        status = next(
            (
                found
                for each in chain
                if (found := getattr(getattr(each, "response", None), "status_code", None))
            ),
            None,
        )
        first = one_line((str(error).strip() or type(error).__name__).splitlines()[0]).rstrip(".: ")
        if status == 401:
            raise UserError(f"{name}: the hub does not accept the token: {LOGIN}") from None
        if status == 403:
            raise UserError(f"{name}: the token has no write access to it: {LOGIN}") from None
        raise UserError(
            f"{name}: cannot be sent ({first}): check the network, then run the same command again; files "
            "that have arrived are not sent again"
        ) from None
