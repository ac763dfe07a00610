"""Every key of config.yaml is described in the schema, which editors show."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

from fast_yaml import load_yaml

from vlm4vla.config.config import schema

REPOSITORY = Path(__file__).parents[2]
FILES = [REPOSITORY / "config.yaml", *sorted((REPOSITORY / "workflow" / "scales").glob("*.yaml"))]
SCHEMA = schema()


def described_keys() -> Iterator[tuple[str, str]]:
    """Each key of the schema as `Model.key`, with its description or an empty string."""
    for model, definition in {"Config": SCHEMA, **SCHEMA["$defs"]}.items():
        for key, entry in definition.get("properties", {}).items():
            yield f"{model}.{key}", entry.get("description", "")


def forms(entry: dict[str, Any]) -> Iterator[dict[str, Any]]:
    """The definitions that a value may follow, without references and alternatives."""
    if "$ref" in entry:
        entry = SCHEMA["$defs"][entry["$ref"].rpartition("/")[2]]
    yield entry
    for alternative in entry.get("anyOf", []) + entry.get("oneOf", []):
        yield from forms(alternative)


def undescribed(value: Any, entry: dict[str, Any], path: str) -> Iterator[str]:
    """The keys below `path` that no form of `entry` describes. Names that the user chooses are no keys."""
    if isinstance(value, list):
        for item in value:
            for form in forms(entry):
                if isinstance(form.get("items"), dict):
                    yield from undescribed(item, form["items"], path)
    if not isinstance(value, dict):
        return
    for key, inner in value.items():
        found = [form["properties"][key] for form in forms(entry) if key in form.get("properties", {})]
        if found and not any(each.get("description") for each in found):
            yield f"{path}{key}"
        for form in forms(entry):
            found += form.get("patternProperties", {}).values()
            if isinstance(form.get("additionalProperties"), dict):
                found.append(form["additionalProperties"])
        if not found:
            yield f"{path}{key}"
        for each in found:
            yield from undescribed(inner, each, f"{path}{key}.")


def test_every_key_has_a_description():
    missing = [name for name, text in described_keys() if not text.strip()]
    assert not missing, (
        f'add `= Field(description="...")` in src/vlm4vla/config, then run `make schema`: {missing}'
    )


def test_every_key_that_the_files_use_has_a_description():
    """The walk starts at the files, so it would also see keys that the schema holds in another place."""
    for file in FILES:
        assert list(undescribed(load_yaml(file.read_text()), SCHEMA, "")) == [], file.name


def test_descriptions_are_sentences():
    """A description ends with a full stop, and its names of keys are set in pairs of backticks."""
    for name, text in described_keys():
        assert text.endswith("."), f"{name}: {text}"
        assert text.count("`") % 2 == 0, f"{name}: an unpaired backtick"
