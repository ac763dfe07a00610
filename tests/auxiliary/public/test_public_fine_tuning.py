"""The stage auxiliary on public datasets: training, scores and errors."""

from __future__ import annotations

import json

import numpy as np
import public_sets
import pytest
import torch

from vlm4vla.auxiliary.fine_tuning.answers import check_context, reword_for_family
from vlm4vla.auxiliary.lookup import get_task
from vlm4vla.auxiliary.public.task import PublicTask
from vlm4vla.backbones import build, load
from vlm4vla.config.backbones import Backbone, TinySize
from vlm4vla.config.stages import AuxiliarySettings
from vlm4vla.config.training import Optimiser, Training
from vlm4vla.core.artefacts import write_json
from vlm4vla.core.errors import UserError
from vlm4vla.data.questions.dataset import HELD_OUT, TRAIN
from vlm4vla.data.questions.reading import read_questions
from vlm4vla.data.questions.statements import Statement
from vlm4vla.stages import auxiliary as stage
from vlm4vla.stages import auxiliary_data as data_stage
from vlm4vla.stages.questions import vocabulary
from vlm4vla.training.batches.questions import QuestionBatches


@pytest.fixture(scope="module")
def backbone(tmp_path_factory):
    folder = tmp_path_factory.mktemp("backbone")
    torch.set_num_threads(1)
    size = TinySize(hidden=32, intermediate=48, layers=2, vision_hidden=32, vision_intermediate=32)
    given = Backbone(family="paligemma", parameters_b=1, tiny=size, pretraining="r")
    build(given, "tiny", vocabulary(), 32, 0).save(folder)
    write_json(folder / "provenance.json", {"stage": "backbone"})
    return folder


@pytest.fixture(scope="module")
def data(tmp_path_factory):
    folder = tmp_path_factory.mktemp("set")
    public_sets.robopoint(folder / "set", 40)
    asked = public_sets.settings("robopoint", folder / "set", size=32, held_out=0.3, buffer=8)
    data_stage.run(asked, output=folder / "data")
    return folder / "data"


def settings(steps=4, **changes):
    training = Training(steps=steps, batch=4, optimiser=Optimiser(learning_rate=1e-3), checkpoint_every=2)
    given = {"name": "tiny", "task": "robopoint", "training": training, "questions": 6, "image_size": 32}
    return AuxiliarySettings(**given | {"seed": 0} | changes)


def test_the_stage_trains_and_scores(tmp_path, backbone, data):
    stage.run(settings(), backbone=backbone, data=data, output=tmp_path)
    scores = json.loads((tmp_path / "score.json").read_text())
    assert scores["before"]["questions"] == 6 and 0 <= scores["after"]["score"] <= 1
    assert (tmp_path / "model.safetensors").exists()


def test_batches_have_the_texts_and_images_of_the_dataset(backbone, data):
    loaded = load(backbone)
    questions = read_questions(data, TRAIN)
    batches = QuestionBatches(loaded, questions, {"robopoint": 3.0}, 4, 0)
    ids = batches.ids(0)
    inputs, learnt, _ = batches.batch(ids, np.random.default_rng(0))
    again, _, _ = QuestionBatches(loaded, questions, {"robopoint": 3.0}, 4, 0).batch(
        ids, np.random.default_rng(0)
    )
    assert torch.equal(inputs["input_ids"], again["input_ids"])
    assert torch.equal(inputs["pixel_values"], loaded.encode_images(questions.images(ids))["pixel_values"])
    for row, number in enumerate(ids):
        statements = [questions.statements[each] for each in questions.statement_numbers(number)]
        whole = sum(len(loaded.answer_ids(each.answer)) for each in statements)
        assert int(learnt[row].sum()) == whole


def test_statements_are_created_on_access(data):
    questions = read_questions(data, HELD_OUT)
    whole = list(questions.statements)
    assert whole == [questions.statements[number] for number in range(len(questions.statements))]
    assert all(isinstance(each, Statement) and each.set == "robopoint" for each in whole)
    asked = questions.reworded(str.upper)
    assert asked.statements[0].question == whole[0].question.upper()
    assert asked.statements[0].answer == whole[0].answer
    assert questions.set_numbers(["other", "robopoint"]).tolist() == [1] * len(whole)
    assert questions.set_numbers(["other"]).tolist() == [-1] * len(whole)


def test_get_task_returns_a_public_task_for_public_data(data):
    task = get_task("robopoint", data)
    assert isinstance(task, PublicTask) and task.name == "robopoint"
    assert not isinstance(get_task("robopoint"), PublicTask)
    assert task.fault("[(0.2, 0.3)]") is None and "is outside" in task.fault("[(1.2, 0.3)]")
    assert reword_for_family(read_questions(data, TRAIN), task, NoBackbone).statements[0].set == "robopoint"


class NoBackbone:
    adapter = None


@pytest.mark.parametrize(
    ("answer", "truth", "score"),
    [
        ("[(0.5, 0.5)]", "[(0.5, 0.52)]", 1.0),
        ("[(0.5, 0.5), (0.1, 0.9)]", "[(0.5, 0.52)]", pytest.approx(2 / 3)),
        ("no idea", "[(0.5, 0.52)]", 0.0),
        ("[(0.1, 0.1, 0.2, 0.2)]", "[(0.12, 0.12, 0.16, 0.16)]", 1.0),
        ("B", "B", 1.0),
        ("The answer is B.", "B", 1.0),
        ("A or B", "B", 0.0),
        ("I think B", "B", 1.0),
        ("I'm sure it is B", "B", 1.0),
        ("[(0.5, 0.5)]", "[ (0.5, 0.52) ]", 1.0),
        ("3.0", "4", 0.75),
        ("about 9 metres", "4", 0.0),
        ("none", "4", 0.0),
        ("0", "0", 1.0),
        ("A red block.", "a red block", 1.0),
        ("a red ball", "a red block", 0.0),
    ],
)
def test_score_depends_on_the_form_of_the_true_answer(answer, truth, score):
    assert PublicTask("robopoint").score(answer, truth) == score


def test_chance_is_a_random_choice():
    task = PublicTask("robo2vlm")
    assert task.chance("Which?\nA. on\nB. off\nC. both", "B") == pytest.approx(1 / 3)
    assert task.chance("How many?", "3") == 0 and task.chance("Which?\nA. on\nB. off", "on") == 0


def test_an_answer_longer_than_the_context_raises(backbone, data):
    loaded = load(backbone)
    questions = read_questions(data, TRAIN)
    check_context(loaded, questions, data)
    loaded.model.config.get_text_config().max_position_embeddings = 12
    with pytest.raises(UserError, match=r"have .* tokens, but the backbone reads at most 12") as error:
        check_context(loaded, questions, data)
    assert "\n" not in str(error.value).replace("\\n", "")


def test_images_of_another_size_raise(tmp_path, backbone, data):
    with pytest.raises(UserError, match="images have 32 x 32 pixels, but image_size is 64"):
        stage.run(settings(image_size=64), backbone=backbone, data=data, output=tmp_path)
