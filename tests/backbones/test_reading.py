"""The settings `reading`: the query's state equals that of transformers' text model in the released code.

The released code merges image features and word embeddings itself, pads on the right, appends the query and
calls the text model with embeddings and a padding mask only.
"""

import contextlib

import pytest
import torch
from pydantic import ValidationError
from tiny_backbones import SIZE, make
from torch import nn

from vlm4vla.backbones.logits import hidden_states
from vlm4vla.backbones.tiny_tokenizer import BOS, EOS
from vlm4vla.config.backbones import Backbone
from vlm4vla.config.reading import Reading

QWEN = ("qwen2_5_vl", "qwen3_vl", "qwen3_vl_moe")
RELEASED = {
    "qwen2_5_vl": Reading(positions="one-axis", query_position="after-padding"),
    "qwen3_vl": Reading(positions="one-axis", deepstack=False, query_position="after-padding"),
    "qwen3_vl_moe": Reading(positions="one-axis", deepstack=False, query_position="after-padding"),
    "paligemma": Reading(attention="causal", query_position="after-padding"),
    "paligemma2": Reading(attention="causal", query_position="after-padding"),
    "kosmos-2": Reading(image="before-text", query_position="after-padding"),
    "internvl": Reading(query_position="after-padding"),
}
TOLERANCE = 1e-5


@pytest.fixture
def query(backbone):
    generator = torch.Generator().manual_seed(5)
    return torch.randn(backbone.hidden_size, generator=generator) * 0.3


@pytest.fixture
def randomised(fresh):
    """A backbone whose DeepStack mergers and position embeddings are not at their start of zero."""
    made = fresh()
    generator = torch.Generator().manual_seed(2)
    with torch.no_grad():
        for parameter in made.model.parameters():
            parameter.add_(0.05 * torch.randn(parameter.shape, generator=generator))
    made.model.eval()
    return made


def features_of(model, kind, inputs):
    if kind == "kosmos-2":
        vision = model.vision_model.model
        states = vision.post_layernorm(vision(inputs["pixel_values"]).last_hidden_state)
        return model.image_to_text_projection(nn.functional.normalize(states, dim=-1))[0]
    found = model.model.get_image_features(**inputs).pooler_output
    return torch.stack(list(found)) if isinstance(found, list | tuple) else found


def released_states(backbone, prompts, images, query, padded):
    """The query's state (B, d). With `padded`, shorter prompts are padded on the right before the query."""
    model, adapter = backbone.model, backbone.adapter
    kind = model.config.model_type
    features = features_of(model, kind, backbone.encode_images(images))
    features = features.reshape(len(images), adapter.image_tokens, -1)
    table = model.get_input_embeddings()
    longest = max(map(len, prompts))
    rows, masks = [], []
    for prompt, seen in zip(prompts, features, strict=True):
        words = table(torch.tensor(prompt))
        start = adapter.image_start
        merged = torch.cat([words[:start], seen, words[start + adapter.image_tokens :]])
        missing = longest - len(prompt) if padded else 0
        pad = table(torch.full((missing,), backbone.tokenizer.pad_token_id))
        rows.append(torch.cat([merged, pad, query[None]])[None])
        masks.append(torch.tensor([[1] * len(prompt) + [0] * missing + [1]]))
    text = model.text_model.model if kind == "kosmos-2" else model.model.language_model
    states = []
    with causal(text):
        for row, mask in zip(rows, masks, strict=True):
            output = text(inputs_embeds=row, attention_mask=mask, use_cache=False)
            states.append(output.last_hidden_state[:, -1])
    return torch.cat(states)


@contextlib.contextmanager
def causal(text):
    """Causal attention, as FlashAttention-2 computed it; Gemma 1 is two-way now if nothing is padded."""
    own = {module: module.is_causal for module in text.modules() if hasattr(module, "is_causal")}
    for module in own:
        module.is_causal = True
    try:
        yield
    finally:
        for module, value in own.items():
            module.is_causal = value


@pytest.mark.parametrize("training", [True, False])
def test_the_released_reading_is_that_of_the_text_model(
    randomised, family, images, instructions, query, training
):
    """In training, the position of the query counts padding; alone, there is none."""
    backbone = randomised.read_as(RELEASED[family])
    prompts = [backbone.prompt_ids(text) for text in instructions]
    assert len({len(prompt) for prompt in prompts}) == 3
    backbone.model.train(training)
    with torch.no_grad():
        ours = backbone.hidden(backbone.batch(prompts, images), query)
        theirs = released_states(backbone, prompts, images, query, padded=training)
        usual = randomised.hidden(
            randomised.batch([randomised.prompt_ids(text) for text in instructions], images), query
        )
    backbone.model.eval()
    assert torch.allclose(ours, theirs, rtol=0, atol=TOLERANCE), (ours - theirs).abs().max()
    if training or family != "internvl":
        assert (ours - usual).abs().max() > 1e-4  # the setting makes a difference


def test_image_tokens_on_one_axis_have_the_index_of_the_token():
    for family in QWEN:
        backbone = make(family).read_as(Reading(positions="one-axis"))
        positions = backbone.batch([backbone.prompt_ids("drawer")], _black(1))["position_ids"]
        length = positions.shape[-1]
        assert positions.tolist() == [[list(range(length))]] * 3
        longer = backbone.adapter.extend(backbone.batch([backbone.prompt_ids("drawer")], _black(1)))
        assert longer["position_ids"][..., -1].flatten().tolist() == [length] * 3


