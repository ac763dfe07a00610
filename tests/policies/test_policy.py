"""Policies of every family: training, freezing, prediction, saving and loading."""

import json

import numpy as np
import pytest
import torch
from safetensors.torch import load_file, save_file

from vlm4vla.actions.normalisation import Statistics
from vlm4vla.backbones import build
from vlm4vla.config.backbones import Backbone, TinySize
from vlm4vla.config.policies import MlpHeadSettings
from vlm4vla.config.reading import Reading
from vlm4vla.core.errors import UserError
from vlm4vla.core.registry import FAMILIES
from vlm4vla.policies.loading import load_policy
from vlm4vla.policies.policy import Policy

INSTRUCTIONS = ["pick up the red block and put it in the drawer", "pick up the block", "drawer"]
WORDS = sorted(set(" ".join(INSTRUCTIONS).split()))
HEAD = MlpHeadSettings(features=32, hidden=[32, 16], gripper_loss_weight=0.1)
SIZE = TinySize(
    hidden=32, intermediate=48, heads=4, layers=3, vision_hidden=32, vision_intermediate=48,
    experts=4, experts_per_token=2,
)  # fmt: skip
STATISTICS = Statistics(
    "range", "calvin", np.full(6, -2.0, dtype=np.float32), np.full(6, 4.0, dtype=np.float32)
)


@pytest.fixture(autouse=True, scope="module")
def one_thread():
    torch.set_num_threads(1)


@pytest.fixture(params=FAMILIES)
def family(request):
    return request.param


def make(family="internvl", seed=0):
    settings = Backbone(family=family, parameters_b=1, tiny=SIZE, pretraining="any")
    backbone = build(settings, family, WORDS, 64, 0)
    return Policy.create(backbone, HEAD, 4, "calvin", STATISTICS, seed)


def make_images():
    return np.random.default_rng(0).integers(0, 256, (3, 64, 64, 3), dtype=np.uint8)


def train(policy, steps):
    """Train for a few AdamW steps on a fixed batch; returns the losses."""
    rng = np.random.default_rng(1)
    pose = torch.from_numpy(rng.uniform(-1, 1, (3, 4, 6)).astype(np.float32))
    gripper = torch.tensor([[0, 0, 1, 1], [1, 0, 1, 0], [1, 1, 1, 1]])
    mask = torch.tensor([[1, 1, 1, 1], [1, 1, 1, 0], [1, 1, 0, 0]])
    parameters = [p for p in policy.parameters() if p.requires_grad]
    optimiser = torch.optim.AdamW(parameters, lr=1e-3, weight_decay=0.0)
    losses = []
    for _ in range(steps):
        ids = [policy.backbone.prompt_ids(text) for text in INSTRUCTIONS]
        loss = policy.loss(
            policy.backbone.batch(ids, make_images()), {"pose": pose, "gripper": gripper, "mask": mask}
        )
        optimiser.zero_grad()
        loss.backward()
        optimiser.step()
        losses.append(loss.item())
    return losses


@pytest.mark.parametrize("what", ["none", "vision", "embedding"])
def test_frozen_weights_stay_and_all_others_change(family, what):
    """Weight decay is off, so a weight changes only if the actions depend on it."""
    policy = make(family)
    policy.freeze(what)
    modules = {
        "none": [],
        "vision": policy.backbone.vision_encoder(),
        "embedding": [policy.backbone.word_embedding()],
    }[what]
    frozen = {id(p) for module in modules for p in module.parameters()}
    assert bool(frozen) == (what != "none")
    before = {name: p.detach().clone() for name, p in policy.named_parameters()}
    losses = train(policy, 5)
    assert losses[-1] < losses[0]
    for name, parameter in policy.named_parameters():
        assert torch.equal(parameter, before[name]) == (id(parameter) in frozen), name


