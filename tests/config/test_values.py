"""Values that YAML and pydantic take, and that no seed, rate, file or folder can be."""

from pathlib import Path

import pytest
import yaml

from vlm4vla.config.config import load_config
from vlm4vla.config.layers import _update
from vlm4vla.core.errors import UserError

REPOSITORY = Path(__file__).parents[2]


def load(text: str):
    raw: dict = {}
    for layer in ((REPOSITORY / "config.yaml").read_text(), text):
        _update(raw, yaml.safe_load(layer))
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
        ("benchmarks: {bridge: {shift: 64}}", "bridge.shift: 64 pixels move an image of 64 pixels out of"),
        ("benchmarks: {bridge: {shift: [-99, 9]}}", "bridge.shift: -99 pixels move an image"),
        ("benchmarks: {calvin: {shift: 9223372036854775807}}", "calvin.shift: 9223372036854775807 pixels"),
        ("head: {trunk: 65537}", "head.trunk: 65537 is above 65536"),
        ("head: {hidden: [256, 1000000000]}", "head.hidden.1: 1000000000 is above 65536"),
        ("experts: {pi0: {head: {width: 100000}}}", "head.width: 100000 is above 65536"),
        ("experts: {thinkact: {head: {layers: 1001}}}", "head.layers: 1001 is above 1000"),
        (
            "auxiliary: {tasks: {omni-generation: {decoder: {heads: 4096, head_width: 4096}}}}",
            "heads 4096 times head_width 4096 is above 65536",
        ),
        ("experts: {openvla: {head: {bins: 65537}}}", "head.bins: 65537 is above 65536"),
        ("auxiliary: {tasks: {omni-generation: {decoder: {size: 8000}}}}", "gives 1000000 patches per map"),
        (
            "auxiliary: {tasks: {omni-generation: {decoder: {size: 8192, patch: 64}}}}",
            "size 8192 is above 4096",
        ),
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
        ("published_scores: ~nobody-has-this-name", "published_scores: '~nobody.* of an unknown user"),
        (
            "backbones: {kosmos-2: {checkpoint: ~nobody-has-this-name/x}}",
            "kosmos-2.checkpoint: .* unknown user",
        ),
        ("extensions: [~nobody-has-this-name/x.py]", "no Python file '~nobody"),
        ("results: a{b}", "results: 'a{b}' has a brace"),
        ("results: $HOME/x", "has a \\$"),
        ("results: s3://bucket", "is the address of a storage"),
        ('results: "a\\nb"', "not printable"),
        ('results: " "', "is empty"),
        ("questions: {seed: 1.5}", "questions.seed: 1.5 is not a whole number: write digits only"),
        ("pretraining: {seed: 4294967296}", "pretraining.seed: 4294967296 is not below"),
        ("benchmarks: {bridge: {demonstrations: {seed: abc}}}", "seed: 'abc' is not a whole number"),
        ("tables: {main: {seeds: [-1]}}", "tables.main.seeds.0: -1 is below 0"),
        ("seeds: [0, 0]", "repeats a seed"),
        ("seeds: 0", "seeds: 0 is not a list: write"),
        ("vla:", "vla: an empty value is not a mapping: write keys below it .steps, batch"),
        ("vla: {optimiser: adam}", "optimiser: 'adam' is not a mapping: write keys below it .name"),
        ("vla: {steps: 1e3}", "vla.steps: '1e3' is not a whole number"),
        ("vla: {steps: 2000000000}", "vla.steps: 2000000000 is above 1000000000"),
        ("vla: {batch: 2000000}", "vla.batch: 2000000 is above 1000000"),
        ("vla: {optimiser: {learning_rate: 1%}}", "'1%' is not a number: write a number, such as 0.5"),
        ("vla: {optimiser: {learning_rate: 1.0e400}}", "is not a finite number"),
        ("vla: {optimiser: {learning_rate: 1e300}}", "is above 1000000000"),
        ("vla: {optimiser: {betas: [0.9, 1.0]}}", "betas.1: 1.0 is not below 1"),
        ("vla: {optimiser: {betas: [0.9]}}", "betas.1: missing"),
        ("minimum_free_gb: 1e308", "is above 1000000000"),
        ("study: a.", "study: 'a.' is not a name: write lowercase"),
        ("study: Smoke", "study: 'Smoke' is not a name"),
        ("study: smo\u043ae", "is not a name"),
        ("study: -x", "study: '-x' is not a name"),
        ("study: a/b", "study: 'a/b' is not a name"),
        ('study: ""', "study: '' is not a name"),
        ('"": 3', "'': unknown key"),
        (
            "experts: {pi0: {head: {kind: flow, width: 7, intermediate: 8}}}",
            "width: 7 is not a multiple of 2",
        ),
        (
            "experts: {thinkact: {head: {kind: planned-flow, plan: [1], width: 10, heads: 4}}}",
            "width 10 is not a multiple of heads 4",
        ),
        ("auxiliary: {fast: {vocabulary: 5}}", "vocabulary: 5 is below the 41 coefficients .* at least 41"),
        ("auxiliary: {fast: {scale: 100000}}", "scale: 100000 gives .* coefficients.*: write at most 8831"),
        (
            "vla: {execution: {nodes: 2, processes: 2, strategy: ddp, hosts: [a, a]}}",
            "hosts .* repeats a machine",
        ),
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