@pytest.mark.parametrize("family", ["qwen3_vl", "qwen3_vl_moe"], indirect=True)
def test_without_deepstack_its_weights_are_kept_but_do_not_matter(randomised, images, query, tmp_path):
    plain = randomised.read_as(Reading(deepstack=False))
    batch = plain.batch([plain.prompt_ids("drawer")], images[:1])
    with torch.no_grad():
        before = plain.hidden(batch, query)
        for parameter in plain.model.model.visual.deepstack_merger_list.parameters():
            parameter.mul_(-3)
        assert torch.equal(plain.hidden(batch, query), before)
        with_deepstack = plain.read_as(Reading())
        assert (with_deepstack.hidden(batch, query) - before).abs().max() > 1e-4
    plain.save(tmp_path)
    assert '"deepstack_visual_indexes": [\n      0\n' in (tmp_path / "config.json").read_text()


@pytest.mark.parametrize("family", ["paligemma", "paligemma2"], indirect=True)
@pytest.mark.parametrize(
    ("attention", "text_reaches_image", "image_reaches_image"),
    [("prefix", True, True), ("image", False, True), ("causal", False, False)],
)
def test_who_attends_to_later_tokens(randomised, images, attention, text_reaches_image, image_reaches_image):
    """A change of a later token reaches the first image token only through two-way attention."""
    backbone = randomised.read_as(Reading(attention=attention))
    first = backbone.adapter.image_start

    def state(prompt, image):
        with torch.no_grad():
            return hidden_states(backbone, backbone.batch([prompt], image[None]))[0, first]

    one, other = (backbone.prompt_ids(text) for text in ("pick up the red block", "pick up the red drawer"))
    assert len(one) == len(other)
    moved = (state(one, images[0]) - state(other, images[0])).abs().max() > 1e-6
    assert bool(moved) is text_reaches_image
    # SigLIP mixes all patches, so a change of one token is made behind the projector.
    projector = backbone.adapter.projector(backbone.model)
    before = state(one, images[0])
    hook = projector.register_forward_hook(lambda module, inputs, output: _last_changed(output))
    after = state(one, images[0])
    hook.remove()
    assert bool((before - after).abs().max() > 1e-6) is image_reaches_image


def _last_changed(output):
    changed = output.clone()
    changed[:, -1] += 1.0
    return changed


def test_kosmos_reads_the_image_before_a_text_with_special_tokens():
    backbone = make("kosmos-2").read_as(Reading(image="before-text"))
    tokenizer = backbone.tokenizer
    ids = backbone.prompt_ids("red block")
    count = backbone.adapter.image_tokens
    text = tokenizer("<s><image><image_pad></image><p>red block\n</p>", add_special_tokens=False)["input_ids"]
    bos, eos = tokenizer.convert_tokens_to_ids([BOS, EOS])
    assert ids[count:] == [bos, *text, eos]
    mask = backbone.batch([ids, ids[:-1]], _black(2))["image_embeds_position_mask"]
    assert mask[0].nonzero().flatten().tolist() == list(range(count))
    assert mask[1].nonzero().flatten().tolist() == list(range(1, count + 1))  # behind the padding


@pytest.mark.parametrize("family", ["qwen3_vl"], indirect=True)
def test_the_position_of_the_query_does_not_count_padding_in_rollouts(randomised, images, query):
    late = randomised.read_as(Reading(query_position="after-padding"))
    prompts = [late.prompt_ids(text) for text in ("drawer", "pick up the red block")]
    with torch.no_grad():
        batch = late.batch(prompts, images[:2])
        assert torch.equal(late.hidden(batch, query), randomised.hidden(batch, query))
        late.model.train()
        trained = late.hidden(batch, query)
        late.model.eval()
        usual = late.hidden(batch, query)
    assert torch.allclose(trained[1], usual[1], rtol=0, atol=TOLERANCE)  # the longest has no padding
    assert (trained[0] - usual[0]).abs().max() > 1e-4


@pytest.mark.parametrize(
    ("family", "reading"),
    [
        ("paligemma", {"positions": "one-axis"}),
        ("qwen2_5_vl", {"deepstack": False}),
        ("internvl", {"attention": "causal"}),
        ("qwen3_vl", {"image": "before-text"}),
        ("my-family", {"deepstack": False}),
    ],
)
def test_a_family_without_the_setting_is_refused(family, reading):
    key = next(iter(reading))
    with pytest.raises(ValidationError, match=rf"reading\.{key}: the family {family} has no such setting"):
        Backbone(family=family, parameters_b=1, tiny=SIZE, pretraining="any", reading=reading)


def test_a_default_is_not_written():
    plain = Backbone(family="qwen3_vl", parameters_b=1, tiny=SIZE, pretraining="any")
    assert "reading" not in plain.model_dump(mode="json")
    late = Backbone(
        family="qwen3_vl", parameters_b=1, tiny=SIZE, pretraining="any", reading={"deepstack": False}
    )
    assert late.model_dump(mode="json")["reading"] == {"deepstack": False}


def _black(count):
    return torch.zeros(count, 64, 64, 3, dtype=torch.uint8)