def test_vision_encoder_is_most_of_the_vision_weights(family):
    policy = make(family)
    (encoder,) = policy.backbone.vision_encoder()
    names = {name for name, module in policy.named_modules() if module is encoder}
    assert names <= {"model.model.visual", "model.model.vision_tower", "model.vision_model"}
    share = sum(p.numel() for p in encoder.parameters()) / sum(p.numel() for p in policy.model.parameters())
    assert 0.1 < share < 0.7


def test_freezing_can_be_undone():
    policy = make()
    policy.freeze("vision")
    policy.freeze("embedding")
    assert all(p.requires_grad for p in policy.backbone.vision_encoder()[0].parameters())
    assert not policy.backbone.word_embedding().weight.requires_grad


def test_an_untied_output_layer_does_not_train():
    policy = make()
    output = policy.model.get_output_embeddings()
    output.weight = torch.nn.Parameter(output.weight.detach().clone())
    policy.freeze("none")
    assert not output.weight.requires_grad
    assert policy.backbone.word_embedding().weight.requires_grad


def test_forward_never_calls_the_output_layer(family):
    policy = make(family)
    policy.model.get_output_embeddings().register_forward_hook(lambda *_: pytest.fail("logits were computed"))
    pose, gripper = policy(
        policy.backbone.batch([policy.backbone.prompt_ids(t) for t in INSTRUCTIONS], make_images())
    )
    assert pose.shape == (3, 4, 6)
    assert gripper.shape == (3, 4, 1)


def test_loss_by_hand():
    policy = make()
    batch = policy.backbone.batch([policy.backbone.prompt_ids(t) for t in INSTRUCTIONS], make_images())
    pose = torch.full((3, 4, 6), 3.0)  # further than delta from any prediction, so the Huber loss is linear
    gripper = torch.ones(3, 4)
    mask = torch.tensor([[1, 0, 0, 0], [0, 0, 0, 0], [1, 1, 0, 0]])
    with torch.no_grad():
        predicted, logits = policy(batch)
        loss = policy.loss(batch, {"pose": pose, "gripper": gripper, "mask": mask})
        terms = [
            (3.0 - predicted[i, j] - 0.5).mean() - 0.1 * torch.sigmoid(logits[i, j, 0]).log()
            for i, j in ((0, 0), (2, 0), (2, 1))
        ]
    assert loss.item() == pytest.approx(sum(terms).item() / 3, abs=1e-5)


def test_masked_steps_do_not_count():
    policy = make()
    batch = policy.backbone.batch([policy.backbone.prompt_ids(t) for t in INSTRUCTIONS], make_images())
    mask = torch.tensor([[1, 1, 0, 0]] * 3, dtype=torch.bool)
    pose, gripper = torch.zeros(3, 4, 6), torch.zeros(3, 4, 1)
    other = pose.clone()
    other[:, 2:] = 1
    with torch.no_grad():
        for steps, same in ((mask, True), (~mask, False)):
            targets = [{"pose": each, "gripper": gripper, "mask": steps} for each in (pose, other)]
            losses = [policy.loss(batch, each) for each in targets]
            assert (losses[0] == losses[1]) == same


def test_predict_is_in_the_benchmarks_units():
    policy = make()
    policy.train()
    actions = policy.predict(make_images(), INSTRUCTIONS)
    assert policy.training
    assert actions.shape == (3, 4, 7)
    assert actions.dtype == np.float32
    batch = policy.backbone.batch([policy.backbone.prompt_ids(t) for t in INSTRUCTIONS], make_images())
    with torch.no_grad():
        pose, logits = policy(batch)
    assert np.allclose(actions[..., :6], 1 + 3 * pose.numpy(), atol=1e-5)  # -1..1 scaled to -2..4
    assert np.array_equal(actions[..., 6], np.where(logits[..., 0].numpy() > 0, 1, -1))  # CALVIN's values


def test_predict_needs_one_instruction_for_each_image():
    with pytest.raises(ValueError, match="3 images for 1 instructions"):
        make().predict(make_images(), ["drawer"])


