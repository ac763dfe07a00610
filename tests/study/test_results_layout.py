"""Where artefacts lie."""

from __future__ import annotations

from vlm4vla.study.runs import Run


def test_paths(study):
    run = Run("kosmos-2", "none", "full", "libero-10", 0)
    assert study.vla_path(run) == "results/embedded/vla/kosmos-2/none/full/libero-10/seed0/provenance.json"
    assert study.episodes_path(run) == (
        "results/embedded/rollouts/kosmos-2/none/full/libero-10/seed0/episodes.parquet"
    )
    assert study.capability_path("kosmos-2") == "results/embedded/capability/kosmos-2/none.json"
