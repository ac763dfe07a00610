"""The configuration that Snakemake makes of config.yaml and the files given with --configfile."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import yaml

from vlm4vla.config.config import Config, load_config
from vlm4vla.core.errors import UserError


def read_layers(paths: Sequence[Path]) -> Config:
    """The files as one configuration: later ones replace values, key by key.

    Raises UserError for a file that is missing or no YAML mapping, and with the first fault of the whole.
    """
    merged: dict[str, Any] = {}
    for path in paths:
        try:
            layer = yaml.safe_load(path.read_text()) or {}
        except OSError:
            raise UserError(f"no file {str(path)!r}: write the configuration, layers last") from None
        except (yaml.YAMLError, UnicodeDecodeError) as error:
            raise UserError(f"{path}: not YAML ({str(error).splitlines()[0]}): mend it") from None
        if not isinstance(layer, Mapping):
            raise UserError(f"{path}: no mapping of keys to values: mend it")
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
