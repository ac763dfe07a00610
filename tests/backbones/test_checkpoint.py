"""Backbone folders: saving, loading, and errors in damaged folders."""

import json
import shutil

import pytest
import torch
from transformers import AutoConfig, AutoImageProcessor, AutoTokenizer

from vlm4vla.backbones import load
from vlm4vla.core.errors import UserError


@pytest.fixture(scope="module")
def folder(backbone, tmp_path_factory):
    path = tmp_path_factory.mktemp("saved") / "folder"
    backbone.save(path)
    return path


@pytest.fixture
def damaged(folder, tmp_path):
    """A copy of the folder that a test may damage."""
    return shutil.copytree(folder, tmp_path / "damaged")


def test_round_trip(backbone, folder, images, instructions):
    again = load(folder)
    assert type(again.adapter) is type(backbone.adapter)
    assert again.image_size == backbone.image_size
    query = torch.ones(backbone.hidden_size)
    states = []
    for one in (backbone, again):
        ids = [one.prompt_ids(text) for text in instructions]
        with torch.no_grad():
            states.append(one.hidden(one.batch(ids, images), query))
    assert torch.equal(*states)


def test_the_folder_is_an_ordinary_hugging_face_folder(folder, backbone):
    assert AutoConfig.from_pretrained(folder).model_type == backbone.model.config.model_type
    assert len(AutoTokenizer.from_pretrained(folder)) == len(backbone.tokenizer)
    processor = AutoImageProcessor.from_pretrained(folder, backend="pil")
    assert type(processor) is type(backbone.image_processor)
    assert not list(folder.glob(".saving*"))


def test_saving_twice_gives_the_same_bytes(backbone, folder, tmp_path):
    backbone.save(tmp_path)
    for file in folder.iterdir():
        assert file.read_bytes() == (tmp_path / file.name).read_bytes()


def test_missing_weights(damaged):
    (damaged / "model.safetensors").unlink()
    with pytest.raises(UserError, match=r"model\.safetensors is missing"):
        load(damaged)


def test_missing_config(damaged):
    (damaged / "config.json").unlink()
    with pytest.raises(UserError, match=r"no config\.json"):
        load(damaged)


@pytest.mark.parametrize("keep", [0, 5, 0.5, 0.999])
def test_truncated_weights(damaged, keep):
    file = damaged / "model.safetensors"
    whole = file.read_bytes()
    file.write_bytes(whole[: int(keep * len(whole)) if keep < 1 else keep])
    with pytest.raises(UserError, match="not a complete safetensors file"):
        load(damaged)


def test_missing_shard(damaged):
    index = {"weight_map": {"any": "model-00001-of-00002.safetensors"}}
    (damaged / "model.safetensors.index.json").write_text(json.dumps(index))
    with pytest.raises(UserError, match=r"model-00001-of-00002\.safetensors is missing"):
        load(damaged)


def test_a_missing_weight(damaged):
    from safetensors.torch import load_file, save_file

    file = damaged / "model.safetensors"
    tensors = load_file(file)
    gone = next(name for name in tensors if "norm" in name)
    del tensors[gone]
    save_file(tensors, file, metadata={"format": "pt"})
    with pytest.raises(UserError, match="the weights of"):
        load(damaged)


def test_family_without_adapter(damaged):
    config = {"model_type": "bert"}
    (damaged / "config.json").write_text(json.dumps(config))
    with pytest.raises(UserError, match="model_type 'bert' has no adapter"):
        load(damaged)
