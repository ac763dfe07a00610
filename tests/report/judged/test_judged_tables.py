"""`vlm4vla judge` on tables whose answer is known by construction, and on files that cannot be used."""

from __future__ import annotations

import csv

import numpy as np
import pytest
from PIL import Image
from scipy import stats

from vlm4vla.cli import main
from vlm4vla.core.errors import UserError
from vlm4vla.report.judged.stage import COLOURS, REFERENCE
from vlm4vla.report.judged.table_file import read_table
from vlm4vla.report.judged.verdicts import (
    NO_BASELINE,
    NO_DISTRIBUTION,
    NO_TRIALS,
    NOT_DECIDABLE,
    VERDICTS,
    impossible,
    judge,
)
from vlm4vla.report.published_study.comparisons import DOES_NOT_SURVIVE, SURVIVES, UNDECIDED

HEADER = "row,column,value,unit,trials,seeds,baseline\n"


@pytest.fixture
def write(tmp_path):
    def make(text: str, header: str = HEADER):
        path = tmp_path / "table.csv"
        path.write_bytes((header + text).encode())
        return path

    return make


def verdicts(path) -> dict[tuple[str, str], str]:
    return {(each.first.row, each.first.column): each.verdict for each in judge(read_table(path))}


def test_holm_decides_over_the_table(write):
    """Three tests against a base of 50 of 100, with the p values of SciPy and Holm's steps by hand."""
    solved = {"a": 65, "b": 68, "c": 75}
    path = write(
        "base,S,50.0,percent,100,1,\n"
        + "".join(f"{row},S,{count}.0,percent,100,1,base\n" for row, count in solved.items())
    )
    found = {each.first.row: each for each in judge(read_table(path))}
    p = {k: stats.boschloo_exact([[50, v], [50, 100 - v]], n=64).pvalue for k, v in solved.items()}
    assert {row: each.p_value for row, each in found.items()} == pytest.approx(p, rel=1e-3)
    steps = {"c": 3 * p["c"], "b": max(3 * p["c"], 2 * p["b"])}
    steps["a"] = max(steps["b"], p["a"])
    assert {row: each.adjusted for row, each in found.items()} == pytest.approx(steps, rel=1e-3)
    assert {row: each.verdict for row, each in found.items()} == {
        row: SURVIVES if value < 0.05 else DOES_NOT_SURVIVE for row, value in steps.items()
    }
    for each in found.values():
        assert (each.needed <= 100) == (each.verdict == SURVIVES)


def test_more_rows_can_take_a_survivor_away(write):
    two = "base,S,50,percent,100,1,\nbest,S,66,percent,100,1,base\n"
    assert verdicts(write(two))["best", "S"] == SURVIVES
    many = two + "".join(f"r{i},S,5{i},percent,100,1,base\n" for i in range(5))
    assert verdicts(write(many))["best", "S"] == DOES_NOT_SURVIVE


def test_without_a_baseline_every_pair_of_a_column_is_compared(write):
    path = write("a,S,10,percent,50,1,\nb,S,90,percent,50,1,\nc,S,90,percent,50,1,\na,T,0,percent,50,1,\n")
    pairs = {(each.first.row, each.second.row): each.verdict for each in judge(read_table(path))}
    assert pairs == {("a", "b"): SURVIVES, ("a", "c"): SURVIVES, ("b", "c"): DOES_NOT_SURVIVE}


def test_what_is_not_decidable_has_a_reason_and_is_not_counted(write):
    path = write(
        "base,S,10,percent,50,1,\nx,S,90,percent,50,1,base\n"
        "base,T,10,percent,50,1,\nx,T,90,percent,,1,base\n"
        "base,V,3.5,score,,,\nx,V,-7.5,score,,,base\n"
        "x,W,1.0,length,50,1,base\n"
    )
    found = {each.first.column: each for each in judge(read_table(path))}
    assert {column: each.reason for column, each in found.items()} == {
        "S": "",
        "T": NO_TRIALS,
        "V": NO_DISTRIBUTION,
        "W": NO_BASELINE,
    }
    assert [found[c].verdict for c in "STVW"] == [SURVIVES] + [NOT_DECIDABLE] * 3
    assert found["S"].adjusted == found["S"].p_value
    assert found["T"].needed == found["S"].needed and found["V"].needed is None
    assert found["V"].difference == -11


