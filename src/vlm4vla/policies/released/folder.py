"""The folder of a released pi0: where it is, if it is whole, and the statistics in it. Needs no torch."""

from __future__ import annotations

from pathlib import Path
from typing import Any, NamedTuple

from pydantic import ValidationError

from vlm4vla.backbones import hub
from vlm4vla.backbones.complete_folder import check_complete
from vlm4vla.backbones.folder_files import PATTERNS, read_json
from vlm4vla.backbones.model_hashes import model_hashes
from vlm4vla.backbones.weights import read_config
from vlm4vla.config.released_policies import PolicyStatistics, ReleasedPolicy
from vlm4vla.config.stages import RolloutSettings
from vlm4vla.conventions.actions import ACTION_SIZE
from vlm4vla.core.artefacts import settings_hash
from vlm4vla.core.errors import UserError, one_line

MODEL_TYPE = "pi0"
PROCESSOR = "processor_config.json"
# transformers leaves keys out of config.json that have these values.
DEFAULTS = {"chunk_size": 50, "max_state_dim": 32, "max_action_dim": 32}


class Pi0Sizes(NamedTuple):
    """The sizes of a pi0: actions that it predicts at once, and numbers of a padded state and action."""

    chunk: int
    state: int
    action: int


def key_of(benchmark: str, name: str) -> str:
    """The key of config.yaml that holds the released policy `name`."""
    return f"benchmarks.{benchmark}.released_policies.{name}"


def released_folder(policy: ReleasedPolicy, key: str) -> Path:
    """The folder of the checkpoint, which is downloaded from the hub if it is not on this machine.

    `key`: the key of config.yaml that holds `policy`. Raises UserError if it cannot be obtained.
    """
    folder = Path(policy.checkpoint).expanduser()
    return folder if folder.is_dir() else hub.fetch(policy.checkpoint, policy.revision, PATTERNS, key)


def rollout_folder(settings: RolloutSettings) -> Path:
    """The folder of the released policy of a rollout. Raises UserError if it cannot be obtained."""
    assert settings.released is not None
    return released_folder(settings.released, key_of(settings.benchmark, settings.backbone))


def folder_hash(folder: Path) -> str:
    """SHA-256 (hex) of the names and bytes of all files of the model, statistics and tokenizer included."""
    return settings_hash(model_hashes(folder))


def check_pi0(folder: Path, policy: ReleasedPolicy, horizon: int, key: str) -> PolicyStatistics:
    """Raise UserError (one line) if the folder is not a whole pi0 that can act; return its statistics.

    `horizon`: the number of actions of a chunk that are executed. `key`: the key of config.yaml that holds
    `policy`.
    """
    where = f"{key}.checkpoint"
    try:
        found = read_config(folder)
        if found["model_type"] != MODEL_TYPE:
            raise UserError(
                f"{folder} is a {one_line(found['model_type'])!r}, but only {MODEL_TYPE!r} acts without a "
                "server: write a folder of transformers' pi0, or evaluate it with its own server "
                "(docs/simulators.md)"
            )
        check_complete(folder)
        sizes = _sizes(folder, found)
        _check_actions(folder, sizes)
    except UserError as error:
        raise UserError(f"{where}: {error}") from None
    if horizon > sizes.chunk:
        raise UserError(
            f"{key}.execution_horizon: {horizon} is above the {sizes.chunk} actions that {folder} predicts "
            f"at once: write at most {sizes.chunk}"
        )
    statistics = policy.statistics or _stored_statistics(folder, key)
    if len(statistics.state_mean) > sizes.state:
        raise UserError(
            f"{key}.statistics: a state of {len(statistics.state_mean)} numbers, but {folder} reads at most "
            f"{sizes.state}: write the statistics of this checkpoint"
        )
    return statistics


def check_state_size(statistics: PolicyStatistics, size: int, key: str) -> None:
    """Raise UserError if the policy was trained on states of another length than the robot's."""
    if len(statistics.state_mean) != size:
        raise UserError(
            f"{key}.statistics: a state of {len(statistics.state_mean)} numbers, but the robot's state has "
            f"{size}: write a checkpoint that was trained on this robot"
        )


def _sizes(folder: Path, config: dict[str, Any]) -> Pi0Sizes:
    values = [config.get(name, default) for name, default in DEFAULTS.items()]
    for name, value in zip(DEFAULTS, values, strict=True):
        if not isinstance(value, int) or isinstance(value, bool) or value < 1:
            raise UserError(f"{folder / 'config.json'}: {name} is {one_line(repr(value)[:20])}, not a number")
    return Pi0Sizes(*values)


def _check_actions(folder: Path, sizes: Pi0Sizes) -> None:
    if sizes.action < ACTION_SIZE:
        raise UserError(
            f"{folder / 'config.json'}: max_action_dim is {sizes.action}, but actions have {ACTION_SIZE} "
            "numbers here: write another checkpoint"
        )


def _stored_statistics(folder: Path, key: str) -> PolicyStatistics:
    """The statistics in the folder's processor_config.json."""
    file = folder / PROCESSOR
    names = list(PolicyStatistics.model_fields)
    stored = read_json(file, "the processor") if file.is_file() else {}
    missing = [name for name in names if stored.get(name) is None]
    if missing:
        raise UserError(
            f"{key}.statistics: missing, and {folder} has no {missing[0]} in {PROCESSOR}: write the mean and "
            "the standard deviation of the states and actions that the checkpoint was trained on"
        )
    try:
        return PolicyStatistics.model_validate({name: stored[name] for name in names})
    except ValidationError as error:
        first = error.errors()[0]
        place = ".".join(map(str, first["loc"][:1]))
        reason = one_line(first["msg"].removeprefix("Value error, "))
        raise UserError(
            f"{file}: {place + ': ' if place else ''}{reason}; or write {key}.statistics"
        ) from None
