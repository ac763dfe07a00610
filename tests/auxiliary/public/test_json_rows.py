"""Reading JSON in pieces, compared with the module `json`."""

from __future__ import annotations

import json
import tracemalloc

import pytest

from vlm4vla.auxiliary.public import json_rows
from vlm4vla.auxiliary.public.json_rows import JsonRows, records
from vlm4vla.core.errors import UserError

WORDS = 'braces } ] , and "quotes" \\ ü '
ROWS = [{"id": n, "text": WORDS * (n % 5), "deep": [[n], {"a": [n]}]} for n in range(200)]


@pytest.mark.parametrize("piece", [1, 7, 64, 2**20])
@pytest.mark.parametrize(
    "text",
    [
        json.dumps(ROWS),
        json.dumps(ROWS, indent=2, ensure_ascii=False),
        "\n".join(map(json.dumps, ROWS)),
        "\ufeff\n" + "\n\n".join(json.dumps(row, ensure_ascii=False) for row in ROWS) + "\n",
    ],
    ids=["list", "indented", "lines", "lines apart"],
)
def test_pieces_of_any_length_give_every_row(tmp_path, monkeypatch, piece, text):
    monkeypatch.setattr(json_rows, "PIECE", piece)
    path = tmp_path / "rows.json"
    path.write_text(text, encoding="utf-8")
    assert list(records(path)) == ROWS


def test_reading_resumes_from_every_position(tmp_path):
    for number in range(3):
        (tmp_path / f"{number}.json").write_text(json.dumps(ROWS[: 4 + number]))
    files = sorted(tmp_path.glob("*.json"))
    reader = JsonRows(files)
    whole, positions = [], []
    for file, row in reader.read():
        whole.append((file, row))
        positions.append(json.loads(json.dumps(reader.position)))
    assert len(whole) == 4 + 5 + 6
    for number, position in enumerate(positions):
        assert list(JsonRows(files).read(position)) == whole[number + 1 :]


@pytest.mark.parametrize(
    ("text", "line"),
    [
        ('[{"a": 1}, {"a"', "incomplete JSON"),
        ("[1, 2]", "element 0 is not an object"),
        ("", "incomplete JSON"),
        ("[{}] ", None),
        ("[]", None),
        ('{"a": 1}\n{"a": ', "incomplete JSON"),
        ("[" * 100_000, "not JSON that can be read"),
        ('[{"a": ' + "[" * 100_000, "not JSON that can be read"),
        ('[{"a": 1' + "0" * 5000 + "}]", "not JSON that can be read"),
    ],
)
def test_a_file_without_a_list_of_objects_raises(tmp_path, text, line):
    path = tmp_path / "rows.json"
    path.write_text(text)
    if line is None:
        assert list(records(path)) == json.loads(text)
        return
    with pytest.raises(UserError, match=line) as error:
        list(records(path))
    assert str(path) in str(error.value) and "\n" not in str(error.value)


def test_memory_does_not_grow_with_the_file(tmp_path):
    path = tmp_path / "rows.json"
    row = json.dumps({"id": 1, "text": "word " * 200})
    path.write_text("[" + ", ".join([row] * 40_000) + "]")
    assert path.stat().st_size > 40e6
    tracemalloc.start()
    assert sum(1 for _ in records(path)) == 40_000
    _, peak = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert peak < 12e6
