"""Settings as the JSON that a stage's command takes and that Snakemake compares."""

from __future__ import annotations

from typing import Any

from pydantic import BaseModel, ValidationError

from vlm4vla.artefacts import UserError, canonical_json


def settings_json(settings: BaseModel) -> str:
    """Canonical JSON of a settings model."""
    return canonical_json(settings.model_dump(mode="json"))


def read_settings(text: str, model: Any) -> Any:
    """Settings from JSON. Raises UserError naming the key at fault."""
    try:
        return model.model_validate_json(text)
    except ValidationError as error:
        fault = error.errors()[0]
        key = ".".join(map(str, fault["loc"])) or "settings"
        raise UserError(f"--settings: {key}: {fault['msg']}") from None
