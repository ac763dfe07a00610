"""workflow/scales/2026.yaml: pinned checkpoints of types that work, with the sizes by public configs."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import pytest
import torch
from fast_yaml import load_yaml
from smoke_study import merge
from transformers import AutoModelForImageTextToText
from transformers.models.auto.configuration_auto import CONFIG_MAPPING

from vlm4vla.backbones.generic.surveyed import findings
from vlm4vla.backbones.lookup import is_generic
from vlm4vla.core.errors import UserError
from vlm4vla.workflow.preflight import open_study

ROOT = Path(__file__).parents[2]
LAYER = load_yaml((ROOT / "workflow/scales/2026.yaml").read_text())
BACKBONES = LAYER["backbones"]


def qwen(width, inner, layers, heads, key_values, values, vision, seen, seen_inner, tied) -> dict[str, Any]:
    kinds = ["full_attention" if layer % 4 == 3 else "linear_attention" for layer in range(layers)]
    text = {
        "hidden_size": width, "intermediate_size": inner, "num_hidden_layers": layers,
        "num_attention_heads": heads, "num_key_value_heads": key_values, "head_dim": 256,
        "vocab_size": 248320, "linear_num_value_heads": values, "linear_num_key_heads": 16,
        "linear_key_head_dim": 128,
        "linear_value_head_dim": 128, "linear_conv_kernel_dim": 4, "layer_types": kinds,
        "tie_word_embeddings": tied,
    }  # fmt: skip
    seeing = {
        "depth": vision, "hidden_size": seen, "intermediate_size": seen_inner, "num_heads": 16,
        "patch_size": 16, "spatial_merge_size": 2, "temporal_patch_size": 2, "out_hidden_size": width,
        "num_position_embeddings": 2304,
    }  # fmt: skip
    return {"text_config": text, "vision_config": seeing, "tie_word_embeddings": tied}


def gemma(width, inner, layers, heads, key_values) -> dict[str, Any]:
    text = {
        "hidden_size": width, "intermediate_size": inner, "num_hidden_layers": layers,
        "num_attention_heads": heads, "num_key_value_heads": key_values, "head_dim": 256,
        "vocab_size": 262208,
    }  # fmt: skip
    return {"text_config": text, "vision_config": siglip(27, 896), "mm_tokens_per_image": 256}


def siglip(layers, side) -> dict[str, Any]:
    return {
        "model_type": "siglip_vision_model", "hidden_size": 1152, "intermediate_size": 4304,
        "num_hidden_layers": layers, "num_attention_heads": 16, "image_size": side, "patch_size": 14,
        "vision_use_head": False,
    }  # fmt: skip


def internvl(width, inner, layers, heads, tied) -> dict[str, Any]:
    text = {
        "model_type": "qwen3", "hidden_size": width, "intermediate_size": inner, "num_hidden_layers": layers,
        "num_attention_heads": heads, "num_key_value_heads": 8, "head_dim": 128, "vocab_size": 151936,
        "tie_word_embeddings": tied,
    }  # fmt: skip
    seeing = {
        "hidden_size": 1024, "intermediate_size": 4096, "num_hidden_layers": 24, "num_attention_heads": 16,
        "image_size": [448, 448], "patch_size": [14, 14], "attention_bias": True, "norm_type": "layer_norm",
        "use_absolute_position_embeddings": True,
    }  # fmt: skip
    return {
        "text_config": text,
        "vision_config": seeing,
        "downsample_ratio": 0.5,
        "tie_word_embeddings": tied,
    }


def llava(width, inner, layers, heads, key_values, vocabulary, tied) -> dict[str, Any]:
    text = {
        "model_type": "qwen2", "hidden_size": width, "intermediate_size": inner, "num_hidden_layers": layers,
        "num_attention_heads": heads, "num_key_value_heads": key_values, "vocab_size": vocabulary,
        "tie_word_embeddings": tied,
    }  # fmt: skip
    return {"text_config": text, "vision_config": siglip(26, 384), "tie_word_embeddings": tied}


# The fields of public configurations that determine the number of weights.
CONFIGS = {
    "qwen3.5-2b": qwen(2048, 6144, 24, 8, 2, 16, 24, 1024, 4096, True),
    "qwen3.5-4b": qwen(2560, 9216, 32, 16, 4, 32, 24, 1024, 4096, True),
    "qwen3.5-9b": qwen(4096, 12288, 32, 16, 4, 32, 27, 1152, 4304, False),
    "gemma-3-4b": gemma(2560, 10240, 34, 8, 4),
    "gemma-3-12b": gemma(3840, 15360, 48, 16, 8),
    "internvl3.5-1b": internvl(1024, 3072, 28, 16, False),
    "internvl3.5-8b": internvl(4096, 12288, 36, 32, False),
    "llava-onevision-0.5b": llava(896, 4864, 24, 14, 2, 152000, True),
    "llava-onevision-7b": llava(3584, 18944, 28, 28, 4, 152128, False),
}


@pytest.mark.parametrize("name", CONFIGS)
def test_the_stated_size_is_that_of_the_configuration(name):
    config = CONFIG_MAPPING[BACKBONES[name]["family"]](**CONFIGS[name])
    with torch.device("meta"):
        model = AutoModelForImageTextToText.from_config(config)
    model.tie_weights()
    counted = sum(weight.numel() for weight in model.parameters())
    assert counted == pytest.approx(BACKBONES[name]["parameters_b"] * 1e9, rel=0.01)


@pytest.mark.parametrize("name", BACKBONES)
def test_checkpoints_are_pinned_and_of_types_that_work(name):
    backbone = BACKBONES[name]
    assert re.fullmatch(r"[0-9a-f]{40}", backbone["revision"]) and "/" in backbone["checkpoint"]
    assert not is_generic(backbone["family"]) or findings()[backbone["family"]].works


@pytest.fixture
def raw(tmp_path) -> dict[str, Any]:
    merged: dict[str, Any] = {}
    for name in ("config.yaml", "workflow/scales/paper.yaml", "workflow/scales/2026.yaml"):
        merged = merge(merged, load_yaml((ROOT / name).read_text()))
    return merged | {"results": str(tmp_path), "minimum_free_gb": 0}


def test_the_main_table_has_all_of_them(raw):
    study = open_study(raw, ["table_main"], planned=True)
    assert len(study.cells_of("main").backbones) == 10 + len(BACKBONES)


def test_types_that_need_torchvision_are_refused_without_it(raw, capsys):
    lacking = [name for name, each in BACKBONES.items() if lacks(each["family"])]
    if not lacking:
        pytest.skip("torchvision and timm are installed")
    open_study(raw, ["table_main"], planned=True)
    error = rf"{lacking[0]}.family: '\w+' needs .*torchvision.*: run in the env.*`make env-torchvision`"
    assert re.search(error, capsys.readouterr().err)
    with pytest.raises(UserError, match=error):
        open_study(raw, ["table_main"])


def lacks(family: str) -> bool:
    found = findings().get(family)
    return bool(found and found.lacking())
