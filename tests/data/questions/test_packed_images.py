"""Images of generated question sets: PNGs that Pillow has written, too, and sets of earlier versions."""

import io

import datasets
import numpy as np
import pytest
from PIL import Image

from vlm4vla.core.errors import UserError
from vlm4vla.data.pictures.png import encode_small
from vlm4vla.data.questions.reading import read_questions
from vlm4vla.data.questions.statements import Picture, Statement
from vlm4vla.data.questions.writer import write_split

SIDE = 8


def images(count=12, side=SIDE):
    random = np.random.default_rng(0)
    return [random.integers(0, 256, (side, side, 3), dtype=np.uint8) for _ in range(count)]


def by_pillow(image):
    buffer = io.BytesIO()
    Image.fromarray(image).save(buffer, "PNG")
    return buffer.getvalue()


def saved(folder, column):
    statements = [{"set": "where", "question": "find it", "answer": "here"}]
    rows = [{"image": data, "statements": statements, "scene": n} for n, data in enumerate(column)]
    datasets.disable_progress_bars()
    datasets.Dataset.from_list(rows).save_to_disk(folder / "train", num_shards=2)
    return folder


@pytest.mark.parametrize("form", [encode_small, by_pillow, np.ndarray.tobytes])
def test_the_images_are_those_that_were_written(tmp_path, form):
    found = read_questions(saved(tmp_path, [form(image) for image in images()]), "train")
    for wanted in ([11, 0, 0, 5], [5], [0, 7, 11], []):
        expected = [images()[number] for number in wanted]
        np.testing.assert_array_equal(found.images(wanted), np.reshape(expected, (-1, SIDE, SIDE, 3)))


def test_an_image_is_decoded_once_and_callers_cannot_change_it(tmp_path, monkeypatch):
    import vlm4vla.data.questions.packed_images as module

    calls = []
    decode = module.decode
    monkeypatch.setattr(module, "decode", lambda data: calls.append(data) or decode(data))
    found = read_questions(saved(tmp_path, [encode_small(image) for image in images()]), "train")
    calls.clear()
    for _ in range(3):
        found.images([3, 4, 3])[:] = 0
    assert len(calls) == 2
    np.testing.assert_array_equal(found.images([3])[0], images()[3])


def test_written_sets_take_less_room_than_their_pixels(tmp_path):
    ramp = np.linspace(0, 255, 64, dtype=np.uint8)
    smooth = np.stack([np.tile(ramp, (64, 1)), np.tile(ramp[:, None], (1, 64)), np.tile(ramp, (64, 1))], -1)
    asked = [Statement("where", f"find thing {number}", "here") for number in range(20)]
    rows = (Picture(np.roll(smooth, number, axis=0), {}, asked) for number in range(200))
    write_split(tmp_path, "train", rows, 200, "test")
    (file,) = (tmp_path / "train").glob("*.arrow")
    assert file.stat().st_size < 200 * smooth.size / 2
    np.testing.assert_array_equal(
        read_questions(tmp_path, "train").images([7])[0], np.roll(smooth, 7, axis=0)
    )


@pytest.mark.parametrize(
    ("number", "data", "message"),
    [
        (0, encode_small(images()[0])[:60], "image 0 cannot be read"),
        (4, encode_small(images()[0])[:60], "image 4 cannot be read"),
        (4, images()[0].tobytes(), "image 4 cannot be read"),
        (4, encode_small(images(1, 6)[0]), "image 4 has 6 x 6 pixels, and the first has 8 x 8"),
        (0, encode_small(images()[0][:4]), "not squares"),
    ],
)
def test_a_damaged_image_is_one_line(tmp_path, number, data, message):
    column = [encode_small(image) for image in images()]
    column[number] = data
    with pytest.raises(UserError, match=message) as error:
        read_questions(saved(tmp_path, column), "train").images([3, number])
    assert "\n" not in str(error.value) and str(tmp_path / "train") in str(error.value)
