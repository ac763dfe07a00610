"""Samples drawn from several datasets."""

from __future__ import annotations

import itertools
import json

import pytest

from vlm4vla.auxiliary.public.json_rows import JsonRows
from vlm4vla.auxiliary.public.mixture import Mixture
from vlm4vla.core.errors import UserError


@pytest.fixture
def sets(tmp_path):
    def sets():
        for name, count in (("a", 30), ("b", 7), ("c", 400)):
            (tmp_path / f"{name}.json").write_text(json.dumps([{"id": n} for n in range(count)]))
        return {name: JsonRows([tmp_path / f"{name}.json"]) for name in "abc"}

    return sets


WEIGHTS = {"a": 1.0, "b": 2.0, "c": 5.0}


def first(mixture, count, position=None):
    return [(name, row["id"]) for name, (_, row) in itertools.islice(mixture.read(position), count)]


def test_shares_follow_the_weights_and_datasets_start_again(sets):
    drawn = first(Mixture(sets(), WEIGHTS, 0), 4000)
    for name, weight in WEIGHTS.items():
        own = [number for other, number in drawn if other == name]
        assert len(own) / 4000 == pytest.approx(weight / 8, abs=0.03)
        length = {"a": 30, "b": 7, "c": 400}[name]
        assert own == [number % length for number in range(len(own))]


def test_draws_follow_the_seed(sets):
    assert first(Mixture(sets(), WEIGHTS, 0), 200) == first(Mixture(sets(), WEIGHTS, 0), 200)
    assert first(Mixture(sets(), WEIGHTS, 0), 200) != first(Mixture(sets(), WEIGHTS, 1), 200)


@pytest.mark.parametrize("count", [0, 1, 3, 29, 60, 333])
def test_draws_resume_repeatedly_from_a_position(sets, count):
    whole = first(Mixture(sets(), WEIGHTS, 0), 700)
    mixture = Mixture(sets(), WEIGHTS, 0)
    assert first(mixture, count) == whole[:count]
    middle = json.loads(json.dumps(mixture.position))
    again = Mixture(sets(), WEIGHTS, 0)
    assert first(again, 2, middle) == whole[count : count + 2]  # two draws leave one dataset unread
    later = json.loads(json.dumps(again.position))
    assert first(Mixture(sets(), WEIGHTS, 0), 300, later) == whole[count + 2 : count + 302]


def test_a_single_dataset_ends(sets):
    one = {"b": sets()["b"]}
    assert len(first(Mixture(one, {"b": 1.0}, 0), 100)) == 7


def test_a_dataset_without_rows_raises(sets, tmp_path):
    given = sets()
    (tmp_path / "b.json").write_text("[]")
    with pytest.raises(UserError, match="mixture: the dataset 'b' has no rows"):
        first(Mixture(given, WEIGHTS, 0), 100)
