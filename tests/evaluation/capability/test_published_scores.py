"""Published question scores in a CSV file."""

from __future__ import annotations

import json

import pytest

from vlm4vla.config.capability import PublishedScores
from vlm4vla.config.stages import ScoresSettings
from vlm4vla.core.errors import UserError
from vlm4vla.evaluation.capability.published_scores import read_published
from vlm4vla.report.rows.capability_scores import OVERALL, read_capability
from vlm4vla.stages.capability_scores import run

MODELS, TASKS = ["kosmos-2", "paligemma-1"], ["none", "robopoint"]


@pytest.fixture
def read(tmp_path):
    def read(text, out_of=100.0):
        path = tmp_path / "scores.csv"
        path.write_text(text)
        return read_published(PublishedScores(file=str(path), out_of=out_of), MODELS, TASKS)

    return read


def test_one_score_per_model(read):
    found = read("model,score\nkosmos-2,50.5\npaligemma-1,70\n")
    assert {vlm: own[OVERALL].score for vlm, own in found.items()} == {
        ("kosmos-2", "none"): 0.505,
        ("paligemma-1", "none"): 0.7,
    }


def test_sets_with_questions_and_standard_errors(read):
    found = read(
        "model,set,score,questions,standard_error,auxiliary\n"
        "kosmos-2,mmmu,0.4,900,0.016,\n"
        "kosmos-2,pope,0.8,9000,0.004,none\n"
        "kosmos-2,pope,0.7,9000,,robopoint\n"
        "kosmos-2,mmmu,0.3,900,0.016,robopoint\n",
        out_of=1,
    )
    own = found["kosmos-2", "none"]
    assert list(own) == ["mmmu", "pope", OVERALL]
    assert own[OVERALL].score == pytest.approx(0.6) and own[OVERALL].questions == 9900
    assert own[OVERALL].standard_error == pytest.approx((0.016**2 + 0.004**2) ** 0.5 / 2)
    assert found["kosmos-2", "robopoint"][OVERALL].standard_error is None


def test_a_byte_order_mark_and_spaces(read):
    found = read("\ufeffmodel, score\n\nkosmos-2 , 5\npaligemma-1,70\n")
    assert found["kosmos-2", "none"][OVERALL].score == 0.05


def test_a_score_below_one_percent_is_written_as_a_share(read):
    found = read("model,score\nkosmos-2,0.005\npaligemma-1,0.7\n", out_of=1)
    assert found["kosmos-2", "none"][OVERALL].score == 0.005
    # Sets have scales of their own: a weak set beside a strong one is not a mixed unit.
    assert read("model,set,score\nkosmos-2,a,0.5\nkosmos-2,b,70\n")["kosmos-2", "none"]["a"].score == 0.005


def test_an_overall_score_of_one_model_and_sets_of_another(read):
    found = read("model,set,score\nkosmos-2,a,10\nkosmos-2,,90\npaligemma-1,b,40\n")
    assert found["paligemma-1", "none"][OVERALL].score == 0.4


def test_an_overall_score_replaces_the_mean(read):
    assert read("model,set,score\nkosmos-2,a,10\nkosmos-2,,90\n")["kosmos-2", "none"][OVERALL].score == 0.9