def test_round_trip(family, tmp_path):
    policy = make(family)
    policy.save(tmp_path)
    again = Policy.load(tmp_path)
    # Loaded weights may not be aligned to 64 bytes, and some processors then add in another order.
    found, expected = (each.predict(make_images(), INSTRUCTIONS) for each in (again, policy))
    np.testing.assert_allclose(found, expected, rtol=0, atol=1e-6)
    assert all(torch.equal(value, again.state_dict()[name]) for name, value in policy.state_dict().items())
    assert sorted(file.name for file in tmp_path.iterdir()) == [
        "backbone",
        "policy.json",
        "policy.safetensors",
        "preprocessor_config.json",
        "processor_config.json",
        "tokenizer.json",
        "tokenizer_config.json",
    ]


READINGS = {
    "qwen3_vl": {"positions": "one-axis", "deepstack": False},
    "paligemma": {"attention": "causal"},
    "kosmos-2": {"image": "before-text"},
}


@pytest.mark.parametrize("name", READINGS)
def test_a_saved_policy_reads_prompts_as_it_was_trained(name, tmp_path):
    plain = make(name)
    assert "reading" not in saved_record(plain, tmp_path / "plain")
    read = plain.backbone.read_as(Reading(**READINGS[name]))
    policy = Policy.create(read, HEAD, 4, "calvin", STATISTICS, 0)
    record = saved_record(policy, tmp_path / "read")
    assert record["reading"] == READINGS[name]
    again = Policy.load(tmp_path / "read")
    found, expected = (each.predict(make_images(), INSTRUCTIONS) for each in (again, policy))
    np.testing.assert_allclose(found, expected, rtol=0, atol=1e-6)
    assert np.abs(expected - plain.predict(make_images(), INSTRUCTIONS)).max() > 1e-5


def saved_record(policy, folder):
    policy.save(folder)
    return json.loads((folder / "policy.json").read_text())


def test_training_without_deepstack_leaves_its_weights(tmp_path):
    read = make("qwen3_vl").backbone.read_as(Reading(deepstack=False))
    policy = Policy.create(read, HEAD, 4, "calvin", STATISTICS, 0)
    before = {name: p.detach().clone() for name, p in policy.named_parameters()}
    train(policy, 2)
    same = {name for name, p in policy.named_parameters() if torch.equal(p, before[name])}
    assert same == {name for name in before if "deepstack_merger_list" in name} != set()


def test_the_query_can_start_at_zero():
    backbone = make().backbone
    zeros = HEAD.model_copy(update={"query": "zeros"})
    policies = [Policy.create(backbone, head, 4, "calvin", STATISTICS, 7) for head in (HEAD, zeros)]
    last = backbone.word_embedding().weight[backbone.prompt_ids("")[-1]]
    assert torch.equal(policies[0].head.query, last) and last.abs().max() > 0
    assert torch.count_nonzero(policies[1].head.query) == 0
    same = [torch.equal(*pair) for pair in zip(*(p.head.mlp.parameters() for p in policies), strict=True)]
    assert all(same)
    assert "query" not in HEAD.model_dump(mode="json")
    assert zeros.model_dump(mode="json")["query"] == "zeros"


def test_same_seed_same_bytes(tmp_path):
    for name, seed in (("a", 0), ("b", 0), ("c", 1)):
        policy = make(seed=seed)
        train(policy, 2)
        policy.save(tmp_path / name)
    for file in ("policy.safetensors", "policy.json", "backbone/model.safetensors", "backbone/config.json"):
        assert (tmp_path / "a" / file).read_bytes() == (tmp_path / "b" / file).read_bytes()
    for file in ("policy.safetensors", "backbone/model.safetensors"):
        assert (tmp_path / "a" / file).read_bytes() != (tmp_path / "c" / file).read_bytes()


@pytest.fixture
def folder(tmp_path):
    make().save(tmp_path)
    return tmp_path


