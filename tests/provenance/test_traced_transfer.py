"""The trace of rank correlations between benchmarks."""

from __future__ import annotations

import synthetic_study as made

from vlm4vla.provenance.trace import trace
from vlm4vla.stages.table import run
from vlm4vla.study.results_folder import Results


def test_rank_correlations_are_recomputed(tmp_path, monkeypatch):
    root = tmp_path / "embedded"
    orders = {"calvin": range(10), "bridge": range(10), "libero-10": [1, 0, 3, 2, 5, 4, 7, 6, 9, 8]}
    episodes = made.write_ranked(root, orders)
    run(made.settings("transfer"), episodes=episodes, published=made.PUBLISHED, output=root)
    monkeypatch.chdir(tmp_path)  # the paper's numbers are not read
    for words, number, rollouts in (
        ("bridge:libero-10", "value", 20),
        ("libero-10:bridge", "p_value", 20),
        ("bridge:rank_reliability", "value", 10),
    ):
        found = trace(Results(root), "transfer", "all backbones", f"{words}:{number}")
        assert found["equals_table"] and found["equals_csv"] is not False
        assert len(found["rollouts"]) == rollouts
