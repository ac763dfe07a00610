"""The families of checkpoints whose family the configuration does not state, from their config.json."""

from __future__ import annotations

from pathlib import Path

from pydantic import ValidationError

from vlm4vla.backbones.hub import fetch_config
from vlm4vla.backbones.weights import family_of
from vlm4vla.config.backbones import Backbone
from vlm4vla.config.config import Config
from vlm4vla.core.errors import UserError


def with_families(config: Config) -> Config:
    """`config` with a `family` for each backbone.

    A checkpoint on this machine states it in its config.json. Of a checkpoint on the hub, this file alone is
    downloaded, if it is not in the cache. Raises UserError if the file cannot be had, or if another key of
    the backbone does not fit the family.
    """
    unknown = {name: each for name, each in config.backbones.items() if each.family is None}
    if not unknown:
        return config
    found = {name: _with_family(each, name) for name, each in unknown.items()}
    return config.model_copy(update={"backbones": {**config.backbones, **found}})


def _with_family(backbone: Backbone, name: str) -> Backbone:
    key = f"config.yaml: backbones.{name}"
    checkpoint = backbone.checkpoint or ""
    if backbone.revision is None:
        folder = Path(checkpoint).expanduser()
    else:
        folder = fetch_config(checkpoint, backbone.revision, key)
    try:
        values = backbone.model_dump() | {"family": family_of(folder)}
    except UserError as error:
        raise UserError(f"{key}.checkpoint: {error}") from None
    try:
        return Backbone.model_validate(values)
    except ValidationError as error:
        reason = error.errors()[0]["msg"].removeprefix("Value error, ")
        raise UserError(f"{key}: {reason}") from None
