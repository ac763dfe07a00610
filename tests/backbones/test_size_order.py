"""The tiny backbones of the study keep the order of the real models' sizes."""

from __future__ import annotations

from pathlib import Path

import pytest
import yaml

from vlm4vla.backbones import build
from vlm4vla.config.config import load_config

CONFIG = Path(__file__).parents[2] / "config.yaml"


@pytest.mark.parametrize("words", [100, 400])
def test_parameter_counts_are_in_the_order_of_the_real_sizes(words):
    config = load_config(yaml.safe_load(CONFIG.read_text()))
    vocabulary = [f"word{number}" for number in range(words)]
    counts = []
    for name, backbone in sorted(config.backbones.items(), key=lambda item: item[1].parameters_b):
        model = build(backbone, name, vocabulary, config.image_size, 0).model
        counts.append((sum(parameter.numel() for parameter in model.parameters()), name))
    assert counts == sorted(counts)
    assert len({count for count, _ in counts}) == len(config.backbones)
