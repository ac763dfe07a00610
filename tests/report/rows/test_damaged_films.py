"""Films and records of films that are damaged: one line that names the file."""

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from PIL import Image

from vlm4vla.core.errors import UserError
from vlm4vla.report.rows.films import frames_of, read_films


@pytest.fixture
def film(tmp_path):
    path = tmp_path / "videos" / "episode000.gif"
    path.parent.mkdir()
    noise = np.random.default_rng(0).integers(0, 256, (3, 20, 20, 3), dtype=np.uint8)
    first, *others = map(Image.fromarray, noise)
    first.save(path, save_all=True, append_images=others, duration=100)
    return path


def refused(function, *arguments):
    with pytest.raises(UserError) as error:
        function(*arguments)
    assert len(str(error.value).splitlines()) == 1
    return str(error.value)


@pytest.mark.parametrize("change", ["empty", "other", "cut", "large", "header"])
def test_a_film_that_is_none(film, change):
    whole = film.read_bytes()
    assert len(frames_of(film, 3)) == 3
    film.write_bytes(
        {
            "empty": b"",
            "other": b"text",
            "cut": whole[: len(whole) // 3],
            "large": whole[:6] + b"\xff\xff\xff\xff" + whole[10:],
            "header": whole[:11],
        }[change]
    )
    assert str(film) in refused(frames_of, film, 3)


@pytest.mark.parametrize("content", [b"", b"PAR1", b"PAR1" + bytes(60) + b"PAR1", None])
def test_records_that_are_none(film, content):
    records = film.parents[1] / "episodes.parquet"
    if content is None:
        pq.write_table(pa.table({"episode": [0]}), records)
    else:
        records.write_bytes(content)
    assert str(records) in refused(read_films, [records])
