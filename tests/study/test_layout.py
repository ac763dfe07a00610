"""The layout: each path of a study is written once, and everything else takes it from there."""

from __future__ import annotations

import ast
import json
import re
import sys
from pathlib import Path

import pytest
import yaml
from fast_yaml import load_yaml
from workflow_project import REPOSITORY, lay_out

from vlm4vla.conventions.tables import TABLES
from vlm4vla.study.layout import ARTEFACTS, BENCHMARKS, LOGS, ResultsLayout
from vlm4vla.study.runs import Run

VALUES = {
    "vlm": "qwen2.5-vl-3b",
    "auxiliary": "robopoint",
    "task": "vica-332k",
    "policy": "random",
    "variant": "full",
    "benchmark": "libero-10",
    "seed": "123",
    "executed": "-executed2",
    "shard": "7",
    "table": "fast_injection",
    "figure": "generated_qwen2.5-vl-3b",
}
# Loads the Snakefile of the working folder and prints the paths of each rule as JSON.
LOAD = """
import json, sys
from pathlib import Path
from snakemake.api import SnakemakeApi
from snakemake.settings.types import ConfigSettings, OutputSettings, ResourceSettings
sys.argv = ["snakemake", "--dry-run"]
with SnakemakeApi(OutputSettings()) as api:
    config, resources = ConfigSettings(configfiles=[Path("layer.yaml")]), ResourceSettings(cores=1)
    workflow = api.workflow(resource_settings=resources, config_settings=config, snakefile=Path("Snakefile"))
    rules = workflow._workflow.rules
    print(json.dumps({r.name: [*map(list, (r.output, r.log)), r.benchmark] for r in rules}, default=str))
"""


def test_paths(study):
    run = Run("kosmos-2", "none", "full", "libero-10", 0)
    assert study.vla_path(run) == "results/embedded/vla/kosmos-2/none/full/libero-10/seed0/provenance.json"
    assert study.episodes_path(run) == (
        "results/embedded/rollouts/kosmos-2/none/full/libero-10/seed0/episodes.parquet"
    )
    assert study.capability_path("kosmos-2") == "results/embedded/capability/kosmos-2/none.json"


@pytest.mark.parametrize("name", ARTEFACTS)
def test_a_path_is_parsed_back(name):
    artefact, layout = ARTEFACTS[name], ResultsLayout("elsewhere/mine")
    for form in artefact.formats or ("",):
        wildcards = {key: value for key, value in VALUES.items() if f"{{{key}}}" in artefact.pattern}
        wildcards |= {"format": form} if form else {}
        path = layout.path(name, **wildcards)
        assert path == layout.output(name, **wildcards)
        assert artefact.parse(path.removeprefix("elsewhere/mine/")) == wildcards
        found, values = layout.parse(path)
        assert found.path(**values) == artefact.path(**wildcards)  # perhaps of a more general pattern
        assert Path(artefact.path(**wildcards)).match(artefact.glob)


@pytest.mark.parametrize(
    "path",
    [
        "results/embedded/vla/a/none/full/bridge/seedx/provenance.json",
        "results/embedded/vla/a/none/full/bridge/seed0/extra/provenance.json",
        "results/embedded/cells/a/none/full/bridge.pdf",
        "results/other/questions/provenance.json",
        "questions/provenance.json",
    ],
)
def test_other_paths_are_of_no_kind(path):
    assert ResultsLayout("results/embedded").parse(path) is None


def test_a_wildcard_without_a_value_is_an_error():
    with pytest.raises(KeyError):
        ResultsLayout("results").path("vla", vlm="kosmos-2")


def test_a_wildcard_may_have_an_empty_value():
    layout = ResultsLayout("results")
    path = layout.path("rollout", **VALUES | {"executed": ""})
    assert layout.parse(path)[1]["executed"] == ""


def test_logs_and_benchmark_files_follow_from_the_pattern():
    layout = ResultsLayout("r")
    assert layout.log("vla") == "r/logs/vla/{vlm}/{auxiliary}/{variant}/{benchmark}/seed{seed}.log"
    assert layout.benchmark("capability", vlm="a") == "r/benchmarks/capability/a/{auxiliary}.tsv"
    assert layout.log("shard", **VALUES) == (
        "r/logs/rollouts/qwen2.5-vl-3b/robopoint/full/libero-10/seed123-executed2/7.log"
    )
    assert layout.log("reference") == "r/logs/rollouts/{policy}/none/full/{benchmark}/seed0.log"
    assert layout.log("fast_data") == "r/logs/auxiliary_data/fast.log"


