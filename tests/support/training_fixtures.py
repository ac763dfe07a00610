"""Inputs that the training tests share; each is made once per test session."""

import pytest
from small_inputs import write_demonstrations, write_questions

from vlm4vla.config.backbones import AlignmentConfig, Backbone, Recipe, TinySize
from vlm4vla.config.stages import BackboneSettings
from vlm4vla.config.training import Optimiser, Training
from vlm4vla.stages.backbone import run as backbone_stage


@pytest.fixture(scope="session")
def questions(tmp_path_factory):
    return write_questions(tmp_path_factory.mktemp("questions"))


@pytest.fixture(scope="session")
def demonstrations(tmp_path_factory):
    return write_demonstrations(tmp_path_factory.mktemp("demonstrations"))


@pytest.fixture(scope="session")
def backbone_settings():
    size = TinySize(hidden=32, intermediate=32, layers=2, vision_hidden=32, vision_intermediate=32)
    optimiser = Optimiser(name="muon", learning_rate=4e-3, average=0.5)
    training = Training(steps=4, batch=4, optimiser=optimiser, checkpoint_every=2, log_every=2)
    return BackboneSettings(
        name="tiny",
        backbone=Backbone(family="paligemma", parameters_b=1, tiny=size, pretraining="r"),
        recipe=Recipe(mixture={"caption": 1, "where": 0.5, "colour": 0.5}, training=training),
        alignment=AlignmentConfig(weight=0.3, training=training),
        image_size=64,
        seed=3,
    )


@pytest.fixture(scope="session")
def backbone(tmp_path_factory, questions, backbone_settings):
    folder = tmp_path_factory.mktemp("backbone")
    backbone_stage(backbone_settings, questions=questions, output=folder)
    return folder
