"""The stage vla from input folders to a policy's folder: trained weights, resuming, provenance, errors."""

import json
import os
import shutil
import signal
import subprocess
import sys
import textwrap

import numpy as np
import pytest
import torch
from small_inputs import log_without_times, write_demonstrations
from vla_settings import expert_settings, settings

from vlm4vla.backbones import load
from vlm4vla.core.artefacts import file_hash
from vlm4vla.core.errors import UserError
from vlm4vla.data.lerobot.reader import read_demonstrations
from vlm4vla.policies.policy import Policy
from vlm4vla.stages.vla import random_like, run


@pytest.fixture(scope="module")
def trained(tmp_path_factory, backbone, demonstrations):
    folder = tmp_path_factory.mktemp("vla")
    run(settings(), backbone=backbone, demonstrations=demonstrations, output=folder)
    return folder


def test_the_folder_is_a_policy_with_provenance(trained, backbone):
    policy = Policy.load(trained)
    actions = policy.predict(np.zeros((2, 64, 64, 3), dtype=np.uint8), ["reach for the red block"] * 2)
    assert actions.shape == (2, 3, 7) and set(np.unique(actions[..., 6])) <= {-1.0, 1.0}
    record = json.loads((trained / "provenance.json").read_text())
    assert record["outputs"]["policy.safetensors"] == file_hash(trained / "policy.safetensors")
    assert record["outputs"]["backbone/model.safetensors"] == file_hash(
        trained / "backbone/model.safetensors"
    )
    assert record["inputs"]["backbone"]["sha256"] == file_hash(backbone / "provenance.json")
    assert [line["step"] for line in log_without_times(trained)] == [3, 6]
    assert not (trained / "checkpoints").exists()
    assert not list(trained.rglob("*.pt")) + list(trained.rglob("*.bin")) + list(trained.rglob("*.pkl"))


@pytest.mark.parametrize("freeze", ["none", "vision", "embedding"])
def test_frozen_weights_stay_and_all_others_change(tmp_path, backbone, demonstrations, freeze):
    run(settings(freeze=freeze), backbone=backbone, demonstrations=demonstrations, output=tmp_path)
    before, after = load(backbone), load(tmp_path / "backbone")
    parts = {"none": [], "vision": before.vision_encoder(), "embedding": [before.word_embedding()]}
    frozen = {id(parameter) for module in parts[freeze] for parameter in module.parameters()}
    assert (freeze == "none") == (not frozen)
    trained = dict(after.model.named_parameters())
    for name, parameter in before.model.named_parameters():
        assert torch.equal(parameter, trained[name]) == (id(parameter) in frozen), name


def test_random_weights_are_fresh_and_follow_the_seed(backbone):
    loaded = load(backbone)
    first, again, other = (random_like(loaded, seed).model.state_dict() for seed in (1, 1, 2))
    weights = [name for name, value in first.items() if value.ndim >= 2 and value.std() > 0]
    assert weights
    for name in weights:
        assert torch.equal(first[name], again[name])
        assert not torch.equal(first[name], other[name])
        assert not torch.equal(first[name], loaded.model.state_dict()[name])


KILLED = """
    import os, signal, sys
    from pathlib import Path
    sys.path[:0] = {paths!r}
    from vla_settings import settings
    from vlm4vla.training.batches.actions import ActionBatches
    from vlm4vla.stages.vla import run
    ids = ActionBatches.ids
    def killing(self, step):
        if step == 5:
            os.kill(os.getpid(), signal.SIGKILL)
        return ids(self, step)
    ActionBatches.ids = killing
    folders = dict(backbone={backbone!r}, demonstrations={demonstrations!r}, output={output!r})
    run(settings(), **{{name: Path(folder) for name, folder in folders.items()}})
"""


