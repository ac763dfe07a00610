"""Greedy answers against transformers' own generation, and the JSON of the stage `capability`."""

import json

import datasets
import numpy as np
import pytest
import torch

from vlm4vla.backbones import build
from vlm4vla.backbones.logits import greedy_answers, hidden_states, hidden_states_at
from vlm4vla.config.backbones import Backbone, TinySize
from vlm4vla.config.capability import Capability
from vlm4vla.config.stages import CapabilitySettings
from vlm4vla.core.artefacts import write_json
from vlm4vla.stages.capability import run

WORDS = ["what", "colour", "is", "it", "?", "red", "green", "blue", "describe", "the", "block"]
QUESTIONS = ["what colour is it ?", "describe", "is the block red ?", "what is the block ?"]


def make_backbone(family):
    size = TinySize(hidden=32, intermediate=32, layers=3, vision_hidden=32, vision_intermediate=32)
    made = build(Backbone(family=family, parameters_b=1, tiny=size, pretraining="r"), family, WORDS, 64, 1)
    made.model.eval()
    return made


@pytest.mark.parametrize("family", ["paligemma", "internvl"])
def test_answers_equal_those_of_generate(family):
    made = make_backbone(family)
    images = np.random.default_rng(0).integers(0, 256, (4, 64, 64, 3), dtype=np.uint8)
    found = greedy_answers(made, images, QUESTIONS, 4)
    for row, question in enumerate(QUESTIONS):
        batch = made.batch([made.question_ids(question)], images[row : row + 1])
        length = batch["input_ids"].shape[1]
        # The given positions do not fit the growing text; transformers then computes its own.
        inputs = {key: value for key, value in batch.items() if key != "position_ids"}
        with torch.inference_mode():
            ids = made.model.generate(
                **inputs,
                max_new_tokens=4,
                do_sample=False,
                eos_token_id=made.end_id,
                pad_token_id=made.end_id,
            )
        assert found[row] == made.decode(ids[0, length:])


def test_an_answer_stops_at_the_end_token():
    made = make_backbone("paligemma")
    red = made.answer_ids("red")[0]
    calls = []

    def answer(module, inputs, output):
        calls.append(len(output))
        token = red if len(calls) == 1 else made.end_id
        return torch.nn.functional.one_hot(torch.full((len(output),), token), output.shape[-1]).float()

    made.model.lm_head.register_forward_hook(answer)
    images = np.zeros((3, 64, 64, 3), dtype=np.uint8)
    assert greedy_answers(made, images, QUESTIONS[:3], 6) == ["red"] * 3
    assert calls == [3, 3]  # no call for sequences that have ended


def test_stage_writes_scores_that_add_up(tmp_path):
    features = datasets.Features(
        {
            "image": datasets.Value("binary"),
            "statements": [{name: datasets.Value("string") for name in ("set", "question", "answer")}],
            "scene": datasets.Value("int64"),
        }
    )
    made = make_backbone("paligemma")
    images = np.random.default_rng(0).integers(0, 256, (6, 64, 64, 3), dtype=np.uint8)
    answers = greedy_answers(made, images, ["what colour is it ?"] * 6, 2)
    rows = []
    for scene in range(6):
        answer = answers[scene] if scene < 4 else "never said"
        known = {"set": "colour", "question": "what colour is it ?", "answer": answer}
        impossible = {"set": "caption", "question": "describe", "answer": "never said"}
        rows.append({"image": images[scene].tobytes(), "statements": [known, impossible], "scene": scene})
    datasets.disable_progress_bars()
    datasets.Dataset.from_list(rows, features=features).save_to_disk(tmp_path / "questions" / "held_out")
    made.save(tmp_path / "backbone")
    for name in ("questions", "backbone"):
        write_json(tmp_path / name / "provenance.json", {"stage": name})
    settings = CapabilitySettings(capability=Capability(questions_per_set=6, sets=["colour", "caption"]))
    output = tmp_path / "capability" / "none.json"
    run(settings, backbone=tmp_path / "backbone", questions=tmp_path / "questions", output=output)
    found = json.loads(output.read_text())
    assert found["sets"]["colour"] == {"score": 4 / 6, "correct": 4, "questions": 6}
    assert found["sets"]["caption"] == {"score": 0.0, "correct": 0, "questions": 6}
    assert found["overall"] == {"score": 4 / 12, "correct": 4, "questions": 12}
    assert set(found["provenance"]["inputs"]) == {"backbone", "questions"}
    assert found["provenance"]["settings"] == settings.model_dump(mode="json")


def test_states_at_positions_are_those_of_all_positions(backbone, images, instructions):
    """So are the gradients of the weights. The last layer's MLP sees the chosen positions only."""
    batch = backbone.batch([backbone.question_ids(text) for text in instructions], images)
    positions = torch.zeros(batch["input_ids"].shape, dtype=torch.bool)
    positions[:, -1] = positions[0, -3] = positions[-1, -2] = True
    weights = [weight for weight in backbone.model.parameters() if weight.requires_grad]
    seen = []
    mlp = backbone.adapter.last_layer(backbone.model)[1]
    hook = mlp.register_forward_hook(lambda _, inputs, __: seen.append(inputs[0].shape[:-1].numel()))
    results = []
    for states in (
        hidden_states_at(backbone, batch, positions),
        hidden_states(backbone, batch)[positions],
    ):
        direction = torch.linspace(-1, 1, states.numel()).view_as(states)
        gradients = torch.autograd.grad((states * direction).sum(), weights, allow_unused=True)
        results.append((states, gradients))
    hook.remove()
    (few, few_gradients), (every, all_gradients) = results
    assert seen == [int(positions.sum()), positions.numel()]
    assert few.shape == (int(positions.sum()), backbone.hidden_size)
    assert torch.allclose(few, every, atol=1e-5)
    for one, other in zip(few_gradients, all_gradients, strict=True):
        assert (one is None) == (other is None)
        if one is not None:
            assert torch.allclose(one, other, rtol=1e-3, atol=1e-4 * other.abs().max().item() + 1e-7)
