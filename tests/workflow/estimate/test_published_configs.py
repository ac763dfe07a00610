"""The ten released models, built without weights, have the paper's sizes. A policy adds little to them."""

from pathlib import Path

import pytest
import torch
from fast_yaml import load_yaml
from transformers import AutoConfig, AutoModelForImageTextToText

from vlm4vla.config.config import load_config
from vlm4vla.policies.heads.mlp import MlpHead
from vlm4vla.workflow.estimate.published_configs import published_configs
from vlm4vla.workflow.estimate.shapes import shape_of

CONFIG = Path(__file__).parents[3] / "config.yaml"
FEATURES, HIDDEN, CHUNK = 1024, [1024, 512, 256], 10  # of the paper's head on CALVIN
STATED = load_config(load_yaml(CONFIG.read_text())).backbones


def count(model) -> int:
    return sum(parameter.numel() for parameter in model.parameters())


@pytest.fixture(scope="module")
def sizes():
    """{hub name: (parameters of the backbone, new parameters of a policy)}, counted on the meta device."""
    found = {}
    with torch.device("meta"):
        for hub, published in published_configs().items():
            fields = dict(published.config)
            config = AutoConfig.for_model(fields.pop("model_type"), **fields)
            model = AutoModelForImageTextToText.from_config(config)
            width = model.config.get_text_config().hidden_size
            assert model.get_input_embeddings().weight.device.type == "meta"
            found[hub] = count(model), width + count(MlpHead(width, FEATURES, HIDDEN, CHUNK))
    return found


def test_every_backbone_of_the_study_has_a_config():
    assert sorted(each.study for each in published_configs().values()) == sorted(STATED)
    for each in published_configs().values():
        model_type = "paligemma" if STATED[each.study].family == "paligemma2" else STATED[each.study].family
        assert each.config["model_type"] == model_type


def test_sizes_are_those_of_the_paper(sizes):
    """The paper states the size of the policy, all of which is trained, with one decimal."""
    print(
        f"\n{'backbone':18} {'paper':>6} {'backbone':>15} {'new':>11} {'policy':>7} {'off':>6} {'new %':>6}"
    )
    for hub, (own, new) in sizes.items():
        name = published_configs()[hub].study
        stated = STATED[name].parameters_b
        billions = (own + new) / 1e9
        off = billions / stated - 1
        print(f"{name:18} {stated:6.1f} {own:15,} {new:11,} {billions:7.3f} {off:6.1%} {new / own:6.2%}")
        assert abs(off) <= 0.02, name
        assert abs(own / 1e9 - stated) <= max(0.02 * stated, 0.05), name
        assert new / own < 0.01, name


def test_parameters_are_those_on_the_hub(sizes):
    stated = {hub: each.parameters for hub, each in published_configs().items() if each.parameters}
    assert len(stated) >= 9
    assert {hub: sizes[hub][0] for hub in stated} == stated


def test_new_parameters_are_those_of_the_head(sizes):
    for hub, (_, new) in sizes.items():
        width = shape_of(published_configs()[hub].config, published_configs()[hub].processor).text.width
        trunk = width * (width // 2) + width // 2 + width // 2 * FEATURES + FEATURES
        inner = sum(a * b + b for a, b in zip([FEATURES, *HIDDEN], HIDDEN, strict=False))
        outer = 2 * 256 * CHUNK * 3.5 + CHUNK * 7
        assert new == width + trunk + 2 * inner + outer


def test_closed_form_counts_every_parameter(sizes):
    for hub, published in published_configs().items():
        assert shape_of(published.config, published.processor).parameters == sizes[hub][0], hub
