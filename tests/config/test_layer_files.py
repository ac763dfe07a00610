"""A file of the configuration that YAML readers would take in silence, or end on without its name."""

import os
from pathlib import Path

import pytest
from fast_yaml import load_yaml

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
        ("1: 2\n", "line 1: the key 1 is not text in YAML"),
        ("when: 2020-13-45\n", "mine.yaml"),
        ("vla:\n  on: 3\n", "line 2: the key on is not text in YAML"),
        ("vla: {~: 3}\n", "line 1: the key ~ is not text"),
        ("vla: {2020-01-01: 3}\n", "line 1: the key 2020-01-01 is not text"),
        ("a: &a {b: 1}\nc:\n  <<: *a\n  <<: *a\n", "'<<' stands in line 3 and again in line 4.*<<: "),
        ("vla: {? steps : 3, 'steps': 4}\n", "'steps' stands in line 1 and again in line 1"),
        ("seeds: [010]\n", "line 1: YAML reads 010 as the number 8: write 8 or 10"),
        ("a: 1\nvla: {steps: -0_100}\n", "line 2: YAML reads -0_100 as the number -64: write -64 or 100"),
        ("vla: {steps: 1:30}\n", "YAML reads 1:30 as the number 90"),
        ("minimum_free_gb: 1:30.5\n", "YAML reads 1:30.5 as the number 90.5"),
        ("study: 2024-01-01\n", "YAML reads 2024-01-01 as a date"),
        ("study: !!binary c21va2U=\n", "type !!binary: remove !!binary"),
        ("seeds: !!set {1, 2}\n", "type !!set"),
        ("seeds: !!omap [a: 1]\n", "type !!omap"),
        ("seeds: !!pairs [a: 1]\n", "type !!pairs"),
        ("--- {study: a}\n--- {study: b}\n", "found another document"),
        ("study: *nowhere\n", "undefined alias"),
        ("vla: {? [a, b] : 3}\n", "unhashable key"),
        ("<<: 3\n", "expected a mapping"),
        ("study: smoke\n".encode("utf-16"), "line 1 is not UTF-8"),
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


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda path: os.mkfifo(path), "a pipe or a device"),
        (lambda path: path.symlink_to("/dev/null"), "a pipe or a device"),
        (lambda path: path.symlink_to(path.name), "cannot be read"),
        (lambda path: path.symlink_to("nowhere"), "no file"),
    ],
)
def test_what_is_not_a_file(tmp_path, make, message):
    make(tmp_path / "layer.yaml")
    with pytest.raises(UserError, match=message):
        read_layer(tmp_path / "layer.yaml")


def test_a_path_that_cannot_be(tmp_path):
    with pytest.raises(UserError, match="cannot be read"):
        read_layer(tmp_path / ("x" * 300))


@pytest.mark.parametrize(
    ("text", "value"),
    [("0", 0), ("00", 0), ("0x10", 16), ("1_000", 1000), ("0.5", 0.5), ("'010'", "010"), ("'1:30'", "1:30")],
)
def test_numbers_that_are_read_as_they_are_written(tmp_path, text, value):
    assert read_layer(write(tmp_path, f"a: {text}\n")) == {"a": value}


@pytest.mark.parametrize("name", ["config.yaml", *(f"workflow/scales/{n}.yaml" for n in ("smoke", "paper"))])
def test_reads_what_pyyaml_reads(name):
    assert read_layer(REPOSITORY / name) == load_yaml((REPOSITORY / name).read_text())


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
    assert named("vla.batch: too large", layers) == "two.yaml: vla.batch: too large"
    assert holder("vla.steps", [*layers, ("three.yaml", {"vla.steps": 3})]) == "three.yaml"


def test_a_message_names_the_layer(tmp_path):
    path = write(tmp_path, "vla: {steps: -3}\n")
    with pytest.raises(UserError, match=f"^{path}: vla.steps: -3 is not above 0"):
        read_layers([REPOSITORY / "config.yaml", path])
