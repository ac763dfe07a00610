"""Folders of checkpoints that are not whole: refused with one line, here, by the planner and by the stage."""

import json
import pickle
import shutil
import subprocess
import sys

import numpy as np
import pytest
import torch
from real_tokenizers import KINDS, on_backbone, trained
from safetensors.torch import load_file, save_file
from tiny_backbones import make
from tokenizers import AddedToken, Tokenizer
from tokenizers.models import BPE

from vlm4vla.backbones import load
from vlm4vla.backbones.checkpoint import check_folder
from vlm4vla.backbones.complete_folder import check_chat_template, check_complete
from vlm4vla.backbones.installing import install
from vlm4vla.core.errors import UserError

POINTER = f"version https://git-lfs.github.com/spec/v1\noid sha256:{'0' * 64}\nsize 7031645\n"
WEIGHTS, INDEX = "model.safetensors", "model.safetensors.index.json"
TOKENIZER, TOKENIZER_CONFIG = "tokenizer.json", "tokenizer_config.json"
NAMES = ("config.json", TOKENIZER, TOKENIZER_CONFIG, "preprocessor_config.json", WEIGHTS)


@pytest.fixture(scope="module")
def whole(tmp_path_factory):
    folder = tmp_path_factory.mktemp("whole") / "folder"
    make("qwen3_vl").save(folder)
    return folder


@pytest.fixture
def folder(whole, tmp_path):
    return shutil.copytree(whole, tmp_path / "folder")


def refused(folder, *parts, family="qwen3_vl"):
    """Each way to the folder refuses it in one line that has `parts`."""
    ways = (
        check_complete,
        check_folder,
        load,
        lambda each: install(str(each), None, each.parent / "out", key="backbones.real", family=family),
    )
    for way in ways:
        with pytest.raises(UserError) as error:
            way(folder)
        message = str(error.value)
        assert "\n" not in message and all(part in message for part in parts), message
    assert not (folder.parent / "out").exists()


def edit(file, change):
    record = json.loads(file.read_text())
    change(record)
    file.write_text(json.dumps(record))


def shard(folder, count=2):
    """Split the weights into files with an index, as large checkpoints have them."""
    tensors = load_file(folder / WEIGHTS)
    (folder / WEIGHTS).unlink()
    names = [f"model-{number + 1:05}-of-{count:05}.safetensors" for number in range(count)]
    places = {name: names[number % count] for number, name in enumerate(sorted(tensors))}
    for each in names:
        part = {name: tensors[name] for name, place in places.items() if place == each}
        save_file(part, folder / each, metadata={"format": "pt"})
    (folder / INDEX).write_text(json.dumps({"metadata": {}, "weight_map": places}))
    return names


def test_whole_folders_pass(whole, folder):
    check_complete(whole)
    check_folder(whole)
    shard(folder)
    check_complete(folder)
    a, b = load(whole).model.state_dict(), load(folder).model.state_dict()
    assert all(torch.equal(a[name], b[name]) for name in a)


@pytest.mark.parametrize("kind", KINDS)
def test_real_kinds_of_tokenizers_pass(tmp_path, kind):
    on_backbone(trained(kind)).save(tmp_path)
    check_complete(tmp_path)
    check_folder(tmp_path)


def test_nothing_heavy_is_imported(whole):
    code = f"""
import sys
from pathlib import Path
from vlm4vla.backbones.complete_folder import check_complete
check_complete(Path({str(whole)!r}))
assert not {{"torch", "transformers"}} & set(sys.modules)
"""
    subprocess.run([sys.executable, "-c", code], check=True)


