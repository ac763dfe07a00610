"""Question files and pictures of strangers that name files elsewhere: refused, with the row."""

import json

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from PIL import Image

from vlm4vla.auxiliary.public.conversations import Conversations
from vlm4vla.auxiliary.public.json_rows import JsonRows
from vlm4vla.auxiliary.public.opening import find_files
from vlm4vla.auxiliary.public.table_rows import ParquetRows
from vlm4vla.auxiliary.public.tables import Tables
from vlm4vla.core.errors import UserError
from vlm4vla.data.pictures.files import picture_problem

ROLES = {"id": "id", "picture": "image", "question": "question", "answer": "answer", "group": ""}
NAMES = [
    *("../secret.png", "in/../../secret.png", "/etc/hostname", "link.png", "in/link.png", "a" * 300 + ".png"),
    *("in/..", "..", "./../secret.png", "a\0.png", "a\n.png", "../secret.mp4", "link.mp4"),
]


@pytest.fixture
def folder(tmp_path):
    pictures = tmp_path / "pictures"
    (pictures / "in").mkdir(parents=True)
    for place in (tmp_path / "secret.png", pictures / "a.png", pictures / "in" / "a.png"):
        Image.new("RGB", (4, 4)).save(place)
    (tmp_path / "secret.mp4").write_bytes(b"")
    for link, target in (
        ("link.png", "secret.png"),
        ("in/link.png", "secret.png"),
        ("link.mp4", "secret.mp4"),
    ):
        (pictures / link).symlink_to(tmp_path / target)
    return pictures


def problem_of(samples, folder):
    (sample,) = samples.read()
    return picture_problem(sample.picture, folder)


@pytest.mark.parametrize("name", NAMES)
def test_a_picture_elsewhere_in_a_conversation(folder, tmp_path, name):
    turns = [{"from": "human", "value": "what?"}, {"from": "gpt", "value": "a cup"}]
    path = tmp_path / "rows.json"
    roles = {"id": "id", "picture": "image", "conversations": "conversations", "group": ""}
    for image, expected in ((name, True), ("in/a.png", False)):
        path.write_text(json.dumps([{"id": 1, "image": image, "conversations": turns}]))
        found = problem_of(Conversations(JsonRows([path]), roles, 1), folder)
        assert (found is not None) == expected
        assert found is None or ("its image" in found and len(found.splitlines()) == 1)


@pytest.mark.parametrize("name", NAMES)
@pytest.mark.parametrize("form", ["struct", "text"])
def test_a_picture_elsewhere_in_a_table(folder, tmp_path, name, form):
    value = name if form == "text" else {"bytes": None, "path": name}
    rows = pa.table({"id": [1], "image": [value], "question": ["what?"], "answer": ["a cup"]})
    pq.write_table(rows, tmp_path / "rows.parquet")
    found = problem_of(
        Tables(ParquetRows([tmp_path / "rows.parquet"], list(ROLES.values())[:-1]), ROLES, 1), folder
    )
    assert "its image" in found and len(found.splitlines()) == 1


@pytest.mark.parametrize("pattern", ["rows.json", "*.json", "in/*.json", "../elsewhere/*.json"])
def test_a_file_of_questions_that_is_elsewhere(tmp_path, pattern):
    inside, elsewhere = tmp_path / "set", tmp_path / "elsewhere"
    for folder in (inside, elsewhere):
        folder.mkdir()
    (elsewhere / "rows.json").write_text("[]")
    (inside / "rows.json").symlink_to(elsewhere / "rows.json")
    (inside / "in").symlink_to(elsewhere)
    with pytest.raises(UserError, match=r"a link out of the folder|leaves its folder") as error:
        find_files(inside, [pattern], "public.x", first=False)
    assert len(str(error.value).splitlines()) == 1
