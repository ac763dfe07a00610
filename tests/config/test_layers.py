"""Files that override config.yaml are merged as Snakemake merges them."""

from pathlib import Path

import pytest
from snakemake.utils import update_config

from vlm4vla.config.config import load_config
from vlm4vla.config.layers import read_layers
from vlm4vla.core.errors import UserError

REPOSITORY = Path(__file__).parents[2]


def test_files_are_merged_as_snakemake_does():
    import yaml

    paths = [REPOSITORY / "config.yaml", REPOSITORY / "workflow" / "scales" / "smoke.yaml"]
    merged = yaml.safe_load(paths[0].read_text())
    update_config(merged, yaml.safe_load(paths[1].read_text()))
    assert read_layers(paths) == load_config(merged)


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
