"""The jobs of rollouts that can stop early: they need the other policy's records, and finished jobs stay."""

from __future__ import annotations

import pytest

pytestmark = pytest.mark.workflow

OWN = "results/smoke/rollouts/kosmos-2/none/freeze-vision/bridge/seed0/episodes.parquet"
FULL = "results/smoke/rollouts/kosmos-2/none/full/bridge/seed0/episodes.parquet"
MESSAGE = "rollout: kosmos-2, auxiliary none, {}, bridge, seed 0"


def stop(project, **keys):
    project.change(
        "workflow/scales/smoke.yaml",
        lambda smoke: smoke["benchmarks"]["bridge"]["evaluation"].update(stop=keys),
    )


def cells(project, variants):
    table = {"backbones": ["kosmos-2"], "variants": variants, "benchmarks": ["bridge"]}
    project.change("config.yaml", lambda config: config.update(tables={"freeze": table}))
    project.change("workflow/scales/smoke.yaml", lambda smoke: smoke.pop("tables", None))


@pytest.mark.exhaustive
def test_a_rollout_needs_the_records_that_decide_when_it_stops(project):
    cells(project, ["full", "freeze-vision"])
    own, full = MESSAGE.format("freeze-vision"), MESSAGE.format("full")
    assert own in project.dry_run(OWN) and full not in project.dry_run(OWN)
    project.make(OWN, FULL)
    assert project.dry_run(OWN, FULL) == set()
    stop(project, against="full")
    assert project.dry_run(OWN, FULL) == {own}  # the other policy runs in full, as before
    project.make(OWN)
    assert project.dry_run(OWN, FULL) == set()
    for path in (OWN, FULL):
        (project.folder / path).unlink()
    assert {own, full} <= project.dry_run(OWN)


def test_a_stop_without_a_comparison_is_one_line_before_any_job(project):
    cells(project, ["full"])
    stop(project, against="full")
    done = project.snakemake("--dry-run", "table_freeze")
    assert done.returncode == 1
    [line] = [line for line in done.stderr.splitlines() if line.startswith("error: ")]
    assert (
        "benchmarks.bridge.evaluation.stop.against: 'full': no table compares another policy with it" in line
    )
