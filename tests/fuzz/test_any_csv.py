"""Tables that users write: each ends in a result or in one line that names the file.

hypothesis changes cells, rows, columns and bytes of valid tables, and whatever is still read is used: a
judgement is printed, scores are compared, and the paper's numbers become a table.
"""

import itertools
import math

import pytest
from fuzzing import damaged_csv, only_one_line
from hypothesis import given
from hypothesis import strategies as st

from vlm4vla.config.capability import PublishedScores
from vlm4vla.evaluation.capability.published_scores import read_published
from vlm4vla.report.judged.table_file import read_table
from vlm4vla.report.judged.tables import judged_table
from vlm4vla.report.judged.verdicts import judge
from vlm4vla.report.published_study.scores import read_scores
from vlm4vla.report.rows.paper_numbers import read_published as read_paper

NUMBER = itertools.count()


@pytest.fixture
def written(tmp_path):
    """A function that writes bytes to a file of a new name, because readers remember files by their times."""

    def write(content: bytes):
        path = tmp_path / f"{next(NUMBER)}.csv"
        path.write_bytes(content)
        return path

    return write


JUDGED = [
    ["row", "column", "value", "unit", "trials", "seeds", "baseline", "tasks"],
    ["ours", "success", "62.5", "percent", "96", "1", "theirs", "4"],
    ["theirs", "success", "41.7", "percent", "96", "1", "", "4"],
    ["ours", "chain", "3.25", "length", "1000", "", "theirs", ""],
    ["theirs", "chain", "3.1", "length", "1000", "", "", ""],
    ["ours", "points", "-0.3", "score", "", "", "", ""],
    ["theirs", "points", "0.9", "score", "", "", "", ""],
]
UNITS = ["percent", "share", "length", "score", "%", "ours", "theirs", "100", "24", "0.5", "1.0", "33.3"]


@given(damaged_csv(JUDGED, UNITS))
def test_a_table_to_judge(written, content):
    path = written(content)

    def run():
        table = read_table(path)
        judged = judged_table(table, judge(table))
        assert judged.markdown().strip()
        judged.write(path.parent, "judged")

    only_one_line(run)


MODELS = ("small", "middle", "large", "largest")
SCORES = [
    ["model", "score", "set", "auxiliary", "questions", "standard_error"],
    ["small", "41.5", "points", "", "500", "2.2"],
    ["middle", "52", "points", "", "500", "2.2"],
    ["large", "60.25", "points", "none", "500", "2.1"],
    ["small", "38", "counting", "", "", ""],
    ["middle", "49", "counting", "", "", ""],
    ["large", "61", "counting", "vqa-mix", "", ""],
]


@given(damaged_csv(SCORES, [*MODELS, "points", "counting", "none", "vqa-mix", "overall"]), st.data())
def test_question_scores(written, content, data):
    path = written(content)
    out_of = data.draw(st.sampled_from([1.0, 100.0]))

    def run():
        given_file = PublishedScores(file=str(path), out_of=out_of)
        for own in read_published(given_file, MODELS, ("none", "vqa-mix")).values():
            for score in own.values():
                assert 0 <= score.score <= 1
                assert score.standard_error is None or math.isfinite(score.standard_error)

    only_one_line(run)


PAPER_SCORES = [
    ["model", "score"],
    ["small", "41.5"],
    ["middle", "52"],
    ["large", "60.25"],
    ["largest", "-3"],
]


@given(damaged_csv(PAPER_SCORES, MODELS))
def test_question_scores_of_the_papers_backbones(written, content):
    path = written(content)

    def run():
        assert all(map(math.isfinite, read_scores(path, MODELS).values()))

    only_one_line(run)


PAPER = [
    ["model", "kind", "size_b", "calvin_abcd_avg_len", "simpler_bridge_success", "libero_10_success", "note"],
    ["openvla", "expert", "7.7", "2.548", "4.2", "53.7", ""],
    ["qwen2.5-vl-3b", "vlm4vla", "3.8", "3.856", "48.0", "43.0", "a note, with a comma"],
    ["kosmos-2", "vlm4vla", "1.7", "3.096", "60.4", "55.0", ""],
]
NOTES = b"models,benchmarks,note\nkosmos-2,bridge,a doubt\n"


@given(damaged_csv(PAPER, ["kosmos-2", "expert", "vlm4vla", "full"]))
def test_numbers_of_the_paper(tmp_path, content):
    (tmp_path / "main.csv").write_bytes(content)
    (tmp_path / "notes.csv").write_bytes(NOTES)

    def run():
        found = read_paper(tmp_path, "main")
        assert all(map(math.isfinite, found.values.values()))

    only_one_line(run)
