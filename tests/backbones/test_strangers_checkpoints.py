"""Checkpoints from strangers: damaged files, links elsewhere, code of their own, NaN. One line for each."""

import json
import os
import shutil
import struct

import pytest
import torch
from safetensors.torch import load_file, save_file
from tiny_backbones import make

from vlm4vla.backbones import load
from vlm4vla.backbones.checkpoint import check_folder
from vlm4vla.backbones.complete_folder import check_complete
from vlm4vla.core.errors import UserError

WEIGHTS, INDEX = "model.safetensors", "model.safetensors.index.json"


@pytest.fixture(scope="module")
def whole(tmp_path_factory):
    folder = tmp_path_factory.mktemp("whole") / "checkpoint"
    make("qwen2_5_vl").save(folder)
    return folder


@pytest.fixture
def folder(whole, tmp_path):
    return shutil.copytree(whole, tmp_path / "checkpoint")


def refused(folder, *parts, ways=(check_complete, check_folder)):
    for way in ways:
        with pytest.raises(UserError) as error:
            way(folder)
        message = str(error.value)
        assert len(message.splitlines()) == 1 and str(folder) in message
        assert all(part in message for part in parts), message


def edit(file, **values):
    file.write_text(json.dumps(json.loads(file.read_text()) | values))


def nested(file, part, **values):
    record = json.loads(file.read_text())
    record[part] |= values
    file.write_text(json.dumps(record))


CONFIGS = {
    "text_config is a list": lambda file: edit(file, text_config=[]),
    "text_config is null": lambda file: edit(file, text_config=None),
    "vision_config is a number": lambda file: edit(file, vision_config=5),
    "model_type is a list": lambda file: edit(file, model_type=["qwen2_5_vl"]),
    "model_type is unknown": lambda file: edit(file, model_type="another"),
    "hidden_size is a word": lambda file: nested(file, "text_config", hidden_size="large"),
    "hidden_size is negative": lambda file: nested(file, "text_config", hidden_size=-32),
    "hidden_size is 0": lambda file: nested(file, "text_config", hidden_size=0),
    "hidden_size is null": lambda file: nested(file, "text_config", hidden_size=None),
    "no heads": lambda file: nested(file, "text_config", num_attention_heads=0),
    "heads do not divide": lambda file: nested(file, "text_config", num_attention_heads=7),
    "vocabulary of -1": lambda file: nested(file, "text_config", vocab_size=-1),
    "rope_scaling is a word": lambda file: nested(file, "text_config", rope_scaling="x"),
    "an unknown activation": lambda file: nested(file, "text_config", hidden_act="nothing"),
    "patches of 0 pixels": lambda file: nested(file, "vision_config", patch_size=0),
    "a type of numbers that is none": lambda file: edit(file, dtype="float33"),
    "layers without end": lambda file: nested(file, "text_config", num_hidden_layers=10**9),
    "vision layers without end": lambda file: nested(file, "vision_config", depth=10**12),
}


@pytest.mark.parametrize("name", CONFIGS)
def test_a_fault_of_config_json(folder, name):
    CONFIGS[name](folder / "config.json")
    refused(folder, ways=(check_folder,))


@pytest.mark.parametrize("count", [1000, 10**15, 10**400, 1e300])
def test_layers_that_the_weights_do_not_have_are_told_before_they_are_built(folder, count):
    nested(folder / "config.json", "text_config", num_hidden_layers=count)
    refused(folder, "text_config.num_hidden_layers is 1", "but the weights have", ways=(check_complete,))


TOKENIZERS = {
    "a list": "[]",
    "a word": '"x"',
    "null": "null",
    "nested deep": "[" * 100_000,
    "no model": '{"version": "1.0"}',
    "a model of an unknown type": '{"version": "1.0", "model": {"type": "Another", "vocab": {}}}',
    "a vocabulary of numbers": '{"model": {"type": "WordLevel", "vocab": [1], "unk_token": "a"}}',
    "not UTF-8": b"\xff\xfe{}",
}


@pytest.mark.parametrize("name", TOKENIZERS)
def test_a_fault_of_tokenizer_json(folder, name):
    content = TOKENIZERS[name]
    (folder / "tokenizer.json").write_bytes(content if isinstance(content, bytes) else content.encode())
    refused(folder, "tokenizer.json")


PROCESSOR = "preprocessor_config.json"


@pytest.mark.parametrize(
    "content", ["5", "[]", "{}", '{"size": 3}', '{"image_processor_type": 7}', "[" * 100_000]
)
def test_a_fault_of_the_image_processor(folder, content):
    (folder / PROCESSOR).write_text(content)
    refused(folder, ways=(check_folder,))


@pytest.mark.parametrize(
    ("key", "value"),
    [
        ("image_mean", "x"),
        ("image_mean", [0.5, 0.5]),
        ("image_mean", [float("nan")] * 3),
        ("image_std", [1, 1, 0]),
        ("image_std", 0.5),
        ("rescale_factor", 0),
        ("rescale_factor", float("inf")),
        ("patch_size", 0),
        ("patch_size", True),
        ("merge_size", "2"),
    ],
)
def test_numbers_of_the_image_processor_that_cannot_be(folder, key, value):
    """They would give pixel values that are no numbers, in each image."""
    edit(folder / PROCESSOR, **{key: value})
    with pytest.raises(UserError, match=f"{PROCESSOR}: {key} is .*, not (three numbers|a number)"):
        check_complete(folder)
    refused(folder)


def test_whole_numbers_normalise_as_well(folder):
    edit(folder / PROCESSOR, image_mean=[0, 0, 0], image_std=[1, 1, 1])
    assert list(load(folder).image_processor.image_std) == [1, 1, 1]


