"""Load a policy for a program of one's own, from a folder or from the Hugging Face hub."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from vlm4vla.core.artefacts import file_hash, parse_json
from vlm4vla.core.errors import UserError
from vlm4vla.core.inside import outside

if TYPE_CHECKING:
    from vlm4vla.policies.policy import Policy

PROVENANCE = "provenance.json"
FILES = ("policy.json", "policy.safetensors", "backbone/*", PROVENANCE)


def load_policy(source: str | Path, *, revision: str | None = None, device: str | None = None) -> Policy:
    """Load the policy in a folder, or the one called `source` on the hub, ready to act.

    `revision`: commit, tag or branch on the hub. `device`: a device of torch; by default a GPU if there is
    one. Files in the hub's cache are not downloaded again. No code of the repository is run and nothing is
    unpickled. Raises UserError if the policy does not exist, cannot be downloaded, or is damaged: also if one
    byte of a file has changed since its training recorded the hash in provenance.json.
    """
    import torch

    from vlm4vla.policies.policy import Policy

    folder = Path(source).expanduser()
    if folder.is_dir():
        if revision is not None:
            raise UserError(f"{folder}: a folder, which has no revision: leave `revision` out")
    else:
        folder = _download(str(source), revision)
    _check_hashes(folder)
    policy = Policy.load(folder)
    policy.eval()
    return policy.to(device or ("cuda" if torch.cuda.is_available() else "cpu"))


def _check_hashes(folder: Path) -> None:
    """Compare the policy's files with the hashes in its provenance.json, if the folder has one."""
    file = folder / PROVENANCE
    if not file.is_file():
        return
    try:
        outputs = parse_json(file.read_text()).get("outputs") or {}
        recorded = {name: digest for name, digest in outputs.items() if isinstance(digest, str)}
    except (ValueError, AttributeError):
        raise UserError(f"{file}: not a provenance record: download or train the policy again") from None
    for name, digest in recorded.items():
        path = folder / name
        if outside(folder, name) is None and path.is_file() and file_hash(path) != digest:
            raise UserError(
                f"{path}: changed since it was saved (another hash than in {PROVENANCE}): download or train "
                "the policy again"
            )


def _download(name: str, revision: str | None) -> Path:
    """The folder of a policy's files in the hub's cache. Raises UserError (one line)."""
    from huggingface_hub import constants, snapshot_download
    from huggingface_hub.errors import (
        GatedRepoError,
        HFValidationError,
        HTTPError,
        LocalEntryNotFoundError,
        RepositoryNotFoundError,
        RevisionNotFoundError,
    )

    where = f"policy {name!r}"
    if name.startswith(("/", "~", ".")) or name.count("/") > 1:
        raise UserError(f"{where}: no such folder: write the folder of a policy, or its name on the hub")
    try:
        folder = Path(snapshot_download(name, revision=revision, allow_patterns=list(FILES)))
    except GatedRepoError:
        raise UserError(
            f"{where}: is gated: accept its terms on its page on the hub, and log in with `hf auth login` or "
            "set HF_TOKEN"
        ) from None
    except RevisionNotFoundError:
        raise UserError(f"{where}: has no revision {revision!r}: write a commit, tag or branch") from None
    except RepositoryNotFoundError:
        raise UserError(
            f"{where}: no such folder, and not on the hub, or private: check the name, or log in with "
            "`hf auth login`"
        ) from None
    except LocalEntryNotFoundError:
        why = "HF_HUB_OFFLINE is set" if constants.is_offline_mode() else "the hub cannot be reached"
        raise UserError(
            f"{where}: no such folder, {why}, and the cache {constants.HF_HUB_CACHE} does not have it: "
            "download it where a network is available, or write the path of a folder"
        ) from None
    except (HTTPError, HFValidationError, OSError) as error:
        line = (str(error).strip() or type(error).__name__).splitlines()[0].rstrip(".")
        raise UserError(
            f"{where}: cannot be downloaded ({line}): run again, or write the path of a folder"
        ) from None
    if not (folder / "policy.json").is_file():
        raise UserError(f"{where}: has no policy.json: write the name of a policy that vlm4vla has saved")
    return folder
