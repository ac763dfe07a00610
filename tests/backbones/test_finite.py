"""NaN and infinity in weights are found when a checkpoint is read and before a model is saved."""

import json
import shutil

import pytest
import torch
from safetensors.torch import load_file, save_file
from tiny_backbones import make

from vlm4vla.backbones import load
from vlm4vla.backbones.finite import check_finite, check_finite_folder
from vlm4vla.core.errors import UserError

ODD = [float("nan"), float("inf"), float("-inf")]


@pytest.fixture(scope="module")
def whole(tmp_path_factory):
    folder = tmp_path_factory.mktemp("whole") / "checkpoint"
    make("qwen2_5_vl").save(folder)
    return folder


@pytest.fixture
def folder(whole, tmp_path):
    return shutil.copytree(whole, tmp_path / "checkpoint")


def split(folder, changed=None, value=0.0):
    """Store the weights in two files, with `value` in the tensor `changed`; return that tensor's file."""
    tensors = load_file(folder / "model.safetensors")
    if changed is not None:
        tensors[changed].view(-1)[0] = value
    names = sorted(tensors)
    parts = {"model-00001-of-00002.safetensors": names[::2], "model-00002-of-00002.safetensors": names[1::2]}
    places = {name: file for file, part in parts.items() for name in part}
    for file, part in parts.items():
        save_file({name: tensors[name] for name in part}, folder / file, metadata={"format": "pt"})
    index = {"metadata": {}, "weight_map": places}
    (folder / "model.safetensors.index.json").write_text(json.dumps(index))
    (folder / "model.safetensors").unlink()
    return folder / places[changed] if changed is not None else None


@pytest.mark.parametrize("value", ODD)
@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16, torch.float16])
def test_one_number_that_is_none_is_found_wherever_it_is(value, dtype):
    for place in (0, 7, -1):
        tensor = torch.ones(4, 4, dtype=dtype)
        tensor.view(-1)[place] = value
        with pytest.raises(UserError, match=r"^a/b: the tensor x has NaN or infinity: do that$"):
            check_finite({"fine": torch.zeros(2), "x": tensor}, "a/b", "do that")


def test_other_tensors_are_taken():
    largest = torch.full((3,), torch.finfo(torch.bfloat16).max, dtype=torch.bfloat16)
    others = {"integers": torch.tensor([2**62]), "empty": torch.zeros(0, 3), "bool": torch.tensor(True)}
    check_finite({"largest": largest, **others}, "", "")


def test_a_whole_checkpoint_of_several_files_is_taken(folder):
    split(folder)
    load(folder)


@pytest.mark.parametrize("value", ODD)
@pytest.mark.parametrize("number", [0, 9, -1])
def test_the_file_and_the_tensor_as_it_is_stored_are_named(folder, value, number):
    name = sorted(load_file(folder / "model.safetensors"))[number]
    file = split(folder, name, value)
    with pytest.raises(UserError) as error:
        load(folder)
    assert str(error.value).startswith(f"{file}: the tensor {name} has NaN or infinity: ")
    assert "\n" not in str(error.value)


def test_a_number_that_the_memory_cannot_hold_is_told_with_the_folder(folder):
    with pytest.raises(UserError, match="the tensor x has NaN or infinity") as error:
        check_finite_folder({"x": torch.tensor([torch.inf])}, folder, "do that")
    assert str(error.value).startswith(f"{folder}: ")


@pytest.mark.parametrize("value", ODD)
def test_nothing_is_saved_of_a_model_that_diverged(tmp_path, value):
    backbone = make("kosmos-2")
    backbone.save(tmp_path / "kept")
    before = {path.name: path.read_bytes() for path in (tmp_path / "kept").iterdir()}
    with torch.no_grad():
        list(backbone.model.parameters())[-1].view(-1)[0] = value
    for name in ("kept", "new"):
        with pytest.raises(UserError, match="the training diverged, so nothing was saved") as error:
            backbone.save(tmp_path / name)
        assert "\n" not in str(error.value) and str(error.value).startswith(f"{tmp_path / name}: the tensor ")
    assert {path.name: path.read_bytes() for path in (tmp_path / "kept").iterdir()} == before
    assert not (tmp_path / "new").exists()
