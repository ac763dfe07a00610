"""Files that override config.yaml are merged as Snakemake merges them."""

from pathlib import Path

import pytest
from fast_yaml import load_yaml
from snakemake.utils import update_config

from vlm4vla.config.config import load_config
from vlm4vla.config.layers import read_layers
from vlm4vla.core.errors import UserError

REPOSITORY = Path(__file__).parents[2]


def merged_by_snakemake(texts: list[str]) -> dict:
    """The configuration as Snakemake reads it: every file updates what the earlier ones have set."""
    merged: dict = {}
    for text in texts:
        update_config(merged, load_yaml(text))
    return merged


@pytest.mark.parametrize("scale", ["smoke", "paper"])
def test_files_are_merged_as_snakemake_does(scale):
    paths = [REPOSITORY / "config.yaml", REPOSITORY / "workflow" / "scales" / f"{scale}.yaml"]
    merged = merged_by_snakemake([path.read_text() for path in paths])
    assert read_layers(paths) == load_config(merged)


def test_a_mapping_that_yaml_aliases_share_is_overridden_in_one_place(tmp_path):
    text = (REPOSITORY / "config.yaml").read_text()
    document = load_yaml(text)
    shared = "vla:\n  optimiser: &one {name: adamw, learning_rate: 0.002}\n"
    shared += "experts:\n  pi0: {training: {optimiser: *one}}\n"
    texts = [text, shared, "vla: {optimiser: {warmup: 0.3}}\n"]
    for number, layer in enumerate(texts):
        (tmp_path / f"{number}.yaml").write_text(layer)
    read = read_layers([tmp_path / f"{number}.yaml" for number in range(3)])
    assert read == load_config(merged_by_snakemake(texts))
    before = document["experts"]["pi0"]["training"]["optimiser"].get("warmup", 0.05)
    assert (read.vla.optimiser.warmup, read.experts["pi0"].training.optimiser.warmup) == (0.3, before)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("a: [", "not valid YAML"),
        ("- a", "not a mapping of keys"),
        ("vla: {stpes: 1}", "unknown key"),
        (None, "no file"),
    ],
)
def test_an_error_is_one_line(tmp_path, text, message):
    path = tmp_path / "layer.yaml"
    if text is not None:
        path.write_text(text)
    with pytest.raises(UserError, match=message) as error:
        read_layers([REPOSITORY / "config.yaml", path])
    assert "\n" not in str(error.value)
