"""A smoke study of six model types that have no adapter of their own, from configuration to table."""

from __future__ import annotations

import csv
import json
import shutil

import pytest
import yaml
from fast_yaml import load_yaml
from smoke_study import LAYER, REPOSITORY, snakemake

pytestmark = [pytest.mark.end_to_end, pytest.mark.timeout(900), pytest.mark.exhaustive]
LAYER_2026 = "workflow/scales/embedded-2026.yaml"


def test_six_new_families_from_pretraining_to_the_table(tmp_path):
    new = load_yaml((REPOSITORY / LAYER_2026).read_text())["backbones"]
    assert len({each["family"] for each in new.values()}) == 6
    for name in ("Snakefile", "config.yaml"):
        shutil.copy2(REPOSITORY / name, tmp_path / name)
    for name in ("rules", "workflow"):
        (tmp_path / name).symlink_to(REPOSITORY / name)
    table = {"backbones": list(new), "experts": [], "benchmarks": ["bridge"]}
    (tmp_path / "table.yaml").write_text(yaml.safe_dump({"study": "new", "tables": {"main": table}}))
    capability = [f"results/new/capability/{name}/none.json" for name in new]
    done = snakemake(
        "table_main", *capability, "--cores", "2", folder=tmp_path, layers=(LAYER_2026, LAYER, "table.yaml")
    )
    assert done.returncode == 0, done.stderr[-3000:]
    results = tmp_path / "results" / "new"
    with (results / "tables" / "main.csv").open(newline="") as handle:
        rows = {row["model"]: row for row in csv.DictReader(handle)}
    assert set(rows) == {*new, "random", "expert"}
    assert all(int(rows[name]["episodes"]) == 8 and 0 <= float(rows[name]["value"]) <= 1 for name in new)
    analysis = json.loads((results / "analysis" / "main.json").read_text())
    tokens = analysis["image_tokens"]
    assert set(tokens) == set(new) and tokens["gemma-4-e4b"] == 64 and tokens["smolvlm2-2.2b"] == 16
    assert "gemma-4-e4b as 64" in analysis["caption"]
    for name in new:
        assert json.loads((results / "capability" / name / "none.json").read_text())
        policy = results / "vla" / name / "none" / "full" / "bridge" / "seed0" / "policy.json"
        assert json.loads(policy.read_text())["adapter"] == "generic"