def test_killed_training_ends_with_the_same_bytes(tmp_path, trained, backbone, demonstrations):
    script = KILLED.format(
        paths=sys.path,
        backbone=str(backbone),
        demonstrations=str(demonstrations),
        output=str(tmp_path),
    )
    command = [sys.executable, "-c", textwrap.dedent(script)]
    environment = os.environ | {"OMP_NUM_THREADS": "1"}
    result = subprocess.run(command, capture_output=True, timeout=300, env=environment)
    assert result.returncode == -signal.SIGKILL, result.stderr.decode()
    assert (tmp_path / "checkpoints" / "step-000004.json").exists()
    assert not (tmp_path / "provenance.json").exists()
    run(settings(), backbone=backbone, demonstrations=demonstrations, output=tmp_path)
    for name in ("policy.safetensors", "backbone/model.safetensors"):
        assert (tmp_path / name).read_bytes() == (trained / name).read_bytes(), name
    assert log_without_times(tmp_path) == log_without_times(trained)


def test_a_chunk_longer_than_every_episode_is_an_error(tmp_path, backbone):
    demonstrations = write_demonstrations(tmp_path / "demonstrations", episodes=2, length=4)
    with pytest.raises(UserError, match=r"longest episode has 4 frames, but chunk is 9: write at most 4"):
        run(settings(chunk=9), backbone=backbone, demonstrations=demonstrations, output=tmp_path / "out")


def test_a_backbone_without_weights_is_an_error(tmp_path, backbone, demonstrations):
    shutil.copytree(backbone, tmp_path / "backbone")
    (tmp_path / "backbone" / "model.safetensors").unlink()
    with pytest.raises(UserError, match=r"model\.safetensors"):
        run(
            settings(),
            backbone=tmp_path / "backbone",
            demonstrations=demonstrations,
            output=tmp_path / "out",
        )


@pytest.fixture(scope="module")
def with_points(tmp_path_factory):
    return write_demonstrations(tmp_path_factory.mktemp("points"), points=True)


@pytest.mark.parametrize("kind", ["tokens", "flow", "planned-flow"])
def test_an_expert_head_trains_and_its_policy_predicts(tmp_path, backbone, with_points, kind):
    """The same seed gives the same bytes, and the state's scale comes from the dataset."""
    for name in ("one", "two"):
        run(expert_settings(kind), backbone=backbone, demonstrations=with_points, output=tmp_path / name)
    files = sorted(path.relative_to(tmp_path / "one") for path in (tmp_path / "one").rglob("*.safetensors"))
    assert len(files) == 2
    for file in files:
        assert (tmp_path / "one" / file).read_bytes() == (tmp_path / "two" / file).read_bytes()
    policy = Policy.load(tmp_path / "one")
    images = np.zeros((1, 64, 64, 3), dtype=np.uint8)
    actions = policy.predict(images, ["reach for the red block"], np.zeros((1, 8)), np.zeros((1, 3, 7)))
    assert actions.shape == (1, 3, 7)
    if kind != "tokens":
        states = read_demonstrations(with_points).states
        np.testing.assert_allclose(policy.state_scale.mean, states.mean(0), atol=1e-5)
        np.testing.assert_allclose(policy.state_scale.std, states.std(0), atol=1e-5)


def test_a_plan_needs_the_grippers_points(tmp_path, backbone, demonstrations):
    with pytest.raises(UserError, match=r"column 'observation\.gripper_point' is missing"):
        run(
            expert_settings("planned-flow"), backbone=backbone, demonstrations=demonstrations, output=tmp_path
        )
    assert not (tmp_path / "train.jsonl").exists()


def test_a_head_that_reads_the_state_needs_it(tmp_path, backbone, demonstrations):
    folder = shutil.copytree(demonstrations, tmp_path / "set")
    stats = json.loads((folder / "meta/stats.json").read_text())
    del stats["observation.state"]
    (folder / "meta/stats.json").write_text(json.dumps(stats))
    with pytest.raises(UserError, match=r"observation\.state needs `mean` and `std`"):
        run(expert_settings("flow"), backbone=backbone, demonstrations=folder, output=tmp_path / "vla")
