"""The programs of speed/ that ask the policy server and run simulators."""

import os
from pathlib import Path

import numpy as np
import pytest
from fast_yaml import load_yaml

pytest.importorskip("vla_eval")

from served_examples import POINT

from vlm4vla.config.config import load_config
from vlm4vla.evaluation.simulators import harness

HERE = Path(__file__).parent
ROOT = HERE.parents[3]
SIZE = 64


@pytest.fixture(autouse=True)
def programs(monkeypatch):
    monkeypatch.syspath_prepend(str(ROOT / "speed"))


@pytest.fixture
def policy():
    import torch
    from full_size import tiny
    from step_time import policy_of

    return policy_of(tiny("qwen2.5-vl-3b", ["go"]), torch.device("cpu"), True).eval()


class Shapes:
    """A policy that remembers how many images it was given at once, and answers with their first pixel."""

    def __init__(self):
        self.batches = []

    def predict(self, images, instructions):
        self.batches.append(len(images))
        return np.array([np.full((4, 7), image[0, 0, 0] / 255) for image in images])


@pytest.mark.parametrize(("fixed", "shapes"), [(True, {3}), (False, {1, 2, 3})])
def test_clients_get_the_actions_of_their_own_images(fixed, shapes):
    from served_policy import measure_server

    policy = Shapes()
    options = {"clients": 3, "executed": 2, "predictions": 2, "warm_up": 1, "size": SIZE, "side": SIZE}
    found = measure_server(policy, "go", **options, fixed_batch=fixed)
    assert found["answers_differ_by"] < 1e-6
    assert set(policy.batches) <= shapes
    assert found["observations"] == 3 * 2 * 2 and len(found["latencies"]) == 3 * 2
    assert found["observations_a_second"] == pytest.approx(2 * found["predictions_a_second"], rel=0.01)


def test_a_tiny_policy_answers_through_the_server_as_it_predicts(policy):
    from served_policy import measure_server

    options = {"clients": 2, "executed": 1, "predictions": 2, "warm_up": 1, "size": SIZE, "side": 80}
    found = measure_server(policy, "go", **options, fixed_batch=False)
    assert found["answers_differ_by"] < 1e-5
    assert min(found["latencies"]) > 0


def test_simulators_at_the_same_time(tmp_path, monkeypatch):
    """With a small simulator in place of LIBERO."""
    from rollout_rate import on_simulator, untrained

    own = harness.simulator_environment
    path = os.pathsep.join(
        [str(harness.INSIDE), str(HERE), *os.environ.get("PYTHONPATH", "").split(os.pathsep)]
    )
    monkeypatch.setattr(harness, "simulator_environment", lambda folder: own(folder) | {"PYTHONPATH": path})
    monkeypatch.syspath_prepend(str(HERE))
    monkeypatch.setenv("PYTHONPATH", str(HERE), prepend=os.pathsep)
    config = load_config(load_yaml((ROOT / "config.yaml").read_text()), "config.yaml")
    vla = untrained(config, "kosmos-2", "libero-10", tmp_path / "vla")
    simulator = POINT | {"unnormalisation": "quantile", "runs": {"answer_s": 300, "processes": 2}}
    changes = {"episodes": 2, "max_steps": 4, "execution_horizon": 2}
    found = on_simulator(config, "libero-10", vla, simulator, changes, tmp_path / "out")
    assert (found["processes"], found["episodes"]) == (2, 4)  # two tasks with two initial states each
    assert found["steps"] <= 4 * 4 and found["episodes_a_minute"] > 0
