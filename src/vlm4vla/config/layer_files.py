"""Read one YAML file of the configuration, and refuse what YAML readers take in silence."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import yaml

from vlm4vla.core.errors import UserError

MOST_BYTES = 10_000_000
MOST_VALUES = 1_000_000  # after aliases have been followed: a few lines of aliases can stand for billions
DEEPEST = 50  # nested levels; the configuration has at most ten
Layer = Mapping[str, Any]


class _Loader(yaml.SafeLoader):
    """PyYAML's safe loader, which refuses a mapping that has the same key twice."""

    def construct_mapping(self, node: yaml.Node, deep: bool = False) -> dict[Any, Any]:
        if isinstance(node, yaml.MappingNode):
            first: dict[str, int] = {}
            for key, _ in node.value:
                if not isinstance(key, yaml.ScalarNode) or key.tag == "tag:yaml.org,2002:merge":
                    continue
                line = key.start_mark.line + 1
                if key.value in first:
                    raise UserError(
                        f"the key {key.value!r} stands in line {first[key.value]} and again in line {line}, "
                        "and only one of them would count: remove one, or write both mappings as one"
                    )
                first[key.value] = line
        return super().construct_mapping(node, deep)


def read_layer(path: Path) -> dict[str, Any]:
    """The keys and values of a YAML file.

    Raises UserError (one line that names the file) for a file that is missing, is not UTF-8 or not YAML,
    holds no mapping, has a key twice, or contains itself through an alias.
    """
    try:
        with path.open("rb") as handle:
            data = handle.read(MOST_BYTES + 1)
    except OSError as error:
        advice = "write the path of config.yaml, then those of the files that override it"
        if not path.exists():
            raise UserError(f"no file {str(path)!r}: {advice}") from None
        raise UserError(f"{path}: cannot be read ({error.strerror}): {advice}") from None
    if len(data) > MOST_BYTES:
        raise UserError(f"{path}: larger than {MOST_BYTES} bytes, so not a configuration: write another path")
    try:
        text = data.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        line = data[: error.start].count(b"\n") + 1
        raise UserError(f"{path}: line {line} is not UTF-8 text: save the file as UTF-8") from None
    try:
        loader = _Loader(text)
        try:
            node = loader.get_single_node()
            if node is not None:
                _check_size(node)
            value = None if node is None else loader.construct_document(node)
        finally:
            loader.dispose()
    except yaml.YAMLError as error:
        raise UserError(f"{path}: {_described(error)}: correct the file") from None
    except (UserError, ValueError) as error:  # ValueError: a date or a number that cannot be
        raise UserError(f"{path}: {error}") from None
    except RecursionError:
        raise UserError(f"{path}: nested more than {DEEPEST} levels deep: write fewer levels") from None
    if value is None:
        raise UserError(f"{path}: has no keys: write `key: value` lines, or leave the file out")
    if not isinstance(value, dict):
        raise UserError(f"{path}: not a mapping of keys to values: write `key: value` lines")
    for key in value:
        if not isinstance(key, str):
            raise UserError(f"{path}: the key {key!r} is not a word: write a key of config.yaml")
    return value


def _check_size(root: yaml.Node) -> None:
    """Raise UserError if the values below `root` are too many or too deep, or if it contains itself."""
    sizes: dict[int, int] = {}

    def size(node: yaml.Node, above: tuple[int, ...]) -> int:
        if id(node) in above:
            line = node.start_mark.line + 1
            raise UserError(f"the value in line {line} contains itself through an alias: write it out")
        if id(node) not in sizes:
            if len(above) >= DEEPEST:
                raise UserError(f"nested more than {DEEPEST} levels deep: write fewer levels")
            inside = (*above, id(node))
            below: Sequence[Any] = ()
            if isinstance(node, yaml.MappingNode):
                below = [each for pair in node.value for each in pair]
            elif isinstance(node, yaml.SequenceNode):
                below = node.value
            sizes[id(node)] = 1 + sum(size(each, inside) for each in below)
            if sizes[id(node)] > MOST_VALUES:
                raise UserError(f"has more than {MOST_VALUES} values: write fewer aliases")
        return sizes[id(node)]

    size(root, ())


def _described(error: yaml.YAMLError) -> str:
    """What is wrong, and the line."""
    mark = getattr(error, "problem_mark", None)
    words = getattr(error, "problem", None) or str(error).splitlines()[0]
    if mark is None:
        return f"not valid YAML ({words})"
    if "\\t" in words:
        words = "a tab: indent with spaces"
    return f"line {mark.line + 1} is not valid YAML ({words})"


def holder(key: str, layers: Sequence[tuple[str, Layer]]) -> str:
    """The name of the layer that sets `key`, the last one that has most of its path.

    `key`: as in messages, with dots, for example `vla.optimiser.learning_rate`. `layers`: (name, content), in
    the order in which they override each other; at least one.
    """
    best, deepest = layers[0][0], 0
    for name, content in layers:
        depth = _depth(key, content)
        if depth and depth >= deepest:
            best, deepest = name, depth
    return best


def _depth(key: str, value: Any) -> int:
    """How many levels of `key` are in `value`. Names may contain dots themselves."""
    depths = [0]
    for name, inside in value.items() if isinstance(value, Mapping) else ():
        if key == name:
            depths.append(1)
        elif key.startswith(f"{name}."):
            depths.append(1 + _depth(key.removeprefix(f"{name}."), inside))
    return max(depths)


def named(line: str, layers: Sequence[tuple[str, Layer]], base: str = "config.yaml") -> str:
    """A message about a key of `base`, with the name of the layer that sets the key in its place."""
    prefix = f"{base}: "
    if not layers or not line.startswith(prefix):
        return line
    rest = line.removeprefix(prefix)
    return f"{holder(rest.partition(': ')[0], layers)}: {rest}"