@pytest.mark.parametrize("name", NAMES)
@pytest.mark.parametrize("content", ["", POINTER, None, "directory", "half"])
def test_each_file_has_to_be_there(folder, name, content):
    file = folder / name
    before = file.read_bytes()
    file.unlink()
    if content == "directory":
        file.mkdir()
    elif content == "half":
        file.write_bytes(before[: len(before) // 2])
    elif content is not None:
        file.write_text(content)
    refused(folder, name)


@pytest.mark.parametrize("name", ["tokenizer.model", "merges.txt", "chat_template.jinja", "vocab.json"])
def test_no_file_is_a_git_lfs_pointer(folder, name):
    (folder / name).write_text(POINTER)
    refused(folder, name, "a Git LFS pointer", "git lfs pull")


@pytest.mark.parametrize("name", ["generation_config.json", "special_tokens_map.json", TOKENIZER_CONFIG])
@pytest.mark.parametrize("content", ["{", "[]", "\ufeff{}", "{'a': 1}"])
def test_files_that_are_not_json(folder, name, content):
    (folder / name).write_text(content)
    refused(folder, name, "not a JSON")


@pytest.mark.parametrize("name", [*NAMES, "merges.txt"])
def test_dead_links_of_a_cache(folder, name):
    (folder / name).unlink(missing_ok=True)
    (folder / name).symlink_to(folder / "gone")
    refused(folder, name)


# Weights ----------------------------------------------------------------------------------------------


@pytest.mark.parametrize("content", [{}, {"weight_map": {}}, {"weight_map": []}, {"weight_map": {"a": 1}}])
def test_an_index_without_weight_map(folder, content):
    shard(folder)
    (folder / INDEX).write_text(json.dumps(content))
    refused(folder, INDEX, "no weight_map")


def test_shards_that_are_missing(folder):
    names = shard(folder, 3)
    (folder / names[1]).unlink()
    refused(folder, f"{names[1]} is missing")


def test_an_index_that_leaves_a_shard_out(folder):
    names = shard(folder, 3)
    edit(
        folder / INDEX,
        lambda index: index.update(
            weight_map={k: v for k, v in index["weight_map"].items() if v != names[2]}
        ),
    )
    refused(folder, INDEX, names[2])


@pytest.mark.parametrize("name", ["../other/model.safetensors", "model.bin", "/tmp/model.safetensors"])
def test_an_index_that_names_something_else(folder, name):
    shard(folder)
    edit(folder / INDEX, lambda index: index["weight_map"].update(more=name))
    refused(folder, name)


def test_a_tensor_that_the_index_names_but_no_file_has(folder):
    names = shard(folder)
    edit(folder / INDEX, lambda index: index["weight_map"].update(more=names[0]))
    refused(folder, f"{names[0]}: no tensor more")


def test_a_tensor_in_two_files(folder):
    names = shard(folder)
    shutil.copy(folder / names[0], folder / names[1])
    refused(folder, names[1], "is in", "too")


def test_a_tensor_twice_in_the_index(folder):
    names = shard(folder)
    text = (folder / INDEX).read_text()
    key = next(iter(json.loads(text)["weight_map"]))
    (folder / INDEX).write_text(text.replace('"weight_map": {', f'"weight_map": {{"{key}": "{names[0]}", '))
    refused(folder, INDEX, key, "occurs twice")


def test_two_checkpoints_in_one_folder(folder, whole):
    shard(folder)
    shutil.copy(whole / WEIGHTS, folder / WEIGHTS)
    refused(folder, INDEX, f"does not name {WEIGHTS}")


@pytest.mark.parametrize("name", ["pytorch_model.bin", "model.pt", "consolidated.00.pth"])
def test_pickled_weights_are_not_opened(folder, name):
    (folder / WEIGHTS).unlink()
    opened = folder.parent / "opened"

    class Attack:
        def __reduce__(self):
            return (opened.touch, ())

    (folder / name).write_bytes(pickle.dumps(Attack()))
    refused(folder, name, "pickled files are not opened", "safetensors")
    assert not opened.exists()


def test_an_adapter_without_its_base(folder):
    (folder / WEIGHTS).rename(folder / "adapter_model.safetensors")
    (folder / "adapter_config.json").write_text("{}")
    refused(folder, "an adapter only")


def test_weights_of_other_sizes_than_config_json_says(folder):
    edit(folder / "config.json", lambda config: config["text_config"].update(intermediate_size=64))
    with pytest.raises(UserError, match=r"has the shape \(.*\), but by config\.json it has"):
        check_folder(folder)


@pytest.mark.parametrize(
    "key, value",
    [
        ("quantization_config", {"quant_method": "fp8"}),
        ("quantization_config", {"quant_method": "gptq", "bits": 4}),
        ("quantization", {"group_size": 64, "bits": 4}),
        ("compression_config", {"format": "int-quantized"}),
    ],
)
@pytest.mark.parametrize("part", [None, "text_config"])
def test_quantised_checkpoints_by_their_config(folder, key, value, part):
    def change(config):
        (config[part] if part else config)[key] = value

    edit(folder / "config.json", change)
    refused(folder, "config.json", key, "quantised", "bfloat16")


def test_null_is_no_quantisation(folder):
    edit(folder / "config.json", lambda config: config.update(quantization_config=None))
    check_complete(folder)


@pytest.mark.parametrize(
    "kind, name",
    [
        (torch.float8_e4m3fn, "F8_E4M3"),
        (torch.int8, "I8"),
        (torch.uint8, "U8"),
        (torch.int32, "I32"),
    ],
)
def test_quantised_checkpoints_by_their_weights(folder, kind, name):
    tensors = load_file(folder / WEIGHTS)
    chosen = next(key for key in tensors if key.endswith("mlp.up_proj.weight"))
    tensors[chosen] = tensors[chosen].to(kind)
    save_file(tensors, folder / WEIGHTS, metadata={"format": "pt"})
    refused(folder, chosen, name, "quantised")


# Tokenizers -------------------------------------------------------------------------------------------


@pytest.mark.parametrize("family", ["qwen2_5_vl", "internvl", "paligemma2", "kosmos-2"])
@pytest.mark.parametrize("gone", [(TOKENIZER, TOKENIZER_CONFIG), (TOKENIZER,), (TOKENIZER_CONFIG,)])
def test_every_family_needs_its_tokenizer(tmp_path, family, gone):
    folder = tmp_path / "folder"
    make(family).save(folder)
    check_folder(folder)
    for name in gone:
        (folder / name).unlink()
    refused(folder, f"{gone[-1]} is missing", family=family)


@pytest.mark.parametrize("names", [("vocab.json",), ("merges.txt",), ("tokenizer.model",)])
def test_parts_of_a_tokenizer(folder, names):
    (folder / TOKENIZER).unlink()
    for name in names:
        (folder / name).write_text("{}")
    refused(folder, f"{TOKENIZER} is missing (there is {names[0]} only)")


def test_a_tokenizer_without_words(folder):
    raw = Tokenizer(BPE())
    special = [token.content for token in make("qwen3_vl").tokenizer.added_tokens_decoder.values()]
    raw.add_special_tokens([AddedToken(token, special=True) for token in special])
    raw.save(str(folder / TOKENIZER))
    refused(folder, TOKENIZER, "two instructions would be one prompt")


def test_a_tokenizer_of_another_family(folder):
    make("paligemma").tokenizer.save_pretrained(folder)
    refused(folder, TOKENIZER, "has no token <|image_pad|>")


def test_a_tokenizer_with_the_image_at_another_id(folder):
    edit(folder / "config.json", lambda config: config.update(image_token_id=3))
    refused(folder, TOKENIZER, "<|image_pad|>", "config.json says 3")


def test_a_tokenizer_that_is_larger_than_the_embedding(folder):
    tokenizer = make("qwen3_vl").tokenizer
    tokenizer.add_tokens(["more", "words"])
    tokenizer.save_pretrained(folder)
    rows = len(tokenizer) - 2
    refused(folder, TOKENIZER, f"'words' has the id {rows + 1}, but the word embedding has {rows} rows")


def test_a_tokenizer_without_padding(folder):
    edit(folder / TOKENIZER_CONFIG, lambda config: config.pop("pad_token"))
    with pytest.raises(UserError, match=r"tokenizer_config\.json: no pad_token"):
        check_folder(folder)


# Image processors -------------------------------------------------------------------------------------


def test_the_image_processor_may_be_in_processor_config(folder):
    settings = json.loads((folder / "preprocessor_config.json").read_text())
    (folder / "preprocessor_config.json").unlink()
    (folder / "processor_config.json").write_text(json.dumps({"image_processor": settings}))
    check_complete(folder)
    images = np.zeros((1, 64, 64, 3), np.uint8)
    assert load(folder).encode_images(images)["pixel_values"].shape[0] == 16


def test_a_processor_config_without_image_processor(folder):
    (folder / "preprocessor_config.json").unlink()
    (folder / "processor_config.json").write_text('{"processor_class": "Qwen3VLProcessor"}')
    refused(folder, "processor_config.json: no image_processor_type")


def test_a_config_that_transformers_does_not_know(folder):
    edit(folder / "config.json", lambda config: config.update(model_type="wonder_vl"))
    with pytest.raises(UserError, match=r"transformers cannot load it \(ValueError: .*wonder_vl"):
        check_folder(folder)


def test_a_tokenizer_of_vocabulary_and_merges(tmp_path):
    """Folders that slow tokenizers wrote have no tokenizer.json."""
    backbone = on_backbone(trained("byte-level BPE"))
    backbone.save(tmp_path)
    model = json.loads((tmp_path / TOKENIZER).read_text())["model"]
    (tmp_path / "vocab.json").write_text(json.dumps(model["vocab"]))
    (tmp_path / "merges.txt").write_text("\n".join(" ".join(pair) for pair in model["merges"]))
    added = {
        str(number): {"content": token.content, "special": token.special, "normalized": False}
        for number, token in backbone.tokenizer.added_tokens_decoder.items()
    }
    edit(tmp_path / TOKENIZER_CONFIG, lambda config: config.update(added_tokens_decoder=added))
    (tmp_path / TOKENIZER).unlink()
    check_complete(tmp_path)
    check_folder(tmp_path)
    again = load(tmp_path)
    for text in ("move the left-hand drawer 0.12", "open it"):
        assert again.prompt_ids(text) == backbone.prompt_ids(text)


@pytest.mark.parametrize("place", ["chat_template.jinja", "chat_template.json", TOKENIZER_CONFIG])
def test_a_chat_template_for_lmms_eval(folder, place, tmp_path):
    with pytest.raises(UserError, match=r"chat_template\.jinja is missing, which lmms-eval needs"):
        check_chat_template(folder)
    if place == TOKENIZER_CONFIG:
        edit(folder / place, lambda config: config.update(chat_template="{{ messages }}"))
    else:
        (folder / place).write_text('{"chat_template": "{{ messages }}"}')
    check_chat_template(folder)
    make("paligemma").save(tmp_path / "other")
    check_chat_template(tmp_path / "other")