def test_a_word_embedding_without_rows(folder):
    stored = load_file(folder / WEIGHTS)
    name = next(each for each in stored if each.endswith("embed_tokens.weight"))
    save_file(stored | {name: torch.tensor(1.0)}, folder / WEIGHTS, {"format": "pt"})
    refused(folder, ways=(check_folder,))


@pytest.mark.parametrize(
    "head",
    [
        b"",
        b"\0" * 8,
        struct.pack("<Q", 2**63),
        struct.pack("<Q", 10**9) + b"{}",
        struct.pack("<Q", 2) + b"[]",
        struct.pack("<Q", 4) + b"null",
        struct.pack("<Q", 9) + b'{"a": 5}x',
        struct.pack("<Q", 60) + b'{"a":{"dtype":"F32","shape":[9],"data_offsets":[0,36]}}     ',
        struct.pack("<Q", 60) + b'{"a":{"dtype":"F32","shape":[-1],"data_offsets":[0,4]}}     ',
        struct.pack("<Q", 60) + b'{"a":{"dtype":"X99","shape":[1],"data_offsets":[0,4]}}      ' + bytes(4),
    ],
)
def test_a_header_of_weights_that_is_none(folder, head):
    (folder / WEIGHTS).write_bytes(head)
    refused(folder, WEIGHTS)


NAMES = [
    "../elsewhere/model.safetensors",
    "part/model.safetensors",
    "/model.safetensors",
    "a" * 5000 + ".safetensors",
    "model-00001-of-" + "9" * 5000 + ".safetensors",
    "a\0.safetensors",
    "a\n.safetensors",
    ".safetensors/..",
    "",
]


@pytest.mark.parametrize("name", NAMES)
def test_an_index_that_names_no_file_of_the_folder(folder, name):
    (folder / "part").mkdir()
    shutil.copy(folder / WEIGHTS, folder / "part" / WEIGHTS)
    (folder / WEIGHTS).unlink()
    (folder / INDEX).write_text(json.dumps({"weight_map": {"a": name}}))
    refused(folder)


@pytest.mark.parametrize("name", [WEIGHTS, "config.json", "tokenizer.json", PROCESSOR])
@pytest.mark.parametrize("target", ["absolute", "relative"])
def test_a_link_out_of_the_folder(folder, tmp_path, name, target):
    (folder / name).rename(tmp_path / "elsewhere")
    os.symlink(tmp_path / "elsewhere" if target == "absolute" else "../elsewhere", folder / name)
    refused(folder, name, "a link out of the folder")


def test_a_shard_that_is_a_link_out_of_the_folder(folder, tmp_path):
    tensors = load_file(folder / WEIGHTS)
    (folder / WEIGHTS).rename(tmp_path / "elsewhere")
    os.symlink(tmp_path / "elsewhere", folder / "model-00001-of-00001.safetensors")
    (folder / INDEX).write_text(
        json.dumps({"weight_map": dict.fromkeys(tensors, "model-00001-of-00001.safetensors")})
    )
    refused(folder, "a link out of the folder")


def test_links_of_the_hubs_cache_are_no_links_out_of_it(folder, tmp_path):
    repository = tmp_path / "models--me--model"
    snapshot = repository / "snapshots" / "0123abcd"
    (repository / "blobs").mkdir(parents=True)
    snapshot.mkdir(parents=True)
    for number, file in enumerate(sorted(folder.iterdir())):
        file.rename(repository / "blobs" / str(number))
        os.symlink(f"../../blobs/{number}", snapshot / file.name)
    check_complete(snapshot)
    check_folder(snapshot)


@pytest.mark.parametrize("value", [float("nan"), float("inf"), float("-inf")])
@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
def test_weights_that_are_no_numbers_are_found(folder, value, dtype):
    tensors = {name: tensor.to(dtype) for name, tensor in load_file(folder / WEIGHTS).items()}
    name = sorted(tensors)[len(tensors) // 2]
    tensors[name].view(-1)[-1] = value
    save_file(tensors, folder / WEIGHTS, metadata={"format": "pt"})
    refused(folder, name.rpartition(".")[2], "has NaN or infinity", ways=(load,))


CODE = "import pathlib; pathlib.Path({mark!r}).touch()\n"


@pytest.mark.parametrize(
    ("file", "keys"),
    [
        ("config.json", {"model_type": "own", "auto_map": {"AutoConfig": "own.Config"}}),
        (
            "config.json",
            {"auto_map": {"AutoModelForImageTextToText": "own.Model", "AutoConfig": "own.Config"}},
        ),
        (
            "tokenizer_config.json",
            {"tokenizer_class": "Own", "auto_map": {"AutoTokenizer": ["own.Own", None]}},
        ),
        (PROCESSOR, {"image_processor_type": "Own", "auto_map": {"AutoImageProcessor": "own.Own"}}),
    ],
)
def test_code_of_the_folder_is_neither_run_nor_asked_about(folder, tmp_path, monkeypatch, file, keys):
    mark = tmp_path / "run"
    (folder / "own.py").write_text(CODE.format(mark=str(mark)))
    edit(folder / file, **keys)
    monkeypatch.setattr("builtins.input", lambda *_: pytest.fail("asked at the terminal"))
    try:
        check_folder(folder)  # a family that transformers has itself
    except UserError as error:
        assert len(str(error).splitlines()) == 1
    assert not mark.exists()


def test_the_message_about_code_says_that_it_is_not_run(folder):
    (folder / "own.py").write_text("")
    edit(folder / "config.json", model_type="own", auto_map={"AutoConfig": "own.Config"})
    refused(folder, "code that is in the folder itself, which is not run", ways=(check_folder,))
