"""A policy that a program loads is the one that was trained: its files have the hashes in provenance.json."""

import json
import shutil

import numpy as np
import pytest
from tiny_backbones import make

from vlm4vla.actions.normalisation import Statistics
from vlm4vla.backbones.model_hashes import model_hashes
from vlm4vla.config.policies import MlpHeadSettings
from vlm4vla.core.errors import UserError
from vlm4vla.policies.loading import load_policy
from vlm4vla.policies.policy import Policy

STATISTICS = Statistics(
    "range", "calvin", np.full(6, -2.0, dtype=np.float32), np.full(6, 4.0, dtype=np.float32)
)


@pytest.fixture(scope="module")
def whole(tmp_path_factory):
    """A policy's folder, with the hashes that the stage vla records."""
    folder = tmp_path_factory.mktemp("whole") / "policy"
    head = MlpHeadSettings(features=32, hidden=[32], gripper_loss_weight=0.1)
    Policy.create(make("internvl"), head, 4, "calvin", STATISTICS, 0).save(folder)
    outputs = model_hashes(folder)
    outputs |= {f"backbone/{name}": digest for name, digest in model_hashes(folder / "backbone").items()}
    (folder / "provenance.json").write_text(json.dumps({"stage": "vla", "outputs": outputs}))
    return folder


@pytest.fixture
def folder(whole, tmp_path):
    return shutil.copytree(whole, tmp_path / "policy")


def refused(folder):
    with pytest.raises(UserError) as error:
        load_policy(folder)
    assert "\n" not in str(error.value)
    return str(error.value)


def test_a_policy_as_it_was_saved_is_loaded(folder):
    image = np.zeros((30, 40, 3), dtype=np.uint8)
    assert load_policy(folder).act(image, "open the drawer").shape == (4, 7)


@pytest.mark.parametrize(
    "name",
    ["policy.safetensors", "backbone/model.safetensors", "policy.json", "backbone/tokenizer.json"],
)
@pytest.mark.parametrize("place", [0.5, -1])
def test_one_flipped_bit_is_found(folder, name, place):
    content = bytearray((folder / name).read_bytes())
    content[int(place * len(content)) if place > 0 else place] ^= 1
    (folder / name).write_bytes(bytes(content))
    assert refused(folder).startswith(f"{folder / name}: changed since it was saved")


def test_a_policy_without_a_record_is_loaded(folder):
    (folder / "provenance.json").unlink()
    load_policy(folder)


@pytest.mark.parametrize("record", ["[]", "{", '{"outputs": [1]}', "[" * 100_000, "\udcff"])
def test_a_record_that_is_none_is_one_line(folder, record):
    (folder / "provenance.json").write_bytes(record.encode(errors="surrogateescape"))
    assert "provenance.json: not a provenance record" in refused(folder)


@pytest.mark.parametrize("name", ["../secret", "/etc/hostname", "missing.json", "", "a\0b"])
def test_a_record_leads_to_no_file_outside_the_folder(folder, tmp_path, name):
    (tmp_path / "secret").write_text("x")
    (folder / "provenance.json").write_text(json.dumps({"outputs": {name: "0" * 64}}))
    load_policy(folder)
