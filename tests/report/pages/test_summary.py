"""The summary of a study agrees with the records behind it."""

import json

import numpy as np
import pytest
import synthetic_study as made
from docutils.core import publish_parts

from vlm4vla.core.errors import UserError
from vlm4vla.core.progress import duration
from vlm4vla.report import names
from vlm4vla.report.pages import summary
from vlm4vla.report.pages.cost import read_costs, total_cost
from vlm4vla.report.pages.findings import findings
from vlm4vla.report.pages.page import escape_rst
from vlm4vla.stages import summary as summary_stage
from vlm4vla.stages.table import run

pytestmark = pytest.mark.usefixtures("undrawn")


@pytest.fixture(scope="module")
def summed(study, tuned, tmp_path_factory):
    """A results folder with five tables of the synthetic studies, and their summary."""
    _, episodes, capability, _curves = study
    root = tmp_path_factory.mktemp("summary")
    for table in ("main", "freeze", "scratch", "correlation"):
        own = {"capability": capability} if table == "correlation" else {}
        run(made.settings(table), episodes=episodes, published=made.PUBLISHED, output=root, **own)
    given = {key: value for key, value in vars(tuned).items() if key != "fast"}
    run(made.settings("auxiliary"), output=root, **given)
    times = root / "benchmarks" / "vla" / "qwen2.5-vl-3b.tsv"
    times.parent.mkdir(parents=True)
    times.write_text("s\th:m:s\tmax_rss\tcpu_time\n100\t-\t500.5\t90\n200\t-\tNA\t180\n")
    copied = root / "backbones" / "qwen3-vl-2b" / "provenance.json"
    copied.parent.mkdir(parents=True)
    copied.write_text(json.dumps({"cpu_seconds": 60, "wall_seconds": 70}))
    timed = root / "vla" / "qwen2.5-vl-3b" / "provenance.json"
    timed.parent.mkdir(parents=True)
    timed.write_text(json.dumps({"cpu_seconds": 90, "wall_seconds": 1e6}))
    summary_stage.run(analysis=sorted((root / "analysis").glob("*.json")), output=root)
    return root


def test_best_backbone_has_the_best_mean_in_the_records(summed):
    text = (summed / "summary.md").read_text()
    means = {
        model: made.episodes(model, "full", "calvin", 0.55 + 0.04 * place)["solved"].mean()
        for place, model in enumerate(made.TEN)
    }
    best = max(means, key=means.get)
    assert best == "internvl3.5-4b"
    line = next(line for line in text.splitlines() if line.startswith("- **CALVIN (embedded):** InternVL"))
    assert f"{means[best]:.2f} [" in line and "% of bootstrap resamples of the episodes" in line


def test_those_that_might_be_best_are_those_that_no_pair_excludes(summed):
    """The marks of the pairs, the ranks and the summary's list follow from the same tests."""
    main = json.loads((summed / "analysis" / "main.json").read_text())
    text = (summed / "summary.md").read_text()
    for benchmark, title in (("calvin", "CALVIN"), ("bridge", "Bridge"), ("libero-10", "LIBERO-10")):
        worse = {
            test["second"] if test["difference"] > 0 else test["first"]
            for test in main["pairs"]
            if test["benchmark"] == benchmark and test["decided"]
        }
        ranks = {each["model"]: each for each in main["ranks"] if each["benchmark"] == benchmark}
        assert {model for model, rank in ranks.items() if rank["ci_low"] > 1} == worse
        line = next(line for line in text.splitlines() if line.startswith(f"- **{title} (embedded):** "))
        first, _, others = line.partition("do not exclude that the best one is ")
        leaders = {model for model, rank in ranks.items() if names.model(model) in first}
        listed = {model for model in ranks if names.model(model) in others}
        assert leaders and listed == set(ranks) - worse - leaders


def test_findings_count_their_cells(summed):
    analyses = summary.read_analyses(sorted((summed / "analysis").glob("*.json")))
    correlation, auxiliary, freeze, scratch = findings(analyses)
    assert (correlation.shown, correlation.tested) == (0, 3)
    assert correlation.verdict != "This study shows it in part"
    assert (auxiliary.verdict, auxiliary.tested) == ("This study shows it in part", 6)
    assert (freeze.verdict, freeze.tested) == ("This study shows it", 6)
    assert (scratch.verdict, scratch.tested) == ("This study shows it", 9)
    assert [each.verdict for each in findings({})] == ["This study did not test it"] * 4
    ratios = []
    for benchmark in made.BENCHMARKS:
        for model in made.THREE:
            skill = 0.55 + 0.04 * made.TEN.index(model)
            column = "solved" if benchmark == "calvin" else "success"
            full, random = (
                made.episodes(model, variant, benchmark, skill * factor)[column].mean()
                for variant, factor in (("full", 1.0), ("scratch", 0.35))
            )
            ratios.append(100 * random / full)
    assert f"weights is {min(ratios):.0f} to {max(ratios):.0f} % of" in scratch.details


def test_summary_states_the_setup(summed):
    text = (summed / "summary.md").read_text()
    for part in ("96 chains", "not measured", "One training seed", "0, 1, 2 (Auxiliary tasks)", "10 (Qwen"):
        assert part in text
    assert text.count("\n## ") == 6


def test_each_job_counts_once_in_the_cost(summed):
    costs = read_costs(summed)
    assert (costs["vla"].jobs, costs["vla"].cpu, costs["vla"].wall) == (1, 180, 200)
    assert (costs["backbones"].cpu, costs["backbones"].memory) == (60, 0)
    assert total_cost(costs).cpu == 240
    assert "took 4 min of CPU time in 2 jobs" in (summed / "summary.md").read_text()
    assert [duration(each) for each in (43, 720, 11100)] == ["43 s", "12 min", "3 h 05 min"]


def test_restructured_text_is_valid(summed):
    for path in (summed / "summary.rst", *sorted((summed / "analysis").glob("*.rst"))):
        strict = {"report_level": 1, "halt_level": 2}
        parts = publish_parts(path.read_text(), writer="html", settings_overrides=strict)
        assert "system-message" not in parts["html_body"]
    assert escape_rst("a_ *b* `c` {{ d }}") == r"a\_ \*b\* \`c\` { { d }}"


def test_gaps_and_damaged_analyses(tmp_path):
    run(made.settings("freeze"), episodes=[], published=made.PUBLISHED, output=tmp_path)
    summary_stage.run(analysis=[tmp_path / "analysis" / "freeze.json"], output=tmp_path)
    text = (tmp_path / "summary.md").read_text()
    assert "did not test it" in text and "Qwen2.5-VL-3B all trained on CALVIN (embedded)" in text
    (tmp_path / "broken.json").write_text("{}")
    with pytest.raises(UserError, match=r"broken\.json: not the numbers of a table"):
        summary.read_analyses([tmp_path / "broken.json"])
    with pytest.raises(UserError, match="no table"):
        summary.read_analyses([])
    assert np.isfinite(read_costs(tmp_path).get("vla", total_cost({})).cpu)
