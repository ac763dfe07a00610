"""Small models give their text layers the same inputs as transformers' own forward does, bit by bit."""

import filecmp

import pytest
import torch
from transformers import DynamicCache
from transformers.masking_utils import create_causal_mask

from vlm4vla.backbones import loaded
from vlm4vla.backbones.kernels import small_inputs, small_models
from vlm4vla.config.reading import Reading


@pytest.fixture
def plain(fresh, monkeypatch):
    """A backbone with small attention, whose inputs transformers prepares, with the weights of `fresh()`."""
    with monkeypatch.context() as context:
        context.setattr(loaded, "use_small_inputs", lambda model: None)
        return fresh()


@pytest.fixture
def merging(family):
    """Skips Kosmos-2, whose adapter merges text and image."""
    if family == "kosmos-2":
        pytest.skip("Kosmos-2 keeps transformers' forward")


@pytest.fixture
def calls(monkeypatch):
    """The dtypes of the masks that were added to scores."""
    dtypes = []
    own = small_inputs.added_mask

    def counted(real, types, dtype):
        dtypes.append(dtype)
        return own(real, types, dtype)

    monkeypatch.setattr(small_inputs, "added_mask", counted)
    return dtypes


def without_transformers_merge(backbone, monkeypatch):
    def refuse(*_, **__):
        raise AssertionError("transformers looks for the image tokens")

    monkeypatch.setattr(backbone.model.model, "get_placeholder_mask", refuse)


def prompts(backbone, texts, images):
    return backbone.batch([backbone.prompt_ids(text) for text in texts], images)


def same_steps(backbones, texts, images, dtype=torch.float32):
    """Assert equal states and gradients of a training step."""
    generator = torch.Generator().manual_seed(0)
    size = backbones[0].hidden_size
    query = torch.randn(size, generator=generator).to(dtype)
    weights = torch.randn(len(images), size, generator=generator).to(dtype)
    results = []
    for backbone in backbones:
        backbone.model.to(dtype).train()
        batch = prompts(backbone, texts, images)
        batch["pixel_values"] = batch["pixel_values"].to(dtype)
        asked = query.clone().requires_grad_()
        state = backbone.hidden(batch, asked)
        (state * weights).sum().backward()
        gradients = {name: each.grad for name, each in backbone.model.named_parameters()}
        results.append({"state": state.detach(), "query": asked.grad} | gradients)
    for name, expected in results[0].items():
        own = results[1][name]
        assert (own is None) == (expected is None), name
        assert own is None or torch.equal(own, expected), name
    assert any(each is not None and each.any() for each in results[0].values())


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
@pytest.mark.parametrize("padded", [True, False])
def test_states_and_gradients_are_equal(
    family, merging, fresh, plain, images, instructions, calls, monkeypatch, dtype, padded
):
    if dtype == torch.float64 and family == "paligemma2":
        pytest.skip("transformers' own mask overflows in float64")
    small = fresh()
    without_transformers_merge(small, monkeypatch)
    texts = instructions if padded else instructions[:1] * len(images)
    assert prompts(small, texts, images)["attention_mask"].all() != padded
    same_steps([plain, small], texts, images, dtype)
    assert calls == [dtype]  # only the small model's


@pytest.mark.parametrize("attention", ["image", "prefix", "causal"])
def test_prefixes_of_paligemma_attend_in_both_directions(
    family, fresh, plain, images, instructions, attention, calls
):
    if not family.startswith("paligemma"):
        pytest.skip("a setting of PaliGemma")
    reading = Reading(attention=attention)
    same_steps([each.read_as(reading) for each in (plain, fresh())], instructions, images)
    assert calls


def test_deepstack_can_be_switched_off(family, fresh, plain, images, instructions):
    if not family.startswith("qwen3_vl"):
        pytest.skip("a setting of Qwen3-VL")
    reading = Reading(deepstack=False)
    same_steps([each.read_as(reading) for each in (plain, fresh())], instructions, images)


def test_logits_of_ids_are_equal(family, merging, fresh, plain, images, instructions, monkeypatch):
    small = fresh()
    if family != "qwen3_vl_moe":  # which asks for an output of its routers
        without_transformers_merge(small, monkeypatch)
    logits = []
    for backbone in (plain, small):
        with torch.no_grad():
            logits.append(backbone.model.eval()(**prompts(backbone, instructions, images)).logits)
    assert torch.equal(*logits)


@pytest.mark.parametrize("as_ids", [True, False])
def test_a_wrong_number_of_image_tokens_is_the_same_error(
    merging, fresh, plain, images, instructions, as_ids
):
    errors = []
    for backbone in (plain, fresh()):
        batch = prompts(backbone, instructions, images)
        batch["input_ids"][0, -1] = backbone.model.config.image_token_id
        if not as_ids:
            batch["inputs_embeds"] = backbone.word_embedding()(batch.pop("input_ids"))
        with pytest.raises(ValueError, match="image tokens do not match") as raised:
            backbone.model.model(**batch)
        errors.append(str(raised.value))
    assert errors[0] == errors[1]


