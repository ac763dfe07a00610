"""Faults of a configuration in the user's words: the key, what is wrong, and what to write instead."""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any

from pydantic import BaseModel, ValidationError

from vlm4vla.config.heads import KINDS
from vlm4vla.core.errors import nearest


def _known_keys(model: type[BaseModel], path: tuple[Any, ...]) -> list[str]:
    """Keys that the model at `path` of `model` takes."""
    node: Any = model
    for part in path:
        fields = getattr(node, "model_fields", {})
        annotation = fields[part].annotation if part in fields else node
        node = _model_in(annotation) or annotation
    return list(getattr(node, "model_fields", {}))


def _model_in(annotation: Any) -> Any:
    if isinstance(annotation, type) and issubclass(annotation, BaseModel):
        return annotation
    for argument in getattr(annotation, "__args__", ()):
        found = _model_in(argument)
        if found:
            return found
    return None


def _without_tags(path: tuple[Any, ...]) -> tuple[Any, ...]:
    """`path` as config.yaml has it: pydantic puts a head's kind after `head`."""
    return tuple(part for i, part in enumerate(path) if not (i and path[i - 1] == "head" and part in KINDS))


def _fault_line(fault: Mapping[str, Any], model: type[BaseModel]) -> str:
    """A pydantic fault as the key, what is wrong and what to write."""
    path = tuple(part for part in fault["loc"] if part != "[key]")
    known_path, path = path, _without_tags(path)
    key, given, context = ".".join(map(str, path)), fault.get("input"), fault.get("ctx", {})
    match fault["type"]:
        case "extra_forbidden":
            return f"{key}: unknown key: " + nearest(str(path[-1]), _known_keys(model, known_path[:-1]))
        case "missing":
            return f"{key}: missing: write it"
        case "union_tag_invalid":
            kinds = re.findall(r"'([^']+)'", context["expected_tags"])
            return f"{key}.kind: unknown value {context['tag']!r}: " + nearest(context["tag"], kinds)
        case "union_tag_not_found":
            return f"{key}.kind: missing: write one of {', '.join(KINDS)}"
        case "literal_error":
            known = re.findall(r"'([^']+)'", context["expected"])
            return f"{key}: unknown value {given!r}: " + nearest(str(given), known)
        case "greater_than":
            return f"{key}: {given!r} is not above {context['gt']:g}: write a number above {context['gt']:g}"
        case "greater_than_equal":
            return f"{key}: {given!r} is below {context['ge']:g}: write {context['ge']:g} or more"
    message = fault["msg"].removeprefix("Value error, ")
    if not key or fault["type"] == "value_error":
        return f"{key}: {message}" if key else message
    return f"{key}: {message} (given: {given!r})"


def fault_lines(error: ValidationError, model: type[BaseModel]) -> list[str]:
    """One line for each fault that `model` found; what an unknown name lacks is no second fault."""
    faults = error.errors()
    unknown = {fault["loc"][:-1] for fault in faults if fault["loc"][-1:] == ("[key]",)}
    told = [
        fault
        for fault in faults
        if fault["loc"][-1:] == ("[key]",) or not any(fault["loc"][: len(u)] == u for u in unknown)
    ]
    return [_fault_line(fault, model) for fault in told]