@pytest.mark.parametrize("name", ["policy.json", "policy.safetensors"])
def test_missing_part(folder, name):
    (folder / name).unlink()
    with pytest.raises(UserError, match=f"{name} is missing"):
        Policy.load(folder)


def test_missing_backbone_weights(folder):
    (folder / "backbone" / "model.safetensors").unlink()
    with pytest.raises(UserError, match=r"model\.safetensors is missing"):
        Policy.load(folder)


@pytest.mark.parametrize(
    "name", ["tokenizer.json", "tokenizer_config.json", "preprocessor_config.json", "config.json"]
)
@pytest.mark.parametrize("content", [None, "version https://git-lfs.github.com/spec/v1"])
def test_a_backbone_that_is_not_whole(folder, name, content):
    (folder / "backbone" / name).unlink()
    if content is not None:
        (folder / "backbone" / name).write_text(content)
    with pytest.raises(UserError, match=name.replace(".", r"\.")):
        Policy.load(folder)


@pytest.mark.parametrize("name", ["policy.json", "policy.safetensors"])
@pytest.mark.parametrize("content", [b"", b"version https://git-lfs.github.com/spec/v1", b"\xff\xfe{}"])
def test_parts_that_are_something_else(folder, name, content):
    (folder / name).write_bytes(content)
    with pytest.raises(UserError, match="a file of the policy is damaged"):
        Policy.load(folder)


def test_truncated_weights(folder):
    file = folder / "policy.safetensors"
    file.write_bytes(file.read_bytes()[:-10])
    with pytest.raises(UserError, match="a file of the policy is damaged"):
        Policy.load(folder)


def test_other_format(folder):
    file = folder / "policy.json"
    file.write_text(json.dumps(json.loads(file.read_text()) | {"format": 99}))
    with pytest.raises(UserError, match="format is 99, but this version reads 2"):
        Policy.load(folder)


def test_weights_of_another_head(folder):
    file = folder / "policy.safetensors"
    from safetensors.torch import load_file, save_file

    tensors = load_file(file)
    del tensors["head.query"]
    save_file(tensors, file)
    with pytest.raises(UserError, match=r"head\.query does not match policy\.json"):
        Policy.load(folder)


@pytest.mark.parametrize("value", [float("nan"), float("inf"), float("-inf")])
@pytest.mark.parametrize("part", ["model.", "head."])
def test_a_policy_that_diverged_is_not_saved(tmp_path, value, part):
    policy = make()
    policy.save(tmp_path)
    before = {path: path.read_bytes() for path in tmp_path.rglob("*") if path.is_file()}
    name, parameter = [each for each in policy.named_parameters() if each[0].startswith(part)][-1]
    with torch.no_grad():
        parameter.view(-1)[0] = value
    with pytest.raises(UserError, match="diverged, so nothing was saved") as error:
        policy.save(tmp_path)
    assert str(error.value).startswith(f"{tmp_path}: the tensor {name} has NaN or infinity: ")
    assert {path: path.read_bytes() for path in tmp_path.rglob("*") if path.is_file()} == before


@pytest.mark.parametrize("value", [float("nan"), float("inf"), float("-inf")])
@pytest.mark.parametrize("file", ["policy.safetensors", "backbone/model.safetensors"])
def test_a_policy_with_a_weight_that_is_no_number_is_not_loaded(tmp_path, value, file):
    make().save(tmp_path)
    tensors = load_file(tmp_path / file)
    name = sorted(tensors)[-1]
    tensors[name].view(-1)[0] = value
    save_file(tensors, tmp_path / file, metadata={"format": "pt"})
    for read in (Policy.load, load_policy):
        with pytest.raises(UserError) as error:
            read(tmp_path)
        assert str(error.value).startswith(f"{tmp_path / file}: the tensor {name} has NaN or infinity: ")
        assert "\n" not in str(error.value)
