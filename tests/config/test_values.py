"""Values that YAML and pydantic take, and that no seed, rate, file or folder can be."""

from pathlib import Path

import pytest
import yaml

from vlm4vla.config.config import load_config
from vlm4vla.config.layers import _update
from vlm4vla.core.errors import UserError

REPOSITORY = Path(__file__).parents[2]


def load(text: str):
    raw = yaml.safe_load((REPOSITORY / "config.yaml").read_text())
    _update(raw, yaml.safe_load(text))
    return load_config(raw)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("seeds: [-1]", "seeds.0: -1 is below 0"),
        ("seeds: [4294967296]", "seeds.0: 4294967296 is not below 4294967296"),
        ("questions: {seed: -3}", "questions.seed: -3 is below 0"),
        (
            "benchmarks: {calvin: {evaluation: {seed: -1}}}",
            "benchmarks.calvin.evaluation.seed: -1 is below 0",
        ),
        ("auxiliary: {seed: 4294967296}", "auxiliary.seed: 4294967296 is not below"),
        ("vla: {optimiser: {learning_rate: .inf}}", "learning_rate: inf is not a finite number"),
        ("vla: {optimiser: {learning_rate: .nan}}", "learning_rate: nan is not"),
        ("vla: {optimiser: {clip: -.inf}}", "clip: -inf is not"),
        ("minimum_free_gb: .inf", "minimum_free_gb: inf is not a finite number"),
        ("vla: {steps: yes}", "vla.steps: yes, no, true and false are not numbers"),
        ("vla: {optimiser: {learning_rate: no}}", "learning_rate: yes, no, true and false"),
        ("seeds: [true]", "seeds: yes, no, true and false"),
        ("image_size: true", "image_size: yes, no"),
        ("vla: {steps: 100000000000000000000000000000}", "vla.steps: the number is too large"),
        (
            "benchmarks: {bridge: {demonstrations: {episodes: 99999999999999999999}}}",
            "episodes: the number is",
        ),
        ("seeds: [99999999999999999999]", "seeds: the number is too large"),
        ('results: "a\\0b"', "results: the text has a character"),
        ('results: "a\\ud800b"', "results: the text has a character"),
        ('published_scores: "\\0"', "published_scores: the text has a character"),
        ("study: " + "a" * 101, "study: the name has 101 characters"),
        ("variants: {" + "v" * 300 + ": {}}", "characters: write at most 100"),
        ("image_size: 5000", "image_size: 5000 is above 4096"),
        ("results: ~nobody-has-this-name/x", "home folder of an unknown user"),
    ],
)
def test_one_line_names_the_key(text, message):
    with pytest.raises(UserError, match=message) as error:
        load(text)
    assert "\n" not in str(error.value)


def test_numbers_at_the_ends_are_taken():
    config = load("seeds: [0, 4294967295]\nminimum_free_gb: 0")
    assert config.seeds == [0, 4294967295] and config.minimum_free_gb == 0


def test_booleans_where_they_belong_are_taken():
    assert load("vla: {steps: 3}").vla.steps == 3
    raw = yaml.safe_load((REPOSITORY / "workflow/scales/paper.yaml").read_text())
    assert isinstance(raw, dict)


def test_the_home_folder_is_expanded(monkeypatch):
    monkeypatch.setenv("HOME", "/somewhere")
    assert load("results: ~/x").results == "/somewhere/x"
    assert load("results: a~b").results == "a~b"
