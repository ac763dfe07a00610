"""The configuration: what is accepted, and the message of each error."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from fast_yaml import load_yaml
from jsonschema import Draft202012Validator

from vlm4vla.config.config import Config, load_config, schema
from vlm4vla.conventions.simulators import KNOWN
from vlm4vla.core.errors import UserError

REPOSITORY = Path(__file__).parents[2]
LAYERS = sorted((REPOSITORY / "workflow" / "scales").glob("*.yaml"))


def merge(base: dict, layer: dict) -> dict:
    """Override `base` with `layer`, key by key within mappings, as Snakemake does."""
    merged = dict(base)
    for key, value in layer.items():
        old = merged.get(key)
        merged[key] = merge(old, value) if isinstance(value, dict) and isinstance(old, dict) else value
    return merged


@pytest.fixture
def raw() -> dict:
    return load_yaml((REPOSITORY / "config.yaml").read_text())


def test_embedded_config_is_valid(raw):
    config = load_config(raw)
    assert len(config.backbones) == 10
    sizes = [config.backbones[name].parameters_b for name in config.backbones]
    assert len(set(sizes)) == 10


@pytest.mark.parametrize("layer", LAYERS, ids=lambda path: path.stem)
def test_layers_are_valid(raw, layer):
    over = {"released": "paper", "2026": "paper", "real": "metaworld"}
    over |= {f"libero-{change}": "libero" for change, _ in KNOWN["libero"].variations}
    below = [layer.with_stem(over[layer.stem])] if layer.stem in over else []
    for path in (*below, layer):
        raw = merge(raw, load_yaml(path.read_text()))
    config = load_config(raw)
    assert config.study == layer.stem
    scales = {"2026": "paper"} | dict.fromkeys(("paper", "released", "smoke"), layer.stem)
    assert config.scale == scales.get(layer.stem, "embedded")


def test_the_makefile_records_libero_in_the_size_of_its_images():
    """With another size, training and evaluation would resize images otherwise."""
    size = load_yaml((REPOSITORY / "workflow/scales/libero.yaml").read_text())["image_size"]
    assert f"LIBERO_SIZE := {size}\n" in (REPOSITORY / "Makefile").read_text()


def test_the_schema_file_is_up_to_date():
    written = json.loads((REPOSITORY / "workflow" / "schemas" / "config.schema.json").read_text())
    assert written == json.loads(json.dumps(schema())), "run `make schema`"


def test_schema_accepts_config_and_refuses_an_unknown_key(raw):
    validator = Draft202012Validator(schema())
    assert validator.is_valid(raw)
    assert not validator.is_valid(raw | {"sedes": [1]})


def message(raw: dict, **changes) -> str:
    with pytest.raises(UserError) as error:
        load_config(merge(raw, changes))
    text = str(error.value)
    assert "\n" not in text
    return text


@pytest.mark.parametrize(
    ("changes", "expected"),
    [
        ({"sedes": [1]}, "config.yaml: sedes: unknown key: did you mean 'seeds'?"),
        ({"vla": {"stepps": 1}}, "vla.stepps: unknown key: did you mean 'steps'?"),
        (
            {"vla": {"optimiser": {"learning_rte": 1}}},
            "vla.optimiser.learning_rte: unknown key: did you mean 'learning_rate'?",
        ),
        (
            {"backbones": {"kosmos-2": {"tinny": 1}}},
            "backbones.kosmos-2.tinny: unknown key: did you mean 'tiny'?",
        ),
        ({"benchmarks": {"calvn": {}}}, "benchmarks.calvn: unknown value 'calvn': did you mean 'calvin'?"),
        ({"tables": {"man": {}}}, "tables.man: unknown value 'man': did you mean 'main'?"),
        (
            {"tables": {"main": {"backbones": ["kosmos"]}}},
            "tables.main.backbones: unknown backbone 'kosmos': did you mean 'kosmos-2'?",
        ),
        (
            {"tables": {"main": {"variants": ["ful"]}}},
            "tables.main.variants: unknown variant 'ful': did you mean 'full'?",
        ),
        (
            {"tables": {"main": {"benchmarks": ["libero"]}}},
            "unknown value 'libero': did you mean 'libero-10'?",
        ),
        (
            {"tables": {"fast_injection": {"auxiliaries": ["none", "fast-freeze-vison"]}}},
            "tables.fast_injection.auxiliaries: unknown auxiliary task 'fast-freeze-vison': "
            "did you mean 'fast-freeze-vision'?",
        ),
        (
            {"tables": {"auxiliary": {"auxiliaries": {"qwen2.5-vl-3b": ["none", "robopont"]}}}},
            "tables.auxiliary.auxiliaries: unknown auxiliary task 'robopont': did you mean 'robopoint'?",
        ),
        (
            {"tables": {"auxiliary": {"auxiliaries": {"qwen2.5-vl-3": ["none"]}}}},
            "tables.auxiliary.auxiliaries: unknown backbone 'qwen2.5-vl-3': did you mean 'qwen2.5-vl-3b'?",
        ),
        (
            {"tables": {"auxiliary": {"backbones": ["kosmos-2"]}}},
            "backbone 'kosmos-2' has no list: write `kosmos-2: [none, TASK, ...]`",
        ),
        (
            {"tables": {"auxiliary": {"auxiliaries": "robopoint"}}},
            "tables.auxiliary.auxiliaries: 'robopoint' is not a list of names: write `[none, TASK, ...]`",
        ),
        (
            {"tables": {"auxiliary": {"auxiliaries": {"qwen2.5-vl-3b": None}}}},
            "tables.auxiliary.auxiliaries: None is not a list of names",
        ),
        (
            {"tables": {"fast_injection": {"auxiliaries": ["none", "none"]}}},
            "tables.fast_injection.auxiliaries: ['none', 'none'] repeats a name: write each once",
        ),
        (
            {"tables": {"main": {"auxiliaries": ["none", "robopoint"]}}},
            "tables.main.auxiliaries: this table shows no fine-tuned backbones: write [none], or list the "
            "tasks in tables.auxiliary or tables.fast_injection",
        ),
        ({"tables": {"auxiliary": {"seeds": [2, 2]}}}, "tables.auxiliary: seeds [2, 2] repeats a seed"),
        ({"tables": {"auxiliary": {"seeds": [-1]}}}, "tables.auxiliary.seeds.0: -1 is below 0"),
        (
            {"auxiliary": {"fast": {"vocabulary": None}}},
            "auxiliary.fast: vocabulary is missing: add it, or write `tokenizer: <folder>`",
        ),
        (
            {"auxiliary": {"fast": None}},
            "tables.fast_injection.auxiliaries: unknown auxiliary task 'fast-freeze-vision'",
        ),
        ({"tables": {"main": {"variants": ["full", "full"]}}}, "repeats a name: write each once"),
        ({"vla": {"steps": 0}}, "vla.steps: 0 is not above 0: write a number above 0"),
        ({"vla": {"steps": -5}}, "vla.steps: -5 is not above 0: write a number above 0"),
        ({"minimum_free_gb": -1}, "minimum_free_gb: -1 is below 0: write 0 or more"),
        ({"seeds": [1, 1]}, "seeds: [1, 1] repeats a seed: write each once"),
        (
            {"benchmarks": {"calvin": {"chunk": 5000}}},
            "benchmarks.calvin: chunk 5000 is longer than an episode",
        ),
        (
            {"benchmarks": {"bridge": {"evaluation": {"execution_horizon": 5}}}},
            "benchmarks.bridge: evaluation.execution_horizon 5 is above chunk 4: write at most 4",
        ),
        (
            {"backbones": {"kosmos-2": {"pretraining": "groundin"}}},
            "backbones.kosmos-2.pretraining: unknown recipe 'groundin': did you mean 'grounding'?",
        ),
        ({"backbones": {"kosmos-2": {"checkpoint": "here"}}}, "either `tiny`"),
        (
            {"backbones": {"kosmos-2": {"tiny": {"hidden": 66}}}},
            "hidden 66 is not a multiple of heads 4",
        ),
        (
            {"experts": {"openvla": {"head": {"binz": 3}}}},
            "config.yaml: experts.openvla.head.binz: unknown key: did you mean 'bins'?",
        ),
        (
            {"experts": {"openvla": {"head": {"kind": "token"}}}},
            "experts.openvla.head.kind: unknown value 'token': did you mean 'tokens'?",
        ),
        (
            {"experts": {"pi0": {"head": {"kind": None}}}},
            "experts.pi0.head.kind: unknown value 'None': known: flow, planned-flow, tokens",
        ),
        ({"experts": {"pi0": {"head": {"width": 0}}}}, "experts.pi0.head.width: 0 is not above 0"),
        (
            {"experts": {"openvla": {"backbone": "paligemma"}}},
            "experts.openvla.backbone: unknown backbone 'paligemma': did you mean 'paligemma-",
        ),
        (
            {"experts": {"openvla": {"reading": {"attention": "prefix"}}}},
            "experts.openvla.reading.attention: the family qwen2_5_vl has no such setting",
        ),
        (
            {"experts": {"pi0": {"reading": {"query_position": "after-padding"}}}},
            "experts.pi0: reading.query_position: an expert VLA has no action query: remove this key",
        ),
        (
            {"experts": {"openvla": {"execution_horizon": 3}}},
            "experts.openvla: execution_horizon 3 is above chunk 1: write at most 1",
        ),
        (
            {"experts": {"openvla": {"execution_horizon": None}}},
            "experts.openvla: on calvin it would execute 5 steps of a chunk of 1",
        ),
        (
            {"experts": {"kosmos-2": {"backbone": "paligemma-1", "head": {"kind": "tokens"}}}},
            "experts.kosmos-2: the name is taken",
        ),
        (
            {"tables": {"main": {"experts": ["openvl"]}}},
            "tables.main.experts: unknown expert 'openvl': did you mean 'openvla'?",
        ),
        (
            {"backbones": {"random": {"family": "kosmos-2", "parameters_b": 1, "checkpoint": "x"}}},
            "backbones.random: the name is taken",
        ),
    ],
)
def test_an_error_names_the_key_and_the_remedy(raw, changes, expected):
    assert expected in message(raw, **changes)


def test_a_study_without_auxiliary_tasks(raw):
    del raw["auxiliary"]
    assert "unknown auxiliary task 'omni-generation': known: none" in message(raw)
    for table in ("auxiliary", "fast_injection"):
        del raw["tables"][table]
    assert load_config(raw).auxiliaries() == ["none"]


def test_a_universal_tokenizer_needs_no_vocabulary(raw):
    raw["auxiliary"]["fast"] = {"benchmark": "bridge", "pictures": 10, "tokenizer": "here"}
    assert load_config(raw).auxiliary.fast.scale is None


def test_a_missing_key_is_an_error(raw):
    del raw["vla"]
    assert message(raw) == "config.yaml: vla: missing: add this key"


def test_two_errors_are_two_lines(raw):
    with pytest.raises(UserError) as error:
        load_config(raw | {"sedes": 1, "image_size": 0})
    assert len(str(error.value).splitlines()) == 2


def test_settings_cannot_be_changed(raw):
    config = load_config(raw)
    with pytest.raises(ValueError, match="frozen"):
        config.image_size = 3
    assert isinstance(config, Config)
