from pathlib import Path

import pytest
from fast_yaml import load_yaml

from vlm4vla.conventions.lineages import LINEAGES, lineage

CONFIG = Path(__file__).parents[2] / "config.yaml"


@pytest.mark.parametrize(
    ("family", "expected"),
    [("qwen2_5_vl", "Qwen"), ("qwen3_vl_moe", "Qwen"), ("paligemma2", "PaliGemma"), ("my-own", "my-own")],
)
def test_versions_have_one_lineage(family, expected):
    assert lineage(family) == expected


def test_the_backbones_of_the_study_have_four_lineages():
    families = [each["family"] for each in load_yaml(CONFIG.read_text())["backbones"].values()]
    assert set(LINEAGES) <= set(families)
    assert {lineage(family) for family in families} == {"Qwen", "PaliGemma", "kosmos-2", "internvl"}
