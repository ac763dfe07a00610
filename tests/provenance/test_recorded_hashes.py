"""A study whose files are not those that its stages recorded is not packed."""

import json
import re
from pathlib import Path

import pytest

from vlm4vla import cli
from vlm4vla.provenance.pack import _records, kept_files
from vlm4vla.provenance.recorded_hashes import check_recorded_hashes
from vlm4vla.study.results_folder import Results


def flip(path: Path, place: int = -1):
    content = bytearray(path.read_bytes())
    content[place] ^= 1
    path.write_bytes(bytes(content))


def pack(folder, capsys, *more):
    """The lines on standard error of `vlm4vla pack`, and whether it failed."""
    status = cli.main(["pack", str(folder), "--output", "again.zip", *more])
    assert (status != 0) == (not Path("again.zip").exists())
    Path("again.zip").unlink(missing_ok=True)
    return capsys.readouterr().err.splitlines(), status


def test_a_study_as_it_was_written_is_packed(packed, traced, capsys):
    for more in ((), ("--weights",)):
        assert pack(traced, capsys, *more) == ([], 0)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"files": {}}, None),
        ({"files": {}, "episodes": 3}, "episodes, but .*has 3"),
        ({"files": {}, "checkpoint": "another"}, "its checkpoint is .*has another"),
        ({"files": {}, "mean_solved": 9}, "its mean of solved is .*has 9"),
    ],
)
def test_a_rollout_whose_record_has_no_hash(packed, traced, capsys, change, message):
    """Earlier versions recorded no hash of the episodes, but their number, checkpoint and mean."""
    path = sorted(traced.glob("rollouts/**/provenance.json"))[0]
    path.write_text(json.dumps(json.loads(path.read_text()) | change))
    lines, status = pack(traced, capsys)
    if message is None:
        assert (lines, status) == ([], 0)
    else:
        assert status == 1 and len(lines) == 1 and re.search(f"episodes.parquet: .*{message}", lines[0])


@pytest.mark.parametrize("more", [(), ("--weights",)])
@pytest.mark.parametrize("pattern", ["vla/**/*.safetensors", "rollouts/**/episodes.parquet"])
def test_one_flipped_bit_of_a_recorded_file(packed, traced, capsys, pattern, more):
    """Also of weights that are not packed: the packed study states their hashes."""
    found = sorted(traced.glob(pattern))
    assert found
    flip(found[len(found) // 2])
    lines, status = pack(traced, capsys, *more)
    assert status == 1 and len(lines) == 1
    assert f"{found[len(found) // 2]}: changed since its stage wrote it" in lines[0]


def test_an_input_that_was_made_again(packed, traced, capsys):
    made_from = next(iter(sorted(traced.glob("vla/**/provenance.json"))))
    made_from.write_text(made_from.read_text() + "\n")
    lines, status = pack(traced, capsys)
    assert status == 1 and len(lines) == 1 and f"{made_from}: changed since " in lines[0]


def test_missing_weights_are_told_only_if_they_are_packed(packed, traced, capsys):
    missing = sorted(traced.glob("vla/**/*.safetensors"))[0]
    missing.unlink()
    assert pack(traced, capsys) == ([], 0)
    lines, status = pack(traced, capsys, "--weights")
    assert status == 1 and len(lines) == 1 and f"{missing}: missing, but --weights packs it" in lines[0]


def test_several_changes_are_one_line_with_their_number(packed, traced, capsys):
    found = sorted(traced.glob("rollouts/**/episodes.parquet"))[:3]
    for path in found:
        flip(path)
    lines, status = pack(traced, capsys)
    assert status == 1 and len(lines) == 1 and lines[0].endswith("(and 2 more)")


def test_every_record_of_a_study_is_read(traced):
    found = list(_records(traced, kept_files(traced, weights=False)))
    assert len(found) >= len(list(traced.glob("**/provenance.json"))) > 0
    check_recorded_hashes(Results(traced), found, weights=True)