@pytest.mark.parametrize(
    ("text", "line"),
    [
        ("model\nkosmos-2\n", "column 'score' is missing"),
        ("model,score,stderr\nkosmos-2,1,1\n", "unknown column 'stderr'"),
        ("model,score\n", "no scores"),
        ("model,score\nkosmos2,1\n", "line 2: unknown model 'kosmos2': did you mean 'kosmos-2'"),
        ("model,score,auxiliary\nkosmos-2,1,robopont\n", "unknown auxiliary task 'robopont'"),
        ("model,score\nkosmos-2,1\nkosmos-2,2\n", "line 3: duplicate score of 'kosmos-2' for 'overall'"),
        ("model,score\nkosmos-2,high\n", "score 'high' is not a number"),
        ("model,score\nkosmos-2,101\n", "score '101' is not between 0 and 100"),
        ("model,score,questions\nkosmos-2,1,2.5\n", "questions '2.5' is not a whole number"),
        ("model,score,standard_error\nkosmos-2,1,-1\n", "standard_error '-1' is negative"),
        ("model,score\nkosmos-2,62,5\n", "line 2: 3 cells, but the header has 2 columns"),
        ("model,score,set\nkosmos-2,62\n", "line 2: 2 cells, but the header has 3 columns"),
        ("model,score,score\nkosmos-2,62,61\n", "column 'score' occurs twice"),
        ("model;score\nkosmos-2;62\n", "line 1: the columns are not separated by commas"),
        ('model,score\nkosmos-2,"62,5"\n', "'62,5' is not a number: write decimals with a point"),
        ('model,score\nkosmos-2,"1,234"\n', "and no separator of thousands"),
        ("model,score\nkosmos-2,62.5*\n", "'62.5*' is not a number: write the number alone, such as 62.5"),
        ("model,score\nkosmos-2,62.5 %\n", "write the number alone, such as 62.5, without a mark or a unit"),
        ("model,score\nkosmos-2,6_2\n", "score '6_2' is not a number"),
        ("model,score\nkosmos-2,nan\n", "score 'nan' is not a number"),
        ("model,score\nkosmos-2,inf\n", "score 'inf' is not a number"),
        ("model,score\nkosmos-2,\n", "score '' is not a number: write a number, or remove the line"),
        (
            "model,score\nkosmos-2,62\npaligemma-1,0.61\n",
            "line 3: score '0.61' of 'paligemma-1' is below 1, but other scores are up to 62, out of 100",
        ),
        ("model,score\nkosmos-2,0.62\npaligemma-1,0.5\n", "every score is at most 1, but capability.scores"),
        (
            "model,set,score\nkosmos-2,a,62\nkosmos-2,b,61\npaligemma-1,b,61\n",
            "paligemma-1 has no score for 'a', so its mean is not over the same sets",
        ),
        (
            "model,set,score,auxiliary\nkosmos-2,a,62,\nkosmos-2,b,61,robopoint\n",
            "kosmos-2 has no score for 'b'",
        ),
    ],
)
def test_a_bad_file_is_refused_with_one_line(read, text, line):
    with pytest.raises(UserError) as error:
        read(text)
    assert line in str(error.value) and "\n" not in str(error.value)


def test_a_missing_file(tmp_path):
    with pytest.raises(UserError, match=r"capability\.scores\.file: file '.*' does not exist"):
        read_published(PublishedScores(file=str(tmp_path / "none.csv")), MODELS, TASKS)


def test_the_output_of_the_stage_is_read_as_scores(tmp_path, read):
    found = read("model,set,score\nkosmos-2,mmmu,40\nkosmos-2,pope,80\n")["kosmos-2", "none"]
    sets = dict(found)
    overall = sets.pop(OVERALL)
    settings = ScoresSettings(
        name="kosmos-2", auxiliary="none", file=str(tmp_path / "scores.csv"), sets=sets, overall=overall
    )
    output = tmp_path / "kosmos-2" / "none.json"
    run(settings, output=output)
    scores = read_capability([output])["kosmos-2", "none"]
    assert scores["pope"].value == 0.8 and scores["pope"].ci_low is None and scores["pope"].percent == "80.0"
    assert json.loads(output.read_text())["provenance"]["stage"] == "capability-scores"


@pytest.mark.parametrize(
    ("questions", "error", "says"),
    [
        ("1000000001", "", "questions '1000000001' is not a whole number from 1 to 1,000,000"),
        ("1e300", "", "is not a whole number from 1 to"),
        ("0", "", "is not a whole number from 1 to"),
        ("-5", "", "is not a whole number from 1 to"),
        ("5.5", "", "is not a whole number from 1 to"),
        ("", "1e300", "standard_error '1e300' is above 100"),
        ("", "-1", "standard_error '-1' is negative"),
    ],
)
def test_counts_and_errors_beyond_all_scores(tmp_path, questions, error, says):
    path = tmp_path / "scores.csv"
    path.write_text(f"model,score,questions,standard_error\na,50,{questions},{error}\n")
    with pytest.raises(UserError) as raised:
        read_published(PublishedScores(file=str(path), out_of=100), ["a"], ["none"])
    assert says in str(raised.value) and "\n" not in str(raised.value)