def test_mean_lengths_survive_whatever_their_distribution(write):
    """2.0 against 3.0: of 20 chains, the spread decides; of 1000, it does not matter."""
    for chains, verdict in ((20, UNDECIDED), (1000, SURVIVES)):
        path = write(f"a,C,2.00,length,{chains},1,\nb,C,3.00,length,{chains},1,a\n")
        (found,) = judge(read_table(path))
        assert found.verdict == verdict
        whole = np.repeat([5.0, 0.0], [2 * chains // 5, 3 * chains // 5])  # the largest variance
        theirs = stats.ttest_ind(whole, 5 - whole).pvalue
        assert found.p_value == pytest.approx(theirs, abs=0.06) and found.p_least < 1e-6


def test_seeds_on_shared_states_leave_a_difference_undecided(write):
    path = write("a,S,50.0,percent,200,3,\nb,S,58.0,percent,200,3,a\n")
    (found,) = judge(read_table(path))
    assert found.verdict == UNDECIDED
    assert found.p_least == pytest.approx(
        stats.boschloo_exact([[300, 348], [300, 252]], n=64).pvalue, rel=1e-2
    )


def test_the_files_and_the_flags(write, tmp_path, capsys):
    path = write(
        "base_1,S,50.0,percent,100,1,\nodd $x$,S,50.3,percent,100,1,base_1\n"
        "base_1,C,0.444,share,9,2,\nodd $x$,C,0.45,share,9,2,base_1\n"
        "base_1,L,3.33,length,3,1,\nodd $x$,L,3.34,length,3,1,base_1\n",
        "# title: By hand\n# source: nobody\n# date: 2026-01-02\n" + HEADER,
    )
    out = tmp_path / "out"
    assert main(["judge", str(path), "--output", str(out)]) == 0
    names = {each.name for each in out.iterdir()}
    assert names == {f"judged_table.{ending}" for ending in ("csv", "md", "tex", "pdf", "png")}
    printed = capsys.readouterr().out
    text = (out / "judged_table.md").read_text()
    assert printed.startswith(text) and text.startswith("# By hand\n")
    assert "Source: nobody. Date: 2026-01-02." in text
    with (out / "judged_table.csv").open(newline="") as handle:
        rows = list(csv.DictReader(handle))
    numbers = {(r["row"], r["column"]): r for r in rows if r["kind"] == "number"}
    # 151 of 300 is 50.33 %; 8 of 18 is 0.444, and 0.45 lies between 8 and 9 of 18; 10 of 3 is 3.33.
    assert {key for key, row in numbers.items() if row["reason"]} == {
        ("odd $x$", "S"),
        ("odd $x$", "C"),
        ("odd $x$", "L"),
    }
    assert numbers["odd $x$", "S"]["would_fit"] == "151 of 3 x 100"
    low, high = stats.binomtest(50, 100).proportion_ci(method="wilson")
    found = numbers["base_1", "S"]
    assert (float(found["ci_low"]), float(found["ci_high"])) == pytest.approx((low, high), abs=1e-5)
    assert sum(row["kind"] == "comparison" for row in rows) == 3
    tex = (out / "judged_table.tex").read_text()
    assert r"odd \$x\$" in tex and r"base\_1" in tex
    assert "2 of 6 numbers with stated trials cannot come from these trials." in text
    assert "A further 1 can come from them only if" in text  # 0.45 is the mean of 0.4 and 0.5


def test_greek_names_of_policies(write, tmp_path):
    pi = "\N{GREEK SMALL LETTER PI}\N{SUBSCRIPT ZERO}"
    other = "\N{GREEK SMALL LETTER ALPHA} \N{MULTIPLICATION SIGN} \N{GREEK SMALL LETTER BETA}"
    path = write(f"{pi},S,10,percent,50,1,\n{other},S,90,percent,50,1,{pi}\n")
    assert main(["judge", str(path), "--output", str(tmp_path)]) == 0
    text = (tmp_path / "judged_table.tex").read_text()
    assert text.isascii() and r"$\pi$\textsubscript{0}" in text and r"$\alpha$ $\times$ $\beta$" in text


def test_the_same_table_gives_the_same_bytes(write, tmp_path):
    path = write("a,S,10,percent,50,1,\nb,S,90,percent,50,1,a\n")
    for name in ("one", "two"):
        assert main(["judge", str(path), "--output", str(tmp_path / name)]) == 0
    for each in (tmp_path / "one").iterdir():
        assert each.read_bytes() == (tmp_path / "two" / each.name).read_bytes()


def fits(path) -> dict[str, tuple[bool, str]]:
    """By row: whether the stated trials give the number after all, and what would fit."""
    found = {number.row: impossible(number) for number in read_table(path).numbers}
    return {row: (flag.same_trials, "; ".join(flag.fits)) for row, flag in found.items() if flag}


def test_a_number_can_fit_by_another_rounding(write):
    """Half-up and half-even both fit: 9 of 16 is 56.25. Truncation and means of rounded numbers are notes."""
    text = (
        "up,S,56.3,percent,16,1,,\neven,S,56.2,percent,16,1,,\n"
        "cut,S,66.6,percent,96,1,,\n"  # 64 of 96 is 66.67
        "tasks,S,55.3,percent,96,1,,4\n"  # (54 + 54 + 54 + 59) / 4 is 55.25; 53 of 96 is 55.21
        "untold,S,55.3,percent,96,1,,\n"
        "seeds,S,8.4,percent,24,3,,\n"  # (16.7 + 4.2 + 4.2) / 3 is 8.37; 6 of 72 is 8.33
        "never,S,97.3,percent,500,1,,\n"
    )
    found = fits(write(text, HEADER.replace("\n", ",tasks\n")))
    assert found["cut"] == (True, "64 of 96, truncated and not rounded")
    assert found["tasks"] == (True, "a mean of the percentages of 4 tasks without decimals")
    assert found["untold"] == (False, "") and "up" not in found and "even" not in found
    assert found["seeds"] == (True, "a mean of the percentages of 3 seeds with 1 decimal")
    assert found["never"] == (False, "973 of 2 x 500; 1459 or 1460 of 3 x 500")


def test_shares_and_lengths_that_fit_otherwise(write):
    """5 of 9 is 0.5556; a mean of 0.6 and 0.5 is 0.55. 7 of 3 chains is 2.3333."""
    found = fits(
        write(
            "cut,C,0.55,share,9,1,\nseeds,C,0.67,share,7,3,\ntwice,C,0.58,share,6,1,\n"
            "cut,L,2.66,length,3,1,\nmean,M,2.85,length,5,2,\n"
        )
    )
    assert found["cut"] == (True, "8 of 3, truncated and not rounded")  # the last column of this row
    assert found["twice"] == (False, "7 of 2 x 6")
    text = "never,L,2.51,length,4,1,\n"
    assert fits(write(text)) == {"never": (False, "")}


def test_what_fits_otherwise_is_not_called_impossible(write, capsys):
    text = "a,S,66.6,percent,96,1,\nb,S,97.2,percent,500,1,a\nc,S,97.3,percent,500,1,a\n"
    assert main(["judge", str(write(text))]) == 0
    printed = capsys.readouterr().out
    assert "1 of 3 numbers with stated trials cannot come from these trials." in printed
    assert "A further 1 can come from them only if decimals were cut off" in printed


GOOD = "a,S,10.0,percent,50,1,\n"


@pytest.mark.parametrize(
    ("text", "line", "words"),
    [
        ("a,S,ten,percent,50,1,\n", 2, "value 'ten' is not a number"),
        ("a,S,10.0%,percent,50,1,\n", 2, "is not a number"),
        ("a,S,nan,percent,50,1,\n", 2, "is not a number"),
        ("a,S,1e2,percent,50,1,\n", 2, "is not a number"),
        ("a,S,84.7 ± 0.9,percent,50,1,\n", 2, "without sign, unit or error"),
        ("a,S,-3,percent,50,1,\n", 2, "is not a number"),
        ("a,S,,percent,50,1,\n", 2, "leave the line out"),
        ("a,S,101,percent,50,1,\n", 2, "more than 100"),
        ("a,S,93,share,50,1,\n", 2, "more than 1 (share)"),
        ("a,S,5.2,length,50,1,\n", 2, "more than 5"),
        ("a,S,10,points,50,1,\n", 2, "unit 'points'"),
        (GOOD + "b,S,0.1,share,50,1,\n", 3, "write one unit per column"),
        ("a,S,0.5,percent,50,1,\nb,S,0.7,percent,50,1,\n", 2, "write the unit share"),
        (GOOD + "b,S,0.12,percent,50,1,\n", 3, "value 0.12 is a share of 1 among percentages"),
        ("a,S,48.0,percent,,,\nb,S,0.563,percent,,,\n", 3, "value 0.563 is a share of 1"),
        ('a,S,"1,234",score,,,\n', 2, "value '1,234' is not a number"),
        ('a,S,"52,3",percent,,,\n', 2, "value '52,3' is not a number"),
        ("a,S,52.3*,percent,,,\n", 2, "value '52.3*' is not a number"),
        ("a,S,52,3,percent,,,\n", 2, "8 cells, but the header has 7 columns"),
        ("a,S,+52.3,percent,,,\n", 2, "without sign"),
        ("a,S,inf,score,,,\n", 2, "value 'inf' is not a number"),
        ("a,S,\N{ARABIC-INDIC DIGIT FIVE},percent,,,\n", 2, "is not a number"),
        (GOOD + GOOD, 3, "already has a value for 'S' in line 2"),
        ("a,S,10,percent,0,1,\n", 2, "trials '0'"),
        ("a,S,10,percent,50.5,1,\n", 2, "trials '50.5'"),
        ("a,S,10,percent,99999999,1,\n", 2, "trials '99999999'"),
        ("a,S,10,percent,50,many,\n", 2, "seeds 'many'"),
        (GOOD + "b,S,10,percent,50,1,A\n", 3, "baseline 'A' is no row"),
        ("a,S,10,percent,50,1,a\n", 2, "is the row itself"),
        (",S,10,percent,50,1,\n", 2, "row is empty"),
        ("a|b,S,10,percent,50,1,\n", 2, "without '|'"),
        ("a,S,10,percent,50,1\n", 2, "6 cells, but the header has 7 columns"),
        ('a,S,"10,percent,50,1,\n' + GOOD, 2, "not CSV"),
        ("\n\n" + "a,S,x,percent,50,1,\n", 4, "value 'x'"),
    ],
)
def test_bad_lines(write, text, line, words):
    path = write(text)
    with pytest.raises(UserError) as error:
        judge(read_table(path))
    message = str(error.value)
    assert message.startswith(f"{path}: line {line}: ") and words in message and "\n" not in message


@pytest.mark.parametrize(
    ("header", "line", "words"),
    [
        ("row,column,value\n", 1, "column 'unit' is missing"),
        ("row,column,valeu,unit\n", 1, "did you mean 'value'?"),
        ("row,row,column,value,unit\n", 1, "occurs twice"),
        ("row;column;value;unit\n", 1, "not separated by commas"),
        ("# made by me\n" + HEADER, 1, "write `# title: ...`"),
        ("# title: x\nrow,column,unit\n", 2, "column 'value' is missing"),
    ],
)
def test_bad_headers(write, header, line, words):
    path = write(GOOD, header)
    with pytest.raises(UserError, match=f"line {line}: ") as error:
        read_table(path)
    assert words in str(error.value)


def test_bad_files(tmp_path, capsys):
    assert main(["judge", str(tmp_path / "none.csv")]) == 1
    assert (
        capsys.readouterr().err == f"error: {tmp_path}/none.csv: no such file: write the name of a CSV file\n"
    )
    latin = tmp_path / "latin.csv"
    latin.write_bytes(HEADER.encode() + "é,S,1,percent,2,1,\n".encode("latin-1"))
    for path, words in ((tmp_path, "this is a folder"), (latin, "line 2: not UTF-8")):
        with pytest.raises(UserError, match=words):
            read_table(path)
    for text, words in (("", "no header"), (HEADER, "no numbers")):
        latin.write_text(text)
        with pytest.raises(UserError, match=words):
            read_table(latin)
    good = tmp_path / "good.csv"
    good.write_text(HEADER + GOOD)
    assert main(["judge", str(good), "--output", str(good)]) == 1
    assert "this is a file" in capsys.readouterr().err


def test_a_byte_order_mark_and_windows_lines_are_read(tmp_path):
    path = tmp_path / "windows.csv"
    path.write_bytes(b"\xef\xbb\xbf" + (HEADER + GOOD).replace("\n", "\r\n").encode())
    assert [number.text for number in read_table(path).numbers] == ["10.0"]


def test_every_comparison_is_printed_up_to_a_limit(write, capsys):
    for rows, listed in ((16, True), (17, False)):  # 120 and 136 pairs, of which 15 or 16 survive
        text = "".join(f"r{i},S,{90 if i else 5},percent,100,1,\n" for i in range(rows))
        assert main(["judge", str(write(text))]) == 0
        printed = capsys.readouterr().out
        assert ("| r1 minus r2 " in printed) == listed and "| r0 minus r1 " in printed
        assert printed.count(" minus ") == (rows * (rows - 1) // 2 if listed else rows - 1)
        assert ("The CSV file has every comparison." in printed) != listed


def test_every_verdict_has_a_colour_of_its_own():
    assert set(COLOURS) == {*VERDICTS, REFERENCE}
    assert len(set(COLOURS.values())) == len(COLOURS)


def test_a_wide_table_has_lines_of_panels(write, tmp_path):
    text = "".join(f"{row},task {i},{40 + i}.0,percent,50,1,\n" for i in range(23) for row in "ab")
    assert main(["judge", str(write(text)), "--output", str(tmp_path / "out")]) == 0
    width, height = Image.open(tmp_path / "out" / "judged_table.png").size
    assert width < 2500 and height < 2500


def test_a_percentage_below_one_is_read(write):
    path = write("a,S,0.2,percent,500,1,\nb,S,.4,percent,500,1,\nc,S,30,percent,500,1,\n")
    assert [number.value for number in read_table(path).numbers] == pytest.approx([0.002, 0.004, 0.3])


def test_a_single_row_has_no_comparison(write, capsys):
    assert main(["judge", str(write(GOOD))]) == 0
    assert "No row can be compared with another one." in capsys.readouterr().out


def test_a_table_with_one_comparison_has_sentences_in_the_singular(write, capsys):
    assert main(["judge", str(write("a,S,50.0,percent,10,1,\nb,S,60.0,percent,10,1,a\n"))]) == 0
    text = capsys.readouterr().out
    assert (
        "- Of 1 difference of the printed size, 0 would survive with 100 trials of each policy, 1 with 500"
        in text
    )
    assert "1 does not survive. This does not show that it is zero." in text
    assert "over the 1 comparison with" in text
    assert main(["judge", str(write("a,S,5.0,score,10,1,\nb,S,6.0,score,10,1,a\n"))]) == 0
    text = capsys.readouterr().out
    assert "The one difference cannot be tested." in text and "of which this table has none" in text


def test_a_survivor_needs_at_most_its_trials_and_the_caption_says_so(write, capsys):
    """The second of two survivors needs Holm's second step only, so more trials at the first step."""
    path = write("a,S,50.0,percent,200,1,\nb,S,61.0,percent,200,1,a\nc,S,80.0,percent,200,1,a\n")
    found = {each.first.row: each for each in judge(read_table(path))}
    assert 0.025 < found["b"].p_value < 0.05 and found["b"].verdict == SURVIVES
    assert found["b"].needed == 200
    assert main(["judge", str(path)]) == 0
    text = capsys.readouterr().out
    assert "(for one that survives here, at most the stated trials); above 60, from the normal" in text
