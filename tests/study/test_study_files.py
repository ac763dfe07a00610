"""The files that tables read."""

from __future__ import annotations

from vlm4vla.config.config import load_config
from vlm4vla.study.study import Study


def test_tables_of_fine_tuned_vlms_read_the_scores_of_each_vlm_and_of_its_backbone(study):
    root = study.root
    for table, count in (("auxiliary", 7), ("fast_injection", 2)):
        tuned = [vlm for vlm in study.vlms(table) if vlm[1] != "none"]
        assert len(tuned) == count
        assert study.table_auxiliary(table) == [
            f"{root}/auxiliary/{vlm}/{task}/provenance.json" for vlm, task in tuned
        ]
        wanted = {f"{root}/capability/{vlm}/{name}.json" for vlm, task in tuned for name in ("none", task)}
        assert set(study.table_capability(table)) == wanted
    assert study.table_fast("fast_injection") == [f"{root}/auxiliary_data/fast/provenance.json"]
    assert study.table_fast("auxiliary") == study.table_fast("main") == study.table_auxiliary("main") == []
    assert study.published_file("auxiliary") == "workflow/published/auxiliary_calvin.csv"


def test_a_table_without_the_plain_backbone_still_reads_its_capability(raw):
    raw["tables"]["fast_injection"]["auxiliaries"] = ["fast-freeze-vision"]
    study = Study(load_config(raw))
    assert study.capability_path("qwen3-vl-4b") in study.table_capability("fast_injection")
