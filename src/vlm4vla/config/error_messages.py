"""Pydantic's errors as lines for the user: the key, what is wrong, and what to write instead."""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any

from pydantic import BaseModel, ValidationError

from vlm4vla.config.policies import KINDS
from vlm4vla.core.errors import one_line, suggestion


def _known_keys(model: type[BaseModel], path: tuple[Any, ...]) -> list[str]:
    """The keys of the model at `path` inside `model`."""
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
    """`path` as it is in config.yaml: pydantic adds the kind of a head after `head`."""
    return tuple(part for i, part in enumerate(path) if not (i and path[i - 1] == "head" and part in KINDS))


def _error_line(error: Mapping[str, Any], model: type[BaseModel]) -> str:
    """One error of pydantic as a line."""
    tagged_path = tuple(part for part in error["loc"] if part != "[key]")
    path = _without_tags(tagged_path)
    key, value, context = ".".join(map(str, path)), error.get("input"), error.get("ctx", {})
    message = error["msg"].removeprefix("Value error, ")
    match error["type"]:
        case "extra_forbidden":
            return f"{key}: unknown key: " + suggestion(str(path[-1]), _known_keys(model, tagged_path[:-1]))
        case "missing":
            return f"{key}: missing: add this key"
        case "union_tag_invalid":
            kinds = re.findall(r"'([^']+)'", context["expected_tags"])
            return f"{key}.kind: unknown value {context['tag']!r}: " + suggestion(context["tag"], kinds)
        case "union_tag_not_found":
            return f"{key}.kind: missing: write one of {', '.join(KINDS)}"
        case "literal_error":
            known = re.findall(r"'([^']+)'", context["expected"])
            return f"{key}: unknown value {value!r}: " + suggestion(str(value), known)
        case "greater_than":
            return f"{key}: {value!r} is not above {context['gt']:g}: write a number above {context['gt']:g}"
        case "greater_than_equal":
            return f"{key}: {value!r} is below {context['ge']:g}: write {context['ge']:g} or more"
        case "less_than_equal":
            return f"{key}: {value!r} is above {context['le']:.12g}: write {context['le']:.12g} or less"
        case "less_than":
            limit = f"{context['lt']:.12g}"
            return f"{key}: {value!r} is not below {limit}: write a number below {limit}"
        case "finite_number":
            return f"{key}: {value!r} is not a finite number: write a finite number"
        case "string_too_long":
            return f"{key}: the name has {len(str(value))} characters: write at most {context['max_length']}"
        case "boolean" | "large_integer" | "no_text":
            return f"{key}: {message}"
    if not key or error["type"] == "value_error":
        return f"{key}: {message}" if key else message
    return f"{key}: {message} (value: {value!r})"


def error_lines(error: ValidationError, model: type[BaseModel]) -> list[str]:
    """One line for each error that pydantic found in the configuration `model`.

    Errors below a key with an unknown name are left out: the wrong name is the only error there.
    """
    errors = error.errors()
    unknown = {each["loc"][:-1] for each in errors if each["loc"][-1:] == ("[key]",)}
    reported = [
        each
        for each in errors
        if each["loc"][-1:] == ("[key]",) or not any(each["loc"][: len(key)] == key for key in unknown)
    ]
    return [one_line(_error_line(each, model)) for each in reported]
