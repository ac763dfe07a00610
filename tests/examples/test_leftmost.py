"""The example auxiliary task: its answers agree with the image."""

import numpy as np

from vlm4vla.auxiliary.lookup import get_task


def test_answers_name_the_leftmost_and_the_rightmost_object():
    questions = 0
    for picture in get_task("leftmost").pictures("train", 40, 0, 64):
        columns = {name: at[0] for name, at in picture.places.items() if name not in ("gripper", "shadow")}
        assert picture.image.shape == (64, 64, 3) and picture.image.dtype == np.uint8
        for statement in picture.statements:
            pick = {"what is leftmost ?": min, "what is rightmost ?": max}[statement.question]
            assert statement.answer == pick(columns, key=columns.get)
            assert statement.set == "leftmost"
            questions += 1
    assert questions >= 40


def test_images_depend_on_the_seed_and_held_out_images_differ():
    task = get_task("leftmost")
    first, again = (list(task.pictures("train", 5, 3, 64)) for _ in range(2))
    held_out = list(task.pictures("held_out", 5, 3, 64))
    for one, other in zip(first, again, strict=True):
        np.testing.assert_array_equal(one.image, other.image)
        assert one.statements == other.statements
    assert not {p.image.tobytes() for p in first} & {p.image.tobytes() for p in held_out}
