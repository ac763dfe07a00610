"""Comparison with transformers: our faster computation equals transformers' own forward."""

import numpy as np
import pytest
import torch
from own_forward import own_forward

TOLERANCE = 1e-5


@pytest.fixture
def query(backbone):
    generator = torch.Generator().manual_seed(5)
    return torch.randn(backbone.hidden_size, generator=generator) * 0.3


def test_query_state_equals_that_of_transformers(backbone, family, images, instructions, query, tmp_path):
    folder = tmp_path / family
    backbone.save(folder)
    ids = [backbone.prompt_ids(text) for text in instructions]
    with torch.no_grad():
        ours = backbone.hidden(backbone.batch(ids, images), query)
    for row, image, state in zip(ids, images, ours, strict=True):
        theirs = own_forward(backbone, folder, row, image, query)
        assert torch.allclose(state, theirs, rtol=0, atol=TOLERANCE)
    assert (ours[0] - ours[1]).abs().max() > 1e-3  # the states above are not constant


def test_image_and_text_matter(backbone, images, instructions, query):
    ids = [backbone.prompt_ids(instructions[0])]
    with torch.no_grad():
        state = backbone.hidden(backbone.batch(ids, images[:1]), query)
        other_image = backbone.hidden(backbone.batch(ids, images[1:2]), query)
        other_query = backbone.hidden(backbone.batch(ids, images[:1]), -query)
    assert (state - other_image).abs().max() > 1e-6
    assert (state - other_query).abs().max() > 1e-3


def test_left_padding_does_not_matter(backbone, images, instructions, query):
    ids = [backbone.prompt_ids(text) for text in instructions]
    assert len({len(row) for row in ids}) == 3
    with torch.no_grad():
        together = backbone.hidden(backbone.batch(ids, images), query)
        for index, row in enumerate(ids):
            alone = backbone.hidden(backbone.batch([row], images[index : index + 1]), query)
            assert torch.allclose(together[index], alone[0], rtol=0, atol=TOLERANCE)


def test_padding_does_not_change_logits(backbone, images):
    """Pre-training runs the whole model, with its output layer, on the same batches."""
    conversations = [
        backbone.conversation_ids([("where is the red block ?", "<loc3>"), ("describe", "red block <loc4>")]),
        backbone.conversation_ids([("describe", "blue block <loc3>")]),
    ]
    ids = [row for row, _ in conversations]
    with torch.no_grad():
        together = backbone.model(**backbone.batch(ids, images[:2])).logits
        alone = backbone.model(**backbone.batch(ids[1:], images[1:2])).logits
    assert torch.allclose(together[1, -len(ids[1]) :], alone[0], rtol=0, atol=TOLERANCE)


def test_answers_do_not_depend_on_later_tokens(backbone, images):
    """Text is causal in every family, so an answer cannot depend on later turns of its sequence."""
    turns = [("where is the red block ?", "<loc3>"), ("describe", "red block <loc4>")]
    ids, is_target = backbone.conversation_ids(turns)
    first_answer = is_target.index(1)
    changed = list(ids)
    changed[-2] = backbone.adapter.encode("green")[0]
    with torch.no_grad():
        logits = [backbone.model(**backbone.batch([row], images[:1])).logits[0] for row in (ids, changed)]
    assert torch.equal(logits[0][: first_answer + 1], logits[1][: first_answer + 1])
    assert (logits[0][-1] - logits[1][-1]).abs().max() > 1e-6


def test_hidden_computes_no_vocabulary_logits(backbone, images, instructions, query):
    calls = []
    hook = backbone.model.get_output_embeddings().register_forward_hook(lambda *_: calls.append(1))
    batch = backbone.batch([backbone.prompt_ids(text) for text in instructions], images)
    with torch.no_grad():
        backbone.hidden(batch, query)
        assert not calls
        backbone.model(**batch)
    hook.remove()
    assert calls  # the hook works when the output layer runs


def test_pixels_equal_the_image_processors(backbone, images):
    ours = backbone.encode_images(images)
    theirs = backbone.image_processor(images=list(images), return_tensors="pt")
    for name in set(ours) & set(theirs):
        assert torch.allclose(ours[name].float(), torch.as_tensor(theirs[name]).float(), rtol=0, atol=1e-5)
    assert ours["pixel_values"].std() > 0.3


def test_images_of_another_size_are_resized_by_the_processor(backbone, images):
    large = np.repeat(np.repeat(images, 2, axis=1), 2, axis=2)
    ours = backbone.encode_images(large)["pixel_values"]
    theirs = backbone.image_processor(images=list(large), return_tensors="pt")["pixel_values"]
    assert ours.shape == backbone.encode_images(images)["pixel_values"].shape
    # The levels are equal; ours are normalised in another order. One level is 1 / 255 of the range.
    torch.testing.assert_close(ours, torch.as_tensor(theirs), rtol=0, atol=2e-6)


def test_tensors_of_a_rollout_work_in_training(fresh, images, instructions):
    """Index tensors that were created in inference mode must not prevent a later backward pass."""
    backbone = fresh()
    query = torch.nn.Parameter(torch.randn(backbone.hidden_size) * 0.3)
    ids = [backbone.prompt_ids(text) for text in instructions]
    with torch.inference_mode():
        backbone.hidden(backbone.batch(ids, images), query)
    backbone.hidden(backbone.batch(ids, images), query)[:, 0].sum().backward()
    assert query.grad.abs().max() > 0
