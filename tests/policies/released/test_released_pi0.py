"""A released pi0 acts as transformers' own processor and model do."""

import json

import numpy as np
import pytest
import torch
from expert_policies import INSTRUCTIONS
from pi0_models import STATISTICS, own_actions, write_pi0
from safetensors.torch import load_file, save_file
from transformers import AutoTokenizer

from vlm4vla.config.released_policies import PolicyStatistics, ReleasedPolicy
from vlm4vla.core.errors import UserError
from vlm4vla.policies.released.folder import folder_hash
from vlm4vla.policies.released.pi0 import ReleasedPi0

KEY = "benchmarks.bridge.released_policies.pi0"


@pytest.fixture(autouse=True, scope="module")
def one_thread():
    torch.set_num_threads(1)


@pytest.fixture(scope="module")
def whole(tmp_path_factory):
    return write_pi0(tmp_path_factory.mktemp("pi0"))


@pytest.fixture
def folder(whole, tmp_path):
    """A copy that a test may damage."""
    for file in whole.iterdir():
        (tmp_path / file.name).write_bytes(file.read_bytes())
    return tmp_path


@pytest.fixture(scope="module")
def inputs():
    rng = np.random.default_rng(0)
    return {
        "images": rng.integers(0, 256, (2, 64, 64, 3), dtype=np.uint8),
        "instructions": INSTRUCTIONS,
        "states": rng.normal(size=(2, 8)).astype(np.float32),
        "noise": rng.standard_normal((2, 4, 9)),
    }


def load(folder, horizon=2, benchmark="bridge", **changes):
    return ReleasedPi0.load(
        folder, ReleasedPolicy(checkpoint=str(folder), **changes), benchmark, horizon, KEY
    )


@pytest.mark.parametrize("benchmark", ["bridge", "libero-10"])
def test_actions_are_transformers_own(whole, inputs, benchmark):
    """The motion is the same; the gripper is the closer one of the benchmark's two commands."""
    found = load(whole, benchmark=benchmark).predict(**inputs)
    expected = own_actions(whole, **inputs)
    assert found.shape == (2, 4, 7) and found.dtype == np.float32
    assert expected[..., :3].std() > 0.05
    np.testing.assert_allclose(found[..., :6], expected[..., :6], atol=2e-5)
    low, high = (0, 1) if benchmark == "bridge" else (-1, 1)
    closer = np.where(expected[..., 6] - low < high - expected[..., 6], low, high)
    assert np.array_equal(found[..., 6], closer) and len(np.unique(closer)) == 2


def test_statistics_of_the_configuration_replace_those_of_the_folder(whole, folder, inputs):
    other = {name: [2 * value + 0.1 for value in values] for name, values in STATISTICS.items()}
    expected = own_actions(whole, **inputs, statistics=other)
    found = load(whole, statistics=PolicyStatistics(**other)).predict(**inputs)
    np.testing.assert_allclose(found[..., :6], expected[..., :6], atol=2e-5)
    edit(folder, "processor_config.json", **dict.fromkeys(STATISTICS))
    np.testing.assert_array_equal(load(folder, statistics=other).predict(**inputs), found)


def test_each_input_matters(whole, inputs):
    policy = load(whole)
    before = policy.predict(**inputs)
    changed = {
        "images": inputs["images"] // 2,
        "instructions": INSTRUCTIONS[::-1],
        "states": inputs["states"] + 1,
        "noise": inputs["noise"] + 0.1,
    }
    assert np.array_equal(policy.predict(**inputs), before)
    for name, value in changed.items():
        assert np.abs(policy.predict(**{**inputs, name: value}) - before)[..., :6].max() > 1e-4, name


def test_other_samples_in_the_batch_do_not_matter(whole, inputs):
    policy = load(whole)
    alone = policy.predict(**{name: value[1:] for name, value in inputs.items()})
    np.testing.assert_allclose(policy.predict(**inputs)[1:], alone, atol=1e-5)


def test_the_image_token_may_have_no_embedding(whole, folder, inputs):
    """In released models its id is the number of rows of the word embedding."""
    config = json.loads((folder / "config.json").read_text())
    text = config["vlm_config"]["text_config"]
    config["vlm_config"]["image_token_id"] = text["vocab_size"]
    (folder / "config.json").write_text(json.dumps(config))
    policy = load(folder)
    assert policy.image_id == policy.model.get_input_embeddings().num_embeddings
    np.testing.assert_array_equal(policy.predict(**inputs), load(whole).predict(**inputs))


