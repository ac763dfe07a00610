"""The stages auxiliary-data and auxiliary: scores rise, killed runs resume, invalid input is refused."""

from __future__ import annotations

import json
import os
import shutil
import signal
import subprocess
import sys
import textwrap

import numpy as np
import pytest
import torch

from vlm4vla.auxiliary.fine_tuning.answers import check_context, collect_words
from vlm4vla.backbones import build, load
from vlm4vla.backbones.vocabulary import missing_words
from vlm4vla.config.backbones import Backbone, TinySize
from vlm4vla.config.stages import AuxiliaryDataSettings, AuxiliarySettings
from vlm4vla.config.training import Optimiser, Training
from vlm4vla.core.artefacts import file_hash, write_json
from vlm4vla.core.errors import UserError
from vlm4vla.data.questions.dataset import HELD_OUT, TRAIN
from vlm4vla.data.questions.reading import read_questions
from vlm4vla.data.questions.statements import Picture, Statement
from vlm4vla.data.questions.writer import write_split
from vlm4vla.stages import auxiliary as stage
from vlm4vla.stages import auxiliary_data as data_stage
from vlm4vla.stages.questions import vocabulary

TASK = "robo2vlm"
KILLED = """
    import os, signal
    from pathlib import Path
    from vlm4vla.stages.auxiliary import run
    from vlm4vla.config.stages import AuxiliarySettings
    from vlm4vla.training.batches.questions import QuestionBatches
    ids = QuestionBatches.ids
    def killing(self, step):
        if step == 31:
            os.kill(os.getpid(), signal.SIGKILL)
        return ids(self, step)
    QuestionBatches.ids = killing
    settings = AuxiliarySettings.model_validate_json({settings!r})
    run(settings, backbone=Path({backbone!r}), data=Path({data!r}), output=Path({output!r}))
"""


@pytest.fixture(scope="module")
def data(tmp_path_factory):
    folder = tmp_path_factory.mktemp("data")
    settings = AuxiliaryDataSettings(
        task=TASK, train_pictures=300, held_out_pictures=80, image_size=64, seed=0
    )
    data_stage.run(settings, output=folder)
    return folder


@pytest.fixture(scope="module")
def backbone(tmp_path_factory):
    folder = tmp_path_factory.mktemp("backbone")
    torch.set_num_threads(1)
    size = TinySize(hidden=32, intermediate=48, layers=2, vision_hidden=32, vision_intermediate=32)
    settings = Backbone(family="paligemma", parameters_b=1, tiny=size, pretraining="r")
    build(settings, "tiny", vocabulary(), 64, 0).save(folder)
    write_json(folder / "provenance.json", {"stage": "backbone"})
    return folder


@pytest.fixture(scope="module")
def settings():
    optimiser = Optimiser(name="muon", learning_rate=4e-3, average=0.5)
    training = Training(steps=120, batch=16, optimiser=optimiser, checkpoint_every=30, log_every=30)
    return AuxiliarySettings(name="tiny", task=TASK, training=training, questions=160, image_size=64, seed=0)


@pytest.fixture(scope="module")
def tuned(tmp_path_factory, settings, backbone, data):
    folder = tmp_path_factory.mktemp("tuned")
    stage.run(settings, backbone=backbone, data=data, output=folder)
    return folder


def test_the_output_is_a_backbone_with_a_better_score(tuned, backbone, data, settings):
    scores = json.loads((tuned / "score.json").read_text())
    for when in scores.values():
        assert 0 <= when["ci_low"] <= when["score"] <= when["ci_high"] <= 1 and when["questions"] == 160
    # Random letters are correct in a quarter of the cases. An untrained model does not answer with letters.
    assert scores["before"]["ci_high"] < scores["after"]["ci_low"]
    loaded = load(tuned)
    assert not missing_words(loaded, collect_words(read_questions(data, TRAIN)))
    record = json.loads((tuned / "provenance.json").read_text())
    assert record["settings"] == settings.model_dump(mode="json")
    assert record["inputs"]["data"]["sha256"] == file_hash(data / "provenance.json")
    assert record["inputs"]["backbone"]["sha256"] == file_hash(backbone / "provenance.json")
    assert not (tuned / "checkpoints").exists()


@pytest.mark.exhaustive
def test_a_killed_fine_tuning_resumes_to_the_same_bytes(tmp_path, tuned, backbone, data, settings):
    script = KILLED.format(
        settings=settings.model_dump_json(), backbone=str(backbone), data=str(data), output=str(tmp_path)
    )
    done = subprocess.run(
        [sys.executable, "-c", textwrap.dedent(script)],
        capture_output=True,
        timeout=300,
        env=os.environ | {"OMP_NUM_THREADS": "1"},
    )
    assert done.returncode == -signal.SIGKILL, done.stderr.decode()
    assert (tmp_path / "checkpoints" / "step-000030.json").exists()
    assert not (tmp_path / "provenance.json").exists()
    stage.run(settings, backbone=backbone, data=data, output=tmp_path)
    for name in ("model.safetensors", "score.json"):
        assert (tmp_path / name).read_bytes() == (tuned / name).read_bytes()


def test_images_of_another_size_are_refused(tmp_path, backbone, data, settings):
    with pytest.raises(UserError, match="images have 64 x 64 pixels, but image_size is 32"):
        stage.run(
            settings.model_copy(update={"image_size": 32}), backbone=backbone, data=data, output=tmp_path
        )
    assert not (tmp_path / "provenance.json").exists()


def test_incomplete_data_is_refused(tmp_path, backbone, data, settings):
    shutil.copytree(data, tmp_path / "data")
    (tmp_path / "data" / "train" / "state.json").unlink()
    with pytest.raises(UserError, match="not a complete Arrow dataset"):
        stage.run(settings, backbone=backbone, data=tmp_path / "data", output=tmp_path / "out")


def test_an_answer_that_does_not_fit_the_context_is_refused(backbone, data):
    loaded = load(backbone)
    loaded.model.config.get_text_config().max_position_embeddings = 30
    with pytest.raises(UserError, match="tokens, but the backbone reads at most 30: write shorter answers"):
        check_context(loaded, read_questions(data, TRAIN), data)


@pytest.mark.parametrize("task", ["robopoint", "robobrain2"])
@pytest.mark.parametrize(
    ("answer", "line"),
    [
        ("<x03> <y16>", "<y16> is outside the image: write sixteenths of the image, <y00> to <y15>"),
        ("<x99> <y01>", "<x99> is outside the image: write sixteenths of the image"),
        ("(1.2, 0.5)", r"\(1\.2, 0\.5\) is outside the image: write sixteenths"),
        ("(0.2, 0.5)", r"\(0\.2, 0\.5\) is a point in decimals: write sixteenths"),
    ],
)
def test_points_outside_the_image_are_refused_before_training(
    tmp_path, backbone, settings, task, answer, line
):
    statements = [Statement(task, "point to the block", text) for text in ("<x00> <y15>", answer)]
    picture = Picture(np.zeros((64, 64, 3), np.uint8), {}, statements)
    for split in (TRAIN, HELD_OUT):
        write_split(tmp_path / "data", split, [picture], 1, split)
    write_json(tmp_path / "data" / "provenance.json", {"stage": "auxiliary-data"})
    wrong = settings.model_copy(update={"task": task})
    with pytest.raises(UserError, match=line) as error:
        stage.run(wrong, backbone=backbone, data=tmp_path / "data", output=tmp_path / "out")
    assert "\n" not in str(error.value) and "'point to the block'" in str(error.value)
    assert not (tmp_path / "out" / "train.jsonl").exists()
