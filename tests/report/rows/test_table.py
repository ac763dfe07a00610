from vlm4vla.conventions.scales import StudyScale
from vlm4vla.report import names
from vlm4vla.report.captions import episodes_sentence, seeds_sentence
from vlm4vla.report.rows.contrasts import step_sentence
from vlm4vla.report.rows.table import GAP, Block, Table, tex


def small():
    block = Block("Scores & more", ["model", "value"], [["a_b", "50.0 %"], ["c", GAP]], rules=[1])
    record = {
        "model": "a_b",
        "variant": "full",
        "benchmark": "bridge",
        "metric": "success_rate",
        "value": 1 / 3,
    }
    return Table(
        "t", "A title", "A caption.", [record], [block], ["It shows."], ["c on Bridge"], extra=("p_value",)
    )


def test_latex_escapes():
    assert tex(r"50 % of a_b & {c} < d \ #1") == (
        r"50 \% of a\_b \& \{c\} \textless{} d \textbackslash{} \#1"
    )
    assert tex(GAP) == "--"


def test_three_forms(tmp_path):
    small().write(tmp_path, "t")
    lines = (tmp_path / "t.csv").read_text().splitlines()
    assert lines[0].endswith("published,p_value")
    assert lines[1] == "a_b,full,bridge,success_rate,0.333333,,,,,,"
    markdown = (tmp_path / "t.md").read_text()
    assert "| a_b   | 50.0 % |" in markdown
    assert "- It shows." in markdown and "Not measured: c on Bridge." in markdown
    latex = (tmp_path / "t.tex").read_text()
    assert r"a\_b & 50.0 \% \\" in latex
    assert latex.count(r"\midrule") == 2
    assert r"\scriptsize Not measured: c on Bridge. A caption.\end{minipage}" in latex


def test_names():
    assert names.benchmark("calvin", "embedded") == "CALVIN (embedded)"
    assert names.benchmark("metaworld", StudyScale("embedded", ["metaworld"])) == "MetaWorld"
    assert names.benchmark("libero-10", StudyScale("embedded", ["metaworld"])) == "LIBERO-10 (embedded)"
    assert names.benchmark("bridge", "smoke") == "Bridge (smoke)"
    assert names.benchmark("libero-10", "paper") == "LIBERO-10"
    assert names.model("my-own-vlm") == "my-own-vlm"
    assert names.joined(["a", "b", "c"]) == "a, b and c"
    assert names.published("success_rate", 0.4675) == "46.75"
    assert names.published("success_rate", 0.48) == "48.0"
    assert names.p_value(0.0004) == "p < 0.001"


def test_captions():
    rows = [{"benchmark": "bridge", "episodes": count} for count in (96, 24, None)]
    assert (
        episodes_sentence(rows, "smoke") == "Episodes in each cell: Bridge (smoke) 24 to 96 initial states."
    )
    assert "not measured" in seeds_sentence([3])
    assert "seed_sd" in seeds_sentence([0, 1])


def test_the_caption_says_that_steps_differ():
    variants = ["full", "scratch"]
    assert step_sentence({"full": 5, "scratch": 5}, variants) == "Every policy had 5 VLA training steps."
    assert "differ: all trained 5 and from random weights 7" in step_sentence(
        {"full": 5, "scratch": 7}, variants
    )
    assert step_sentence(None, variants) == ""
