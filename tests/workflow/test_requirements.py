"""The requirements of targets: the checks before a run look for nothing else."""

from pathlib import Path

import pytest

from vlm4vla.config.layers import read_layers
from vlm4vla.core.errors import UserError
from vlm4vla.study.study import Study
from vlm4vla.workflow.preflight import check_capability, check_datasets, open_study
from vlm4vla.workflow.requirements import requirements_of

REPOSITORY = Path(__file__).parents[2]
LAYERS = [REPOSITORY / "config.yaml", REPOSITORY / "workflow/scales/paper.yaml"]


@pytest.fixture
def study(tmp_path):
    config = read_layers(LAYERS)
    return Study(config.model_copy(update={"results": str(tmp_path), "minimum_free_gb": 0}))


def cell(study, *words):
    return f"{study.root}/cells/{'/'.join(words)}.md"


def test_a_cell_needs_only_its_benchmark(study):
    needed = requirements_of(study, [cell(study, "qwen3-vl-2b", "none", "full", "libero-10")])
    assert needed.backbones == {"qwen3-vl-2b"}
    assert needed.demonstrations == needed.rollouts == {"libero-10"}
    assert not needed.sets and not needed.capability and not needed.correlation
    assert needed.gpus == study.config.vla.execution.processes == 8
    check_datasets(study.config, needed.demonstrations)  # although the folder of CALVIN is missing
    check_capability(study, needed)  # although lmms-eval is missing


def test_a_tiny_study_needs_no_gpu(tmp_path):
    config = read_layers(LAYERS[:1]).model_copy(update={"results": str(tmp_path)})
    assert requirements_of(Study(config)).gpus == 0


def test_a_fine_tuned_cell_needs_its_set_and_scores(study):
    needed = requirements_of(study, [cell(study, "qwen2.5-vl-3b", "robopoint", "full", "calvin")])
    assert needed.sets == {"robopoint"}
    assert set(needed.capability) == {("qwen2.5-vl-3b", "none"), ("qwen2.5-vl-3b", "robopoint")}
    with pytest.raises(UserError, match=r"calvin\.demonstrations\.dataset"):
        check_datasets(study.config, needed.demonstrations)
    with pytest.raises(UserError, match=r"lmms_eval\.environment"):
        check_capability(study, needed)


def test_all_tables_need_everything(study):
    needed = requirements_of(study)
    assert needed.demonstrations == needed.rollouts == set(study.config.benchmarks)
    assert needed.backbones == set(study.config.backbones) and needed.correlation
    assert needed.sets == set(study.config.auxiliary.tasks)


def test_a_dry_run_prints_the_errors_of_a_run_as_notes(tmp_path, capsys):
    raw = read_layers(LAYERS).model_dump(mode="json") | {"results": str(tmp_path), "minimum_free_gb": 0}
    with pytest.raises(UserError, match=r"calvin\.demonstrations"):
        open_study(raw)
    assert open_study(raw, planned=True).config.study == "paper"
    notes = capsys.readouterr().err.splitlines()
    assert notes and all(note.startswith("note: a run would stop with this error: ") for note in notes)
