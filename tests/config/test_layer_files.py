"""A file of the configuration that YAML readers would take in silence, or end on without its name."""

from pathlib import Path

import pytest
import yaml

from vlm4vla.config.layer_files import MOST_BYTES, holder, named, read_layer
from vlm4vla.config.layers import read_layers
from vlm4vla.core.errors import UserError

REPOSITORY = Path(__file__).parents[2]
BOMB = "a: &a [1, 2, 3, 4, 5, 6, 7, 8, 9]\n" + "".join(
    f"{chr(98 + n)}: &{chr(98 + n)} [{', '.join([f'*{chr(97 + n)}'] * 9)}]\n" for n in range(8)
)


def write(folder: Path, content: bytes | str) -> Path:
    path = folder / "mine.yaml"
    path.write_bytes(content if isinstance(content, bytes) else content.encode())
    return path


@pytest.mark.parametrize(
    ("content", "message"),
    [
        ("vla: {steps: 3}\nseeds: [0]\nvla: {batch: 8}\n", "'vla' stands in line 1 and again in line 3"),
        ("vla:\n  steps: 3\n  batch: 8\n  steps: 4\n", "'steps' stands in line 2 and again in line 4"),
        ("backbones: {a: {family: x, family: y}}\n", "'family' stands in line 1 and again in line 1"),
        ("- a: 1\n", "not a mapping"),
        ("just words\n", "not a mapping"),
        ("", "has no keys"),
        ("# only a comment\n", "has no keys"),
        ("vla:\n\tsteps: 3\n", "line 2 .*a tab"),
        ("vla: [1, 2\n", "line 2 is not valid YAML"),
        ("vla: !!python/object:os.system {}\n", "line 1 is not valid YAML"),
        (b"study: caf\xe9\n", "line 1 is not UTF-8"),
        (b"a: 1\nstudy: \xff\xfe\n", "line 2 is not UTF-8"),
        ("vla: &v\n  steps: 6\n  optimiser: *v\n", "contains itself"),
        ("seeds: &s [1, *s]\n", "contains itself"),
        (BOMB, "more than 1000000 values"),
        ("a: " + "[" * 100 + "]" * 100 + "\n", "levels deep"),
        ("a: " + "[" * 100_000 + "\n", "levels deep|not valid YAML"),
        ("1: 2\n", "the key 1 is not a word"),
        ("when: 2020-13-45\n", "mine.yaml"),
        (" " * (MOST_BYTES + 1), "larger than"),
    ],
)
def test_one_line_names_the_file_and_the_fault(tmp_path, content, message):
    with pytest.raises(UserError, match=message) as error:
        read_layer(write(tmp_path, content))
    assert "mine.yaml" in str(error.value) and "\n" not in str(error.value)


def test_a_missing_file_and_a_folder(tmp_path):
    with pytest.raises(UserError, match=r"no file .*missing\.yaml"):
        read_layer(tmp_path / "missing.yaml")
    with pytest.raises(UserError, match="cannot be read"):
        read_layer(tmp_path)


@pytest.mark.parametrize("name", ["config.yaml", *(f"workflow/scales/{n}.yaml" for n in ("smoke", "paper"))])
def test_reads_what_pyyaml_reads(name):
    assert read_layer(REPOSITORY / name) == yaml.safe_load((REPOSITORY / name).read_text())


def test_merge_keys_and_a_byte_order_mark_are_allowed(tmp_path):
    text = "base: &b {x: 1}\nother:\n  <<: *b\n  x: 2\n"
    assert read_layer(write(tmp_path, b"\xef\xbb\xbf" + text.encode()))["other"] == {"x": 2}


def test_the_holder_of_a_key_is_the_last_file_that_sets_it():
    layers = [
        (
            "config.yaml",
            {"vla": {"steps": 1, "batch": 2}, "backbones": {"qwen2.5-vl": {"tiny": {"hidden": 8}}}},
        ),
        ("one.yaml", {"vla": {"steps": 3}}),
        ("two.yaml", {"backbones": {"qwen2.5-vl": {"tiny": {"hidden": 9}}}, "vla": {"batch": 3}}),
    ]
    assert holder("vla.steps", layers) == "one.yaml"
    assert holder("vla.batch", layers) == "two.yaml"
    assert holder("backbones.qwen2.5-vl.tiny.hidden", layers) == "two.yaml"
    assert holder("seeds", layers) == "config.yaml"
    assert named("config.yaml: vla.steps: -3 is bad", layers) == "one.yaml: vla.steps: -3 is bad"
    assert named("another line", layers) == "another line"


def test_a_message_names_the_layer(tmp_path):
    path = write(tmp_path, "vla: {steps: -3}\n")
    with pytest.raises(UserError, match=f"^{path}: vla.steps: -3 is not above 0"):
        read_layers([REPOSITORY / "config.yaml", path])
