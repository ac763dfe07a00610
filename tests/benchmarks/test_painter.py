"""Statements about pictures agree with the pixels and with the state of the world."""

import json

import numpy as np
import pytest
from datasets import Image, load_from_disk

from vlm4vla.benchmarks import painter as questions
from vlm4vla.benchmarks.painter import Painter, cell_word, relation
from vlm4vla.config.stages import QuestionsSettings
from vlm4vla.data.questions.statements import point_words
from vlm4vla.stages import questions as questions_stage


@pytest.fixture(scope="module")
def pictures():
    painter = Painter(64, "internet")
    return [painter.draw("train", 0, index) for index in range(150)]


def test_every_set_occurs_and_every_word_is_in_the_vocabulary(pictures):
    sets = {s.set for p in pictures for s in p.statements}
    assert sets == set(questions.SETS)
    known = set(questions_stage.vocabulary())
    for picture in pictures:
        for statement in picture.statements:
            assert set(f"{statement.question} {statement.answer}".split()) <= known


def test_positions_agree_with_the_coloured_pixels():
    """If a red ball is the only red thing, the red pixels surround its position."""
    painter = Painter(64, "benchmark")
    checked = 0
    for index in range(2000):
        picture = painter.draw("train", 3, index)
        names = set(picture.places)
        others = {"red block", "red mug", "can", "tray", "button", "gripper", "orange block", "orange ball"}
        if "red ball" not in names or names & (others | {"carrot", "book", "pink block", "pink ball"}):
            continue
        image = picture.image.astype(int)
        red = (
            (image[..., 0] > 100)
            & (image[..., 1] < 0.4 * image[..., 0])
            & (image[..., 2] < 0.4 * image[..., 0])
        )
        rows, columns = np.nonzero(red)
        column, row = picture.places["red ball"]
        if len(rows) < 8:
            continue
        assert np.hypot(columns.mean() + 0.5 - 64 * column, rows.mean() + 0.5 - 64 * row) < 3
        checked += 1
    assert checked >= 4


def test_cells_points_and_relations_by_hand():
    assert [cell_word(at) for at in ((0, 0), (0.99, 0.99), (0.99, 0))] == ["<loc00>", "<loc63>", "<loc07>"]
    assert point_words((0.5, 0.25)) == "<x08> <y04>"
    assert relation((-0.06, 0.10), (0.0, 0.11)) == "left near"
    assert relation((0.2, 0.0), (0.0, 0.05)) == "far-right front"
    assert relation((0.0, 0.2), (0.0, -0.1)) == "near far-back"


def test_yes_and_no_are_balanced(pictures):
    answers = [s.answer for p in pictures for s in p.statements if s.set == "existence"]
    assert answers.count("yes") == answers.count("no")


def test_counts_agree_with_the_visible_things(pictures):
    for picture in pictures:
        counts = {s.question: s.answer for s in picture.statements if s.set == "count"}
        visible = sum(name.endswith("ball") for name in picture.places)
        claimed = questions.NUMBERS.index(counts["how many balls are there ?"])
        assert claimed >= visible


def test_splits_differ_and_indices_repeat():
    painter = Painter(64, "internet")
    one, again = painter.draw("train", 0, 5), painter.draw("train", 0, 5)
    assert np.array_equal(one.image, again.image) and one.statements == again.statements
    assert not np.array_equal(one.image, painter.draw("held_out", 0, 5).image)


def test_the_stage_writes_arrow_sets_and_the_vocabulary(tmp_path):
    settings = QuestionsSettings(questions={"train_pictures": 12, "held_out_pictures": 5}, image_size=64)
    questions_stage.run(settings, output=tmp_path)
    train, held_out = (load_from_disk(str(tmp_path / name)) for name in ("train", "held_out"))
    assert (len(train), len(held_out)) == (12, 5)
    assert train.cast_column("image", Image())[0]["image"].size == (64, 64) and train[0]["statements"]
    assert json.loads((tmp_path / "vocabulary.json").read_text()) == questions_stage.vocabulary()
    assert json.loads((tmp_path / "provenance.json").read_text())["stage"] == "questions"