# Snakemake writes the constraint of a wildcard into the pattern.
CONSTRAINT = re.compile(r"\{(\w+),[^{}]*\}")


@pytest.mark.workflow
@pytest.mark.parametrize("source", ["embedded", "lmms-eval", "scores"])
def test_every_rule_takes_its_paths_from_the_layout(tmp_path, source):
    project = lay_out(tmp_path / "project")
    capability = {"source": source}
    if source == "lmms-eval":
        capability["lmms_eval"] = {"tasks": {"pope": {"metric": "m"}}, "environment": "none"}
    if source == "scores":
        names = load_yaml((project.folder / "config.yaml").read_text())["backbones"]
        (project.folder / "scores.csv").write_text("model,score\n" + "".join(f"{n},50\n" for n in names))
        capability["scores"] = {"file": "scores.csv"}
    (project.folder / "layer.yaml").write_text(yaml.safe_dump({"capability": capability}))
    done = project.run([sys.executable, "-c", LOAD])
    assert done.returncode == 0, done.stderr
    found = json.loads(CONSTRAINT.sub(r"{\1}", done.stdout))
    assert set(ARTEFACTS) - {"table", "figure", "analysis", "caption"} < set(found)
    layout, published = ResultsLayout("results/embedded"), ResultsLayout("results/published")
    for rule, (outputs, logs, benchmark) in found.items():
        if rule == "all_tables":
            continue
        table = rule.removeprefix("table_")
        name = {"simulator_rollout": "rollout", "released_rollout": "rollout"}.get(
            rule, rule if rule in ARTEFACTS else "table"
        )
        at = published if rule == "published" else layout
        values = {"table": table} if name == "table" else {}
        assert logs == [at.log(name, **values)]
        assert benchmark == at.benchmark(name, **values)
        if name == "cell":
            assert set(outputs) == {layout.output("cell", format=form) for form in ("csv", "md", "tex")}
        elif len(outputs) == 1:
            assert outputs == [at.output(name)]
        else:
            assert all(at.parse(each) for each in outputs)


FOLDERS = {artefact.folder for artefact in ARTEFACTS.values() if "/" in artefact.pattern} | {LOGS, BENCHMARKS}
# A folder of the layout, and something in it
PATH = re.compile(rf"(?:^|[/}}])(?:{'|'.join(FOLDERS)})/[\w{{*.]")


def written_paths(text: str) -> list[str]:
    """Paths of the results folder among the strings of a Python file, without its docstrings."""
    tree = ast.parse(text)
    statements = [node.value for node in ast.walk(tree) if isinstance(node, ast.Expr)]
    docstrings = {id(node) for node in statements if isinstance(node, ast.Constant)}
    found = []
    for node in ast.walk(tree):
        if isinstance(node, ast.Constant) and isinstance(node.value, str) and id(node) not in docstrings:
            found.append(node.value)
        elif isinstance(node, ast.JoinedStr):
            parts = (part.value if isinstance(part, ast.Constant) else "{}" for part in node.values)
            found.append("".join(map(str, parts)))
        elif isinstance(node, ast.BinOp) and isinstance(node.right, ast.Constant):
            found.append(f"/{node.right.value}/*" if node.right.value not in TABLES else "")  # or a figure
    return [each for each in found if " " not in each and PATH.search(each)]


def test_no_other_file_of_the_package_writes_a_path():
    assert written_paths('x = f"{root}/rollouts/{key}/episodes.parquet"')
    assert written_paths('x = root / "rollouts" / "kosmos-2"')
    assert not written_paths('"""Folders such as vla/x."""\nprint("no vla/x is there")')
    described = REPOSITORY / "src" / "vlm4vla" / "conventions" / "columns"  # which files have which columns
    found = {path: written_paths(path.read_text()) for path in (REPOSITORY / "src").rglob("*.py")}
    assert {
        path.name: paths
        for path, paths in found.items()
        if paths and path.name != "layout.py" and described not in path.parents
    } == {}


def test_no_rule_writes_a_path():
    for path in (REPOSITORY / "Snakefile", *(REPOSITORY / "rules").glob("*.smk")):
        assert not re.findall(r"STUDY\.root|provenance\.json|\w/\{\{?\w+\}", path.read_text()), path
