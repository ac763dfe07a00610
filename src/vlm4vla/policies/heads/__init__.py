"""Action heads by kind."""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from vlm4vla.policies.heads.base import ActionHead

# The head settings' `kind` -> module and class.
KINDS = {
    "mlp": "vlm4vla.policies.heads.mlp:QueryHead",
    "tokens": "vlm4vla.policies.heads.tokens:TokensHead",
    "flow": "vlm4vla.policies.heads.layerwise_flow:LayerwiseFlowHead",
    "planned-flow": "vlm4vla.policies.heads.planned_flow:PlannedFlowHead",
}


def head_class(settings: Any) -> type[ActionHead]:
    """The head class for a head's settings."""
    module, name = KINDS[settings.kind].split(":")
    return getattr(importlib.import_module(module), name)
