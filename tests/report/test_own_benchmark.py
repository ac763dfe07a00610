"""Every table with a user's own benchmark, with and without the built-in benchmarks."""

import json
import re

import pytest
import synthetic_study as made
from table_checks import check_whole, only, read_rows

from vlm4vla.report import names
from vlm4vla.stages import summary
from vlm4vla.stages.table import run
from vlm4vla.workflow.report_entries import report_entry

OWN, BUILT_IN = "push-button", ["calvin", "bridge", "libero-10"]
MODELS, THREE = made.TEN, made.THREE
FACTOR = {"full": 1.0, "freeze-vision": 0.5, "freeze-embedding": 1.0, "scratch": 0.35}


@pytest.fixture(scope="module")
def records(study, tmp_path_factory):
    """Episode files of the synthetic study, and of all its policies on one more benchmark."""
    root = tmp_path_factory.mktemp("own")
    paths = list(study[1])
    for place, model in enumerate(MODELS):
        for variant, factor in FACTOR.items():
            if variant == "full" or model in THREE:
                frame = made.episodes(model, variant, OWN, (0.55 + 0.04 * place) * factor)
                paths.append(made.write_episodes(root, frame))
    for model, skill in (("random", 0.12), ("expert", 0.97)):
        paths.append(made.write_episodes(root, made.episodes(model, "full", OWN, skill)))
    return paths


@pytest.fixture(scope="module")
def curves(study, tmp_path_factory):
    folder = tmp_path_factory.mktemp("curves") / "seed0"
    folder.mkdir()
    (folder / "train.jsonl").write_text("".join(f'{{"step": {s}, "loss": {1 / s}}}\n' for s in range(1, 9)))
    settings = {"backbone": "kosmos-2", "variant": "full", "benchmark": OWN, "seed": 0}
    (folder / "provenance.json").write_text(json.dumps({"settings": settings}))
    return [*study[3], folder]


def settings(table, benchmarks, **changes):
    given = made.settings(table, **changes)
    cells = given.cells.model_copy(update={"benchmarks": benchmarks})  # no extension file registers the name
    return given.model_copy(update={"cells": cells})


@pytest.fixture(
    scope="module",
    params=[
        pytest.param([*BUILT_IN, OWN], id="with built-in", marks=pytest.mark.exhaustive),
        pytest.param([OWN], id="alone"),
    ],
)
def tables(request, study, records, curves, tmp_path_factory):
    output = tmp_path_factory.mktemp("tables")
    for table in made.BACKBONE_TABLES:
        more = {"capability": study[2]} if table == "correlation" else {}
        more |= {"curves": curves} if table == "main" else {}
        chosen = settings(table, request.param)
        run(chosen, episodes=records, published=made.PUBLISHED, output=output, **more)
    return output


@pytest.mark.parametrize("table", made.BACKBONE_TABLES)
def test_own_benchmark_has_its_key_as_name_and_no_published_numbers(tables, table):
    text = (tables / "tables" / f"{table}.md").read_text()
    assert f"{OWN} (embedded)" in text
    assert re.search(rf"{OWN} \(embedded\) 96 initial states", text)
    own = [row for row in read_rows(tables, table) if row["benchmark"] == OWN]
    assert own and {row["published"] for row in own} == {""}


def test_values_agree_with_the_records(tables):
    frame = made.episodes("kosmos-2", "full", OWN, 0.55 + 0.04 * MODELS.index("kosmos-2"))
    row = only(read_rows(tables, "main"), model="kosmos-2", benchmark=OWN)
    assert row["metric"] == "success_rate" and row["episodes"] == "96"
    assert float(row["value"]) == pytest.approx(frame["success"].mean(), abs=1e-5)
    frozen = only(read_rows(tables, "freeze"), model=THREE[0], variant="freeze-vision", benchmark=OWN)
    assert float(frozen["difference"]) < 0 and float(frozen["p_value"]) < 0.05


def test_the_summary_includes_the_own_benchmark(tables):
    summary.run(analysis=sorted((tables / "analysis").glob("*.json")), output=tables)
    assert f"- **{OWN} (embedded):** " in (tables / "summary.md").read_text()


def test_figures_are_not_empty(tables):
    from matplotlib.image import imread

    for name in ("main", "radar", "ranks", "tasks", "learning_curves", "correlation", "scratch"):
        assert imread(tables / "figures" / f"{name}.png")[..., :3].std() > 0.03, name


def test_auxiliary_table_on_the_own_benchmark(tuned, tmp_path):
    folder, paths = tmp_path / "records", []
    for model, tasks in made.TASKS.items():
        for task in tasks:
            frame = made.episodes(model, "full", OWN, 0.6, noise=len(task), auxiliary=task)
            paths.append(made.write_episodes(folder, frame.assign(checkpoint=f"{model}-{task}")))
    for model, skill in (("random", 0.12), ("expert", 0.97)):
        paths.append(made.write_episodes(folder, made.episodes(model, "full", OWN, skill)))
    given = {key: value for key, value in vars(tuned).items() if key not in ("fast", "episodes")}
    output = tmp_path / "out"
    run(settings("auxiliary", [OWN], seeds=[0]), output=output, episodes=paths, **given)
    check_whole(output, "auxiliary")
    assert "CALVIN" not in (output / "tables" / "auxiliary.md").read_text()


def test_order_and_names():
    assert names.in_order([OWN, "bridge", "other", "calvin", OWN]) == ["calvin", "bridge", OWN, "other"]
    assert names.benchmark(OWN) == OWN and names.benchmark(OWN, "smoke") == f"{OWN} (smoke)"
    assert report_entry(f"films/{OWN}.html")["labels"]["rollouts"] == f"films: {OWN}"