def test_bfloat16_weights_stay_what_they_are(tmp_path, inputs):
    policy = load(write_pi0(tmp_path, dtype=torch.bfloat16))
    assert policy.model.dtype == torch.bfloat16
    assert policy.model.embed_action_time.sinusoid_embeds.sinusoid_freq.dtype == torch.float32
    assert np.isfinite(policy.predict(**inputs)).all()


def edit(folder, name, **changes):
    file = folder / name
    file.write_text(json.dumps(json.loads(file.read_text()) | changes))


def image_keys(folder, **changes):
    old = json.loads((folder / "processor_config.json").read_text())["image_processor"]
    edit(folder, "processor_config.json", image_processor=old | changes)


def drop_weight(folder):
    file = folder / "model.safetensors"
    tensors = load_file(file)
    del tensors["action_out_proj.weight"]
    save_file(tensors, file, {"format": "pt"})


def infinite_weight(folder):
    file = folder / "model.safetensors"
    tensors = load_file(file)
    tensors["action_out_proj.weight"][0, 0] = np.inf
    save_file(tensors, file, {"format": "pt"})


def more_words(folder):
    tokenizer = AutoTokenizer.from_pretrained(folder)
    tokenizer.add_tokens(["another", "word"])
    tokenizer.save_pretrained(folder)


def cut_weights(folder):
    file = folder / "model.safetensors"
    file.write_bytes(file.read_bytes()[:-100])


FAULTS = {
    "another model": (
        lambda f: edit(f, "config.json", model_type="paligemma"),
        "is a 'paligemma', but only 'pi0' acts without a server",
    ),
    "LeRobot's own format": (
        lambda f: (f / "config.json").write_text('{"type": "pi0"}'),
        "has no model_type",
    ),
    "no config": (lambda f: (f / "config.json").unlink(), "no config.json"),
    "cut weights": (cut_weights, "not a complete safetensors file"),
    "no tokenizer": (lambda f: (f / "tokenizer.json").unlink(), "tokenizer.json is missing"),
    "no processor": (lambda f: (f / "processor_config.json").unlink(), "is missing (the image processor)"),
    "no statistics": (
        lambda f: edit(f, "processor_config.json", state_std=None),
        "has no state_std in processor_config.json: write the mean and the standard deviation",
    ),
    "other statistics": (
        lambda f: edit(f, "processor_config.json", actions_mean=[0.0] * 14),
        "actions_mean has 14 numbers: write 7",
    ),
    "text as statistics": (
        lambda f: edit(f, "processor_config.json", state_mean=["a"]),
        "processor_config.json: state_mean: Input should be a valid number",
    ),
    "a wide state": (
        lambda f: edit(f, "processor_config.json", state_mean=[0.0] * 11, state_std=[1.0] * 11),
        "a state of 11 numbers, but",
    ),
    "short chunks": (lambda f: edit(f, "config.json", chunk_size=1), "2 is above the 1 actions"),
    "few actions": (lambda f: edit(f, "config.json", max_action_dim=6), "actions have 7 numbers here"),
    "no number": (lambda f: edit(f, "config.json", chunk_size="x"), "chunk_size is 'x', not a number"),
    "a missing weight": (drop_weight, "the weights of action_out_proj.weight"),
    "an infinite weight": (infinite_weight, "action_out_proj.weight has NaN or infinity"),
    "another width": (lambda f: edit(f, "config.json", max_action_dim=12), "has the shape"),
    "a larger vocabulary": (more_words, "but the word embedding has"),
    "no bos": (lambda f: edit(f, "tokenizer_config.json", bos_token=None), "no bos_token"),
    "other images": (
        lambda f: image_keys(
            f, size={"max_height": 32, "max_width": 32}, pad_size={"height": 32, "width": 32}
        ),
        "makes images of 32 x 32 pixels, but the vision encoder reads 64 x 64",
    ),
    "other image tokens": (lambda f: image_keys(f, image_seq_length=256), "states 256 tokens for an image"),
}


@pytest.mark.parametrize("fault", FAULTS)
def test_a_bad_folder_is_refused_in_one_line(folder, fault):
    damage, expected = FAULTS[fault]
    damage(folder)
    with pytest.raises(UserError) as caught:
        load(folder)
    line = str(caught.value)
    assert expected in line and "\n" not in line


def test_a_state_of_another_robot_is_refused(whole, inputs):
    with pytest.raises(UserError, match="a state of 8 numbers, but the robot's state has 7"):
        load(whole).predict(**inputs | {"states": inputs["states"][:, :7]})


def test_the_hash_depends_on_every_file(whole, folder):
    assert folder_hash(whole) == folder_hash(folder)
    edit(folder, "processor_config.json", state_mean=[0.0] * 8)
    assert folder_hash(whole) != folder_hash(folder)
