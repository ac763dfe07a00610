"""Pydantic's errors as lines for the user: the key, what is wrong, and what to write instead."""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any

from pydantic import BaseModel, ValidationError

from vlm4vla.config.policies import KINDS
from vlm4vla.core.errors import one_line, suggestion

NAME_ADVICE = (
    "write lowercase letters, digits, dots, dashes and underscores, with no dot, dash or underscore at the "
    "beginning and no dot at the end"
)
_WHOLE = "a whole number: write digits only, such as 1000"
_NUMBER = "a number: write a number, such as 0.5, with a point and without a unit"
_WANTED = {  # types of pydantic's errors, and what the value should be
    "int_type": _WHOLE,
    "int_parsing": _WHOLE,
    "int_parsing_size": _WHOLE,
    "int_from_float": _WHOLE,
    "float_type": _NUMBER,
    "float_parsing": _NUMBER,
    "string_type": "text: write a word, or put the value in quotation marks",
    "bool_type": "true or false: write one of them",
    "bool_parsing": "true or false: write one of them",
    "list_type": "a list: write [a, b], also for a single value",
    "tuple_type": "a list: write [a, b]",
    "dict_type": "a mapping: write `name: value` lines below the key",
}


def _shown(value: Any) -> str:
    """A value for a message. YAML reads a key with nothing after it as None."""
    return "an empty value" if value is None else repr(value)


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
    key = ".".join(str(part) or "''" for part in path)
    value, context = error.get("input"), error.get("ctx", {})
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
        case "no_home":
            return f"{key}: {value!r} {message}"
        case "multiple_of":
            step = f"{context['multiple_of']:g}"
            return f"{key}: {value!r} is not a multiple of {step}: write a multiple of {step}"
        case "string_pattern_mismatch":
            return f"{key}: {value!r} is not a name: {NAME_ADVICE}"
        case "invalid_key":
            return f"{key}: the key {value!r} is not text: write a key of config.yaml"
        case "too_short":
            return f"{key}: has no value: write at least {context['min_length']}"
        case "too_long":
            return f"{key}: has {context['actual_length']} values: write {context['max_length']}"
    if error["type"] in _WANTED:
        return f"{key}: {_shown(value)} is not {_WANTED[error['type']]}"
    if error["type"] in ("model_type", "model_attributes_type"):
        keys = ", ".join(_known_keys(model, tagged_path)) or "its keys"
        return f"{key}: {_shown(value)} is not a mapping: write keys below it ({keys})"
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
