"""The registry of tables: a new table is one file and one entry."""

import csv
import importlib
import re
from pathlib import Path

import pytest
import synthetic_study as made

from vlm4vla.config.config import load_config
from vlm4vla.conventions.tables import TABLES, Figure, TableEntry, heading
from vlm4vla.stages.table import run
from vlm4vla.study.outputs import outputs
from vlm4vla.study.study import Study, table_targets
from vlm4vla.workflow.jobs import plan
from vlm4vla.workflow.report_entries import CAPTIONS, report_entry
from vlm4vla.workflow.targets import check_target

REPOSITORY = Path(__file__).parents[3]
BUILDER = """
from vlm4vla.report.figures import style
from vlm4vla.report.rows.cells import cells_on, measure, printed, score_metrics
from vlm4vla.report.rows.paper_numbers import read_published
from vlm4vla.report.rows.table import Block, Table


def build(inputs):
    settings, cells = inputs.settings, inputs.settings.cells
    wanted = [cell for benchmark in cells.benchmarks for cell in cells_on(benchmark, cells)]
    published = read_published(inputs.published, "main")
    rows, gaps = measure(
        inputs.records, wanted, score_metrics(cells.benchmarks), published, settings.scale, settings.seeds
    )
    with style.panels(1, 3, 3) as (figure, axes):
        axes[0].plot([row["value"] for row in rows])
        style.save(figure, inputs.figures / "toy")
    grid = [[row["model"], printed(row)] for row in rows]
    return Table("toy", "Toys", "A caption.", rows, [Block("Scores", ["model", "score"], grid)], [], gaps)
"""


@pytest.fixture
def toy(tmp_path, monkeypatch):
    """A table `toy` of one file and one entry."""
    (tmp_path / "toy_table.py").write_text(BUILDER)
    monkeypatch.syspath_prepend(tmp_path)
    toy = TableEntry(
        title="toys",
        target="table_toy",
        builder="toy_table:build",
        figures=(Figure("toy"),),
        published=("main.csv",),
    )
    monkeypatch.setitem(TABLES, "toy", toy)
    return toy


def test_the_study_plans_a_new_table(toy, raw):
    cells = {"backbones": ["kosmos-2", "paligemma-1"], "variants": ["full"], "benchmarks": ["bridge"]}
    study = Study(load_config(raw | {"tables": {"toy": cells}}))
    assert study.tables() == ["toy"]
    assert study.target_of("toy") == "table_toy" and table_targets()["table_toy"] == ("toy",)
    check_target(study, "table_toy")
    files = [f"{study.root}/{name}" for name in outputs("toy")]
    assert study.targets("table_toy") == files
    assert study.published_file("toy") == "workflow/published/main.csv"
    assert study.other_published_files("toy") == []
    jobs = plan(study, ["table_toy"])
    job = jobs[f"{study.root}/tables/toy.csv"]
    assert (job.stage, job.key) == ("table", ("toy",))
    assert f"{study.root}/rollouts/kosmos-2/none/full/bridge/seed0/episodes.parquet" in job.inputs
    assert '"table":"toy"' in study.table_settings("toy")
    for path in study.shown_files("toy"):
        shown = report_entry(str(Path(path).relative_to(study.root)))
        assert (REPOSITORY / "rules" / shown["caption"]).is_file() and all(shown["labels"].values())


def test_the_stage_writes_a_new_table(toy, tmp_path):
    frame = made.episodes("kosmos-2", "full", "bridge", 0.6)
    cells = {"backbones": ["kosmos-2"], "auxiliaries": {"kosmos-2": ["none"]}, "benchmarks": ["bridge"]}
    written = run(
        made.settings("toy", cells),
        episodes=[made.write_episodes(tmp_path / "records", frame)],
        published=made.PUBLISHED,
        output=tmp_path / "study",
    )
    assert written == [tmp_path / "study" / name for name in outputs("toy")]
    assert all(path.stat().st_size for path in written)
    with (tmp_path / "study" / "tables" / "toy.csv").open(newline="") as handle:
        [row] = csv.DictReader(handle)
    assert float(row["value"]) == pytest.approx(frame["success"].mean(), abs=1e-5)
    assert "# Toys" in (tmp_path / "study" / "tables" / "toy.md").read_text()
    assert r"\begin{tabular}" in (tmp_path / "study" / "tables" / "toy.tex").read_text()


@pytest.mark.parametrize("table", TABLES)
def test_an_entry_names_what_exists(table):
    own = TABLES[table]
    makefile = (REPOSITORY / "Makefile").read_text().replace("\\\n", " ")
    assert own.target in re.search(r"^TARGETS := (.*)$", makefile, re.MULTILINE)[1].split()
    module, builder = own.builder.split(":")
    assert callable(getattr(importlib.import_module(module), builder))
    for name in own.published:
        assert (REPOSITORY / "workflow" / "published" / name).is_file(), name
    for caption in (own.caption, *(figure.caption for figure in own.figures if figure.caption)):
        assert (REPOSITORY / "rules" / CAPTIONS / f"{caption}.rst").is_file(), caption
    assert own.same_cells_as is None or own.same_cells_as in TABLES


def test_targets_and_figures_are_unique():
    targets = [own.target for own in TABLES.values()]
    figures = [figure.name for own in TABLES.values() for figure in own.figures]
    assert len(set(targets)) == len(targets) and len(set(figures)) == len(figures)


def test_headings_begin_with_a_capital_letter():
    assert heading("fast_injection") == "FAST tokens" and heading("freeze") == "Frozen modules"
