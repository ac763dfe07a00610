"""Merge config.yaml with the files that override it, as Snakemake does with --configfile."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import yaml

from vlm4vla.config.config import Config, load_config
from vlm4vla.core.errors import UserError


def read_layers(paths: Sequence[Path]) -> Config:
    """Read the files as one configuration. A later file overrides the values of earlier ones, key by key.

    Raises UserError for a file that does not exist or is not a YAML mapping. For an invalid configuration the
    message is the first error.
    """
    merged: dict[str, Any] = {}
    for path in paths:
        try:
            layer = yaml.safe_load(path.read_text()) or {}
        except OSError:
            raise UserError(
                f"no file {str(path)!r}: write the path of config.yaml, then those of the files that "
                "override it"
            ) from None
        except (yaml.YAMLError, UnicodeDecodeError) as error:
            raise UserError(
                f"{path}: not valid YAML ({str(error).splitlines()[0]}): correct the file"
            ) from None
        if not isinstance(layer, Mapping):
            raise UserError(f"{path}: not a mapping of keys to values: write `key: value` lines")
        _update(merged, layer)
    try:
        return load_config(merged, str(paths[-1]))
    except UserError as error:
        raise UserError(str(error).splitlines()[0]) from None


def _update(base: dict[str, Any], layer: Mapping[str, Any]) -> None:
    for key, value in layer.items():
        if isinstance(value, Mapping) and isinstance(base.get(key), dict):
            _update(base[key], value)
        else:
            base[key] = value
