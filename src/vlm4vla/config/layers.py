"""Merge config.yaml with the files that override it, as Snakemake does with --configfile."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from vlm4vla.config.config import Config, load_config
from vlm4vla.config.layer_files import named, read_layer
from vlm4vla.core.errors import UserError


def read_layers(paths: Sequence[Path]) -> Config:
    """Read the files as one configuration. A later file overrides the values of earlier ones, key by key.

    Raises UserError for a file that cannot be read as a YAML mapping. For an invalid configuration the
    message is the first error, with the file that sets the key.
    """
    layers = [(str(path), read_layer(Path(path))) for path in paths]
    merged: dict[str, Any] = {}
    for _, layer in layers:
        _update(merged, layer)
    try:
        return load_config(merged)
    except UserError as error:
        raise UserError(named(str(error).splitlines()[0], layers)) from None


def _update(base: dict[str, Any], layer: Mapping[str, Any]) -> None:
    for key, value in layer.items():
        if isinstance(value, Mapping):
            # A mapping that YAML aliases share is copied, so that each place is overridden alone.
            if not isinstance(base.get(key), dict):
                base[key] = {}
            _update(base[key], value)
        else:
            base[key] = value
