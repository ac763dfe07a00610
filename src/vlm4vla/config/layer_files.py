"""Read one YAML file of the configuration, and refuse what YAML readers take in silence."""

from __future__ import annotations

import re
import stat
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import yaml

from vlm4vla.core.errors import UserError

MOST_BYTES = 10_000_000
MOST_VALUES = 1_000_000  # after aliases have been followed: a few lines of aliases can stand for billions
DEEPEST = 50  # nested levels; the configuration has at most ten
Layer = Mapping[str, Any]


_OCTAL = re.compile(r"[-+]?0[0-7_]*[1-7][0-7_]*")
_OTHER_TYPES = ("binary", "omap", "pairs", "set", "timestamp")  # of YAML; no key of a configuration has them


class _Loader(yaml.SafeLoader):
    """PyYAML's safe loader, which refuses what it would read otherwise than it is written.

    That is a mapping with the same key twice, a key that is not text, and in the rules of YAML 1.1 numbers
    such as 010 (8) and 1:30 (90), dates, and `!!binary`.
    """

    def construct_mapping(self, node: yaml.Node, deep: bool = False) -> dict[Any, Any]:
        if isinstance(node, yaml.MappingNode):
            first: dict[str, int] = {}
            for key, _ in node.value:
                if not isinstance(key, yaml.ScalarNode):
                    continue
                line = key.start_mark.line + 1
                merge = key.tag == "tag:yaml.org,2002:merge"
                if not merge and key.tag != "tag:yaml.org,2002:str":
                    raise UserError(
                        f"line {line}: the key {key.value or 'null'} is not text in YAML: write a key of "
                        f'config.yaml, or a name in quotation marks ("{key.value}")'
                    )
                if key.value in first:
                    remedy = "write `<<: [*a, *b]`" if merge else "remove one, or write both mappings as one"
                    raise UserError(
                        f"the key {key.value!r} stands in line {first[key.value]} and again in line {line}, "
                        f"and only one of them would count: {remedy}"
                    )
                first[key.value] = line
        return super().construct_mapping(node, deep)

    def construct_yaml_int(self, node: yaml.ScalarNode) -> int:
        value = super().construct_yaml_int(node)
        if ":" in node.value:
            raise _misread(node, f"the number {value}", f"{value}, or text in quotation marks")
        if _OCTAL.fullmatch(node.value):
            decimal = node.value.replace("_", "").lstrip("+-0")
            raise _misread(node, f"the number {value}", f"{value} or {decimal}")
        return value

    def construct_yaml_float(self, node: yaml.ScalarNode) -> float:
        value = super().construct_yaml_float(node)
        if ":" in node.value:
            raise _misread(node, f"the number {value:g}", f"{value:g}, or text in quotation marks")
        return value

    def refuse_type(self, node: yaml.Node) -> None:
        kind, line = node.tag.removeprefix("tag:yaml.org,2002:"), node.start_mark.line + 1
        if kind == "timestamp" and isinstance(node, yaml.ScalarNode):
            raise _misread(node, "a date", "a number, or text in quotation marks")
        raise UserError(f"line {line}: no key takes a value of YAML's type !!{kind}: remove !!{kind}")


def _misread(node: yaml.ScalarNode, reading: str, wanted: str) -> UserError:
    """The error for a value that YAML reads otherwise than it is written."""
    line = node.start_mark.line + 1
    return UserError(f"line {line}: YAML reads {node.value} as {reading}: write {wanted}")


_Loader.add_constructor("tag:yaml.org,2002:int", _Loader.construct_yaml_int)
_Loader.add_constructor("tag:yaml.org,2002:float", _Loader.construct_yaml_float)
for _type in _OTHER_TYPES:
    _Loader.add_constructor(f"tag:yaml.org,2002:{_type}", _Loader.refuse_type)


def read_layer(path: Path) -> dict[str, Any]:
    """The keys and values of a YAML file.

    Raises UserError (one line that names the file) for a file that is missing, is not UTF-8 or not YAML,
    holds no mapping, has a key twice, contains itself through an alias, or has a value that YAML reads as
    something else than it seems to be.
    """
    advice = "write the path of config.yaml, then those of the files that override it"
    try:
        kind = path.stat().st_mode
        if not stat.S_ISREG(kind) and not stat.S_ISDIR(
            kind
        ):  # to read a pipe is to wait for it, or to empty it
            raise UserError(f"{path}: a pipe or a device, not a file: {advice}")
        with path.open("rb") as handle:
            data = handle.read(MOST_BYTES + 1)
    except FileNotFoundError:
        raise UserError(f"no file {str(path)!r}: {advice}") from None
    except OSError as error:
        raise UserError(f"{str(path)[:200]}: cannot be read ({error.strerror}): {advice}") from None
    if len(data) > MOST_BYTES:
        raise UserError(f"{path}: larger than {MOST_BYTES} bytes, so not a configuration: write another path")
    try:
        text = data.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        line = data[: error.start].count(b"\n") + 1
        raise UserError(f"{path}: line {line} is not UTF-8 text: save the file as UTF-8") from None
    value = _read(text, str(path))
    if value is None:
        raise UserError(f"{path}: has no keys: write `key: value` lines, or leave the file out")
    if not isinstance(value, dict):
        raise UserError(f"{path}: not a mapping of keys to values: write `key: value` lines")
    for key in value:
        if not isinstance(key, str):
            raise UserError(f"{path}: the key {key!r} is not a word: write a key of config.yaml")
    return value


def check_text(text: str, name: str) -> None:
    """Raise UserError (one line that begins with `name`) for YAML that a file could not have, either."""
    _read(text, name)


def _read(text: str, name: str) -> Any:
    """The value of a YAML document. Raises UserError (one line that begins with `name`)."""
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
        raise UserError(f"{name}: {_described(error)}: correct it") from None
    except (UserError, ValueError) as error:  # ValueError: a date or a number that cannot be
        raise UserError(f"{name}: {error}") from None
    except RecursionError:
        raise UserError(f"{name}: nested more than {DEEPEST} levels deep: write fewer levels") from None
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
    """How many words of `key`, with dots between them, are in `value`. Names may contain dots themselves."""
    depths = [0]
    for name, inside in value.items() if isinstance(value, Mapping) else ():
        words = str(name).count(".") + 1
        if key == name:
            depths.append(words)
        elif key.startswith(f"{name}."):
            depths.append(words + _depth(key.removeprefix(f"{name}."), inside))
    return max(depths)


def named(line: str, layers: Sequence[tuple[str, Layer]], base: str = "config.yaml") -> str:
    """A message about a key, with the name of the layer that sets the key in place of `base`.

    A message that begins with a key, without `base`, gets the name of the layer, too.
    """
    rest = line.removeprefix(f"{base}: ")
    key = rest.partition(": ")[0]
    known = any(key.partition(".")[0] in content for _, content in layers)
    if not layers or (rest == line and not known):
        return line
    return f"{holder(key, layers)}: {rest}"
