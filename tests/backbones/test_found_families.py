"""A checkpoint without a stated family: its config.json states it, from a folder, the cache or the hub."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest
from fake_hub import COMMIT, NAME, FakeHub

from vlm4vla.backbones.found_families import with_families
from vlm4vla.config.backbones import Backbone
from vlm4vla.config.layers import read_layers
from vlm4vla.core.errors import UserError

HUB = """
import sys
from pathlib import Path
from types import SimpleNamespace
from vlm4vla.backbones.found_families import _with_family
from vlm4vla.config.backbones import Backbone
from vlm4vla.core.errors import UserError
try:
    print(_with_family(Backbone(checkpoint=sys.argv[1], revision=sys.argv[2]), "mine").family)
except UserError as error:
    sys.exit(f"error: {error}")
"""


def config_with(**backbone):
    config = read_layers([Path("config.yaml")])
    return config.model_copy(update={"backbones": {**config.backbones, "mine": Backbone(**backbone)}})


def folder_of(tmp_path, **config):
    (tmp_path / "config.json").write_text(json.dumps(config))
    return str(tmp_path)


@pytest.mark.parametrize(
    ("config", "family"),
    [
        ({"model_type": "gemma3"}, "gemma3"),
        ({"model_type": "paligemma", "text_config": {"model_type": "gemma2"}}, "paligemma2"),
    ],
)
def test_a_folder_states_it(tmp_path, config, family):
    found = with_families(config_with(checkpoint=folder_of(tmp_path, **config)))
    assert found.backbones["mine"].family == family
    assert found.backbones["kosmos-2"].family == "kosmos-2"


def test_a_stated_family_needs_no_file():
    config = config_with(checkpoint="/nowhere", family="gemma3")
    assert with_families(config) is config


def test_a_folder_that_is_not_there_is_one_line(tmp_path):
    with pytest.raises(UserError, match=r"config.yaml: backbones.mine.checkpoint: .*nowhere: no config.json"):
        with_families(config_with(checkpoint=str(tmp_path / "nowhere")))


def test_keys_that_do_not_fit_the_family_are_refused(tmp_path):
    folder = folder_of(tmp_path, model_type="gemma3")
    with pytest.raises(
        UserError, match=r"config.yaml: backbones.mine: pixels: .* 'gemma3' has one fixed size"
    ):
        with_families(config_with(checkpoint=folder, pixels={"min": 200704}))


@pytest.mark.parametrize(("key", "value"), [("family", "gemma3"), ("parameters_b", 4)])
def test_a_tiny_backbone_states_both(key, value):
    with pytest.raises(ValueError, match="a tiny backbone needs it"):
        Backbone(tiny={}, pretraining="broad", **{key: value})


@pytest.fixture
def hub():
    served = FakeHub({"config.json": b'{"model_type": "gemma4"}', "model.safetensors": b"never fetched"})
    yield served
    served.close()


def ask(hub, tmp_path, name=NAME, revision=COMMIT, **environment):
    return subprocess.run(
        [sys.executable, "-c", HUB, name, revision],
        env={**os.environ, "HF_ENDPOINT": hub.url, "HF_HOME": str(tmp_path), "HF_HUB_OFFLINE": "0"}
        | environment,
        capture_output=True,
        text=True,
        timeout=100,
    )


def test_one_file_of_the_hub_is_downloaded_once(hub, tmp_path):
    done = ask(hub, tmp_path)
    assert done.stdout == "gemma4\n", done.stderr
    assert hub.fetched() == ["config.json"]
    hub.broken = True
    assert ask(hub, tmp_path).stdout == "gemma4\n"
    assert ask(hub, tmp_path, HF_HUB_OFFLINE="1").stdout == "gemma4\n"


def test_without_a_network_the_line_says_what_to_write(hub, tmp_path):
    done = ask(hub, tmp_path, HF_HUB_OFFLINE="1")
    assert done.returncode == 1
    assert done.stderr.startswith(
        "error: config.yaml: backbones.mine.family: 'lab/model' is not in the cache"
    )
    assert done.stderr.rstrip().endswith("write `family`, or run once where a network is available")


def test_a_name_that_is_none_is_one_line(hub, tmp_path):
    done = ask(hub, tmp_path, name="a/b/c")
    assert done.stderr.startswith("error: config.yaml: backbones.mine.checkpoint: 'a/b/c' is not a name")
