"""The stage backbone: pre-training and its resuming, and the installation of checkpoints."""

import json
import os
import shutil
import signal
import subprocess
import sys
import textwrap
from pathlib import Path

import pytest
from safetensors.torch import load_file, save_file
from small_inputs import log_without_times

from vlm4vla.backbones import load
from vlm4vla.config.backbones import Backbone
from vlm4vla.config.stages import BackboneSettings
from vlm4vla.core.artefacts import file_hash
from vlm4vla.core.errors import UserError
from vlm4vla.stages.backbone import run

KILLED = """
    import os, signal, sys
    from pathlib import Path
    from vlm4vla.stages.backbone import run
    from vlm4vla.config.stages import BackboneSettings
    from vlm4vla.training.batches.questions import QuestionBatches
    ids = QuestionBatches.ids
    def killing(self, step):
        if step == 3:
            os.kill(os.getpid(), signal.SIGKILL)
        return ids(self, step)
    QuestionBatches.ids = killing
    settings = BackboneSettings.model_validate_json({settings!r})
    run(settings, questions=Path({questions!r}), output=Path({output!r}))
"""


def test_the_folder_loads_and_has_provenance(backbone, questions, backbone_settings):
    assert load(backbone).image_size == 64
    record = json.loads((backbone / "provenance.json").read_text())
    assert record["settings"] == backbone_settings.model_dump(mode="json")
    assert record["inputs"]["questions"]["sha256"] == file_hash(questions / "provenance.json")
    assert record["outputs"]["model.safetensors"] == file_hash(backbone / "model.safetensors")
    names = {path.name for path in backbone.iterdir() if path.is_file()}
    assert record["outputs"].keys() == names - {"provenance.json", "train.jsonl"}
    assert [line["step"] for line in log_without_times(backbone)] == [2, 4]
    assert [line["step"] for line in log_without_times(backbone / "alignment")] == [2, 4]
    assert not list(backbone.rglob("checkpoints"))


def test_killed_pretraining_ends_with_the_same_bytes(tmp_path, backbone, questions, backbone_settings):
    script = KILLED.format(
        settings=backbone_settings.model_dump_json(), questions=str(questions), output=str(tmp_path)
    )
    command = [sys.executable, "-c", textwrap.dedent(script)]
    environment = os.environ | {"OMP_NUM_THREADS": "1"}
    result = subprocess.run(command, capture_output=True, timeout=300, env=environment)
    assert result.returncode == -signal.SIGKILL, result.stderr.decode()
    assert (tmp_path / "checkpoints" / "step-000002.json").exists()
    assert not (tmp_path / "provenance.json").exists()
    run(backbone_settings, questions=questions, output=tmp_path)
    assert (tmp_path / "model.safetensors").read_bytes() == (backbone / "model.safetensors").read_bytes()
    assert log_without_times(tmp_path) == log_without_times(backbone)


def checkpoint_settings(folder, family="paligemma", **keys):
    backbone = Backbone(family=family, parameters_b=3, checkpoint=str(folder), **keys)
    return BackboneSettings(name="real", backbone=backbone, recipe=None, image_size=64, seed=0)


def test_a_local_checkpoint_is_installed(tmp_path, backbone, questions):
    run(checkpoint_settings(backbone), questions=questions, output=tmp_path)
    assert (tmp_path / "model.safetensors").read_bytes() == (backbone / "model.safetensors").read_bytes()
    assert load(tmp_path).adapter.family == "paligemma"
    assert json.loads((tmp_path / "provenance.json").read_text())["settings"]["name"] == "real"
    assert json.loads((backbone / "provenance.json").read_text())["settings"]["name"] == "tiny"


@pytest.mark.parametrize("fault", ["missing", "truncated"])
def test_an_incomplete_checkpoint_is_an_error(tmp_path, backbone, questions, fault):
    shutil.copytree(backbone, tmp_path / "source")
    weights = tmp_path / "source" / "model.safetensors"
    if fault == "missing":
        weights.unlink()
    else:
        weights.write_bytes(weights.read_bytes()[:-100])
    with pytest.raises(UserError, match=r"model\.safetensors"):
        run(checkpoint_settings(tmp_path / "source"), questions=questions, output=tmp_path / "out")
    assert not (tmp_path / "out" / "provenance.json").exists()


@pytest.mark.parametrize("value", [float("nan"), float("inf"), float("-inf")])
def test_a_checkpoint_with_a_weight_that_is_no_number_is_an_error(tmp_path, backbone, questions, value):
    """It is found when the checkpoint is installed, not in each of the trainings that read it."""
    shutil.copytree(backbone, tmp_path / "source")
    tensors = load_file(backbone / "model.safetensors")
    name = sorted(tensors)[3]
    tensors[name].view(-1)[-1] = value
    save_file(tensors, tmp_path / "source" / "model.safetensors", metadata={"format": "pt"})
    with pytest.raises(UserError) as error:
        run(checkpoint_settings(tmp_path / "source"), questions=questions, output=tmp_path / "out")
    file = tmp_path / "out" / "model.safetensors"
    assert str(error.value) == (
        f"{file}: the tensor {name} has NaN or infinity: write another checkpoint in backbones.real"
    )
    assert not (tmp_path / "out" / "provenance.json").exists()


def test_a_checkpoint_of_another_family_is_an_error(tmp_path, backbone, questions):
    with pytest.raises(UserError, match=r"real\.family: 'kosmos-2', but .* is a 'paligemma'"):
        run(checkpoint_settings(backbone, "kosmos-2"), questions=questions, output=tmp_path)


def test_a_hub_name_needs_its_revision(tmp_path, questions):
    with pytest.raises(UserError, match="needs a commit: write `revision`"):
        run(checkpoint_settings(Path("someone/some-model")), questions=questions, output=tmp_path)


@pytest.mark.parametrize("content", ["x", "{}", "[1]", '["a", null]', ""])
def test_a_damaged_vocabulary_is_one_line(questions, backbone_settings, tmp_path, content):
    own = shutil.copytree(questions, tmp_path / "questions")
    (own / "vocabulary.json").write_text(content)
    with pytest.raises(UserError, match=r"vocabulary\.json: not .*: generate the questions again") as error:
        run(backbone_settings, questions=own, output=tmp_path / "out")
    assert "\n" not in str(error.value)