def test_image_tokens_are_those_of_transformers(merging, fresh, images, instructions):
    """Also if other tokens have an embedding that is equal in part, or as a whole."""
    backbone = fresh()
    ids = prompts(backbone, instructions, images)["input_ids"]
    inner, embedding = backbone.model.model, backbone.word_embedding()
    token = inner.config.image_token_id
    in_part, as_whole = sorted({int(i) for i in ids[:, -4:].flatten()} - {token})[:2]
    for other, columns in ((in_part, slice(0, 1)), (as_whole, slice(None))):
        with torch.no_grad():
            embedding.weight[other, columns] = embedding.weight[token, columns]
            embeddings = embedding(ids)
            of_token = embedding(torch.tensor(token))
        found = small_inputs.image_rows(inner, None, embeddings)
        features = torch.ones(1, (embeddings == of_token).all(-1).sum(), embeddings.shape[-1])
        masks = inner.get_placeholder_mask(None, inputs_embeds=embeddings, image_features=features)
        mask = masks[0] if isinstance(masks, tuple) else masks
        assert torch.equal(found, mask.flatten().nonzero().squeeze(1))
        expected = torch.isin(ids, torch.tensor([token, as_whole])) if other == as_whole else ids == token
        assert torch.equal(found, expected.flatten().nonzero().squeeze(1))
    rows = small_inputs.image_rows(inner, ids, embeddings)
    assert torch.equal(rows, (ids == token).flatten().nonzero().squeeze(1))


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
@pytest.mark.parametrize("typed", [False, True])
def test_masks_are_those_of_transformers(fresh, dtype, typed):
    generator = torch.Generator().manual_seed(0)
    config = fresh().model.config.get_text_config()
    config._attn_implementation = "sdpa"
    embeddings = torch.zeros(4, 9, 8, dtype=dtype)
    types = torch.randint(0, 2, (4, 9), generator=generator) if typed else None
    blocks = {"block_sequence_ids": torch.where(types == 0, 0, -1)} if typed else {}
    left = (torch.arange(9) >= torch.tensor([[0], [3], [5], [8]])).long()
    for real in (left, left.flip(1), torch.randint(0, 2, (4, 9), generator=generator), torch.ones_like(left)):
        sees = create_causal_mask(config, embeddings, real, past_key_values=None, **blocks)
        if sees is None:
            assert real.all()
            sees = torch.ones(4, 1, 9, 9, dtype=torch.bool).tril()
        expected = torch.zeros(sees.shape, dtype=dtype).masked_fill(~sees, torch.finfo(dtype).min)
        own = small_inputs.added_mask(real, types, dtype)
        assert own.dtype == dtype
        assert torch.equal(own.expand_as(expected), expected)


def test_other_inputs_go_to_transformers(merging, fresh, plain, images, instructions, calls, monkeypatch):
    """Cached keys, all hidden states, long sequences, other types of numbers."""
    small = fresh()
    outputs = []
    for backbone in (plain, small):
        inner = backbone.model.eval().model
        batch = prompts(backbone, instructions, images)
        with torch.no_grad():
            cache = DynamicCache(config=backbone.model.config.get_text_config())
            whole = inner(**batch, output_hidden_states=True)
            read = inner(**batch, past_key_values=cache, use_cache=True)
            with torch.autocast("cpu", torch.bfloat16):
                lower = inner(**batch).last_hidden_state
        assert not calls
        assert len(whole.hidden_states) == backbone.model.config.get_text_config().num_hidden_layers + 1
        assert cache.get_seq_length() == batch["input_ids"].shape[1]
        outputs.append([*whole.hidden_states, read.last_hidden_state, lower])
    for expected, own in zip(*outputs, strict=True):
        assert torch.equal(own, expected)
    with monkeypatch.context() as context, torch.no_grad():
        context.setattr(small_models, "LONGEST", 1)
        long = [each.model.model(**prompts(each, instructions, images))[0] for each in (plain, small)]
        assert torch.equal(*long) and not calls
    batch = prompts(small, instructions, images)
    small.model.model(**batch)
    assert calls


def test_layers_of_the_text_model_can_still_be_recorded(merging, fresh, images, instructions):
    """transformers finds what it can record by the name of the class."""
    text = fresh().model.model.language_model
    states = torch.zeros(1, 3, text.config.hidden_size)
    assert len(text(inputs_embeds=states, output_hidden_states=True).hidden_states) == len(text.layers) + 1


def test_folders_do_not_change(fresh, plain, tmp_path):
    for name, backbone in (("plain", plain), ("small", fresh())):
        backbone.save(tmp_path / name)
    compared = filecmp.dircmp(tmp_path / "plain", tmp_path / "small")
    assert "model.safetensors" in compared.common_files and not compared.left_only + compared.right_only
    _, other, errors = filecmp.cmpfiles(
        tmp_path / "plain", tmp_path / "small", compared.common_files, shallow=False
    )
    assert not other and not errors


def test_large_models_and_other_models_keep_their_classes(merging, fresh, plain, monkeypatch):
    small = fresh()
    changed = set(map(type, small.model.modules())) - set(map(type, plain.model.modules()))
    assert type(small.model.model) in changed and len(changed) <= 2
    small.read_as(Reading())
    assert type(small.model.model) in changed  # a model is changed once
    monkeypatch.setattr(small_models, "WIDEST", 16)
    assert changed.isdisjoint(map(type, fresh().model.modules()))
