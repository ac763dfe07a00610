"""A policy's folder from a stranger: each fault is one line that names the file."""

import json
import shutil

import pytest
import torch
from safetensors.torch import load_file, save_file
from test_policy import make

from vlm4vla.core.errors import UserError
from vlm4vla.policies.loading import load_policy


@pytest.fixture(scope="module")
def whole(tmp_path_factory):
    folder = tmp_path_factory.mktemp("whole") / "policy"
    make().save(folder)
    return folder


@pytest.fixture
def folder(whole, tmp_path):
    return shutil.copytree(whole, tmp_path / "policy")


def refused(folder, *parts):
    with pytest.raises(UserError) as error:
        load_policy(folder)
    message = str(error.value)
    assert len(message.splitlines()) == 1 and str(folder) in message
    assert all(part in message for part in parts), message


def changed(**values):
    def change(record):
        return record | values

    return change


def without(key):
    return lambda record: {name: value for name, value in record.items() if name != key}


RECORDS = {
    "a list": lambda record: [record],
    "null": lambda record: None,
    "empty": lambda record: {},
    "no statistics": without("statistics"),
    "no head": without("head"),
    "no benchmark": without("benchmark"),
    "no state": without("state"),
    "statistics a word": changed(statistics="x"),
    "statistics null": changed(statistics=None),
    "statistics empty": changed(statistics={}),
    "an unknown head": changed(head={"kind": "another"}),
    "a head that is null": changed(head=None),
    "a chunk that is a word": changed(chunk="4"),
    "a chunk that is negative": changed(chunk=-4),
    "another chunk": changed(chunk=9),
    "a chunk without end": changed(chunk=10**12),
    "a benchmark that is a list": changed(benchmark=["calvin"]),
    "a state that is a number": changed(state=5),
    "a reading that is a list": changed(reading=[1]),
    "an interface that is empty": changed(interface={}),
    "another format": changed(format=99),
    "a format that is a list": changed(format=[2]),
}


@pytest.mark.parametrize("name", RECORDS)
def test_a_fault_of_policy_json(folder, name):
    path = folder / "policy.json"
    path.write_text(json.dumps(RECORDS[name](json.loads(path.read_text()))))
    refused(folder)


@pytest.mark.parametrize(
    "content", [b"", b"{", b"\xff", b"[" * 100_000, b'{"format": 1' + b"0" * 5000 + b"}"]
)
def test_a_policy_json_that_is_none(folder, content):
    (folder / "policy.json").write_bytes(content)
    refused(folder)


@pytest.mark.parametrize("content", [b"", b"\0" * 8, b"x" * 100, b"\xff" * 8 + b"{}"])
def test_weights_that_are_none(folder, content):
    (folder / "policy.safetensors").write_bytes(content)
    refused(folder)


@pytest.mark.parametrize("change", ["nan", "inf", "shape", "more", "fewer"])
def test_other_weights(folder, change):
    path = folder / "policy.safetensors"
    tensors = load_file(path)
    name = sorted(tensors)[0]
    if change in ("nan", "inf"):
        tensors[name].view(-1)[0] = float(change)
    elif change == "shape":
        tensors[name] = torch.zeros(3, 5, 7)
    elif change == "more":
        tensors["another\nname"] = torch.zeros(2)
    else:
        del tensors[name]
    save_file(tensors, path)
    refused(folder, "policy.safetensors")


@pytest.mark.parametrize(
    "name", ["policy.json", "policy.safetensors", "backbone", "backbone/model.safetensors"]
)
def test_a_link_out_of_the_folder(folder, tmp_path, name):
    (folder / name).rename(tmp_path / "elsewhere")
    (folder / name).symlink_to(tmp_path / "elsewhere")
    refused(folder, "a link out of the folder")
