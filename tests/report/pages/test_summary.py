"""The summary against the records behind it."""

import json

import numpy as np
import pytest
import synthetic_study as made
from docutils.core import publish_parts

from vlm4vla.core.durations import clock
from vlm4vla.core.errors import UserError
from vlm4vla.report.pages import summary
from vlm4vla.report.pages.cost import read_costs, total
from vlm4vla.report.pages.findings import findings
from vlm4vla.report.pages.page import restructured
from vlm4vla.stages.table import run


@pytest.fixture(scope="module")
def summed(study, tuned, tmp_path_factory):
    """A results folder with five tables of the made-up studies and their summary."""
    _, episodes, capability, _curves = study
    root = tmp_path_factory.mktemp("summary")
    for table in ("main", "freeze", "scratch", "correlation"):
        own = {"capability": capability} if table == "correlation" else {}
        run(table, made.settings(table), episodes=episodes, published=made.PUBLISHED, output=root, **own)
    given = {key: value for key, value in vars(tuned).items() if key != "fast"}
    run("auxiliary", made.settings("auxiliary"), output=root, **given)
    times = root / "benchmarks" / "vla" / "qwen2.5-vl-3b.tsv"
    times.parent.mkdir(parents=True)
    times.write_text("s\th:m:s\tmax_rss\tcpu_time\n100\t-\t500.5\t90\n200\t-\tNA\t180\n")
    brought = root / "backbones" / "qwen3-vl-2b" / "provenance.json"
    brought.parent.mkdir(parents=True)
    brought.write_text(json.dumps({"cpu_seconds": 60, "wall_seconds": 70}))
    covered = root / "vla" / "qwen2.5-vl-3b" / "provenance.json"
    covered.parent.mkdir(parents=True)
    covered.write_text(json.dumps({"cpu_seconds": 1e6, "wall_seconds": 1e6}))
    summary.run(analysis=sorted((root / "analysis").glob("*.json")), output=root)
    return root


def test_best_backbone_is_that_of_the_records(summed):
    text = (summed / "summary.md").read_text()
    means = {
        model: made.episodes(model, "full", "calvin", 0.55 + 0.04 * place)["solved"].mean()
        for place, model in enumerate(made.TEN)
    }
    best = max(means, key=means.get)
    assert best == "internvl3.5-4b"
    line = next(line for line in text.splitlines() if line.startswith("- **CALVIN (embedded)** InternVL"))
    assert f"{means[best]:.2f} [" in line and "% of redrawn sets of episodes" in line


def test_findings_count_their_cells(summed):
    analyses = summary.read_analyses(sorted((summed / "analysis").glob("*.json")))
    skill, auxiliary, frozen, scratch = findings(analyses)
    assert (skill.verdict, skill.shown, skill.tried) == ("does not show here", 0, 3)
    assert (auxiliary.verdict, auxiliary.tried) == ("shows in part", 7)
    assert (frozen.verdict, frozen.tried) == ("shows here", 6)
    assert (scratch.verdict, scratch.tried) == ("shows here", 9)
    assert [each.verdict for each in findings({})] == ["was not tried"] * 4
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
    assert f"reach {min(ratios):.0f} to {max(ratios):.0f} %" in scratch.cases


def test_words_that_a_reader_needs(summed):
    text = (summed / "summary.md").read_text()
    for words in ("96 chains", "not measured", "One training seed", "0, 1, 2 (Auxiliary tasks)", "10: Qwen"):
        assert words in text
    assert text.count("\n## ") == 6


def test_cost_is_summed_once(summed):
    costs = read_costs(summed)
    assert (costs["vla"].jobs, costs["vla"].cpu, costs["vla"].wall) == (1, 180, 200)
    assert (costs["backbones"].cpu, costs["backbones"].memory) == (60, 0)
    assert total(costs).cpu == 240
    assert "4 min of processor time in 2 jobs" in (summed / "summary.md").read_text()
    assert [clock(each) for each in (43, 720, 11100)] == ["43 s", "12 min", "3 h 05 min"]


def test_restructured_text_is_whole(summed):
    for path in (summed / "summary.rst", *sorted((summed / "analysis").glob("*.rst"))):
        told = {"report_level": 1, "halt_level": 2}
        parts = publish_parts(path.read_text(), writer="html", settings_overrides=told)
        assert "system-message" not in parts["html_body"]
    assert restructured("a_ *b* `c` {{ d }}") == r"a\_ \*b\* \`c\` { { d }}"


def test_gaps_and_broken_numbers(tmp_path):
    run("freeze", made.settings("freeze"), episodes=[], published=made.PUBLISHED, output=tmp_path)
    summary.run(analysis=[tmp_path / "analysis" / "freeze.json"], output=tmp_path)
    text = (tmp_path / "summary.md").read_text()
    assert "was not tried" in text and "Qwen2.5-VL-3B all trained on CALVIN (embedded)" in text
    (tmp_path / "broken.json").write_text("{}")
    with pytest.raises(UserError, match=r"broken\.json: not a table's numbers"):
        summary.read_analyses([tmp_path / "broken.json"])
    with pytest.raises(UserError, match="no table"):
        summary.read_analyses([])
    assert np.isfinite(read_costs(tmp_path).get("vla", total({})).cpu)
