"""The policy server acts with a released pi0 as a rollout in one process does."""

import numpy as np
import pytest
import torch
from pi0_models import write_pi0

from vlm4vla.config.stages import RolloutSettings
from vlm4vla.evaluation.simulators.episodes import simulator_episodes
from vlm4vla.evaluation.simulators.recordings import PlayedEpisode, records_table
from vlm4vla.evaluation.simulators.served_policies import Query, ServedReleased
from vlm4vla.policies.released.folder import rollout_folder
from vlm4vla.policies.released.pi0 import load_released

SEED = 5


@pytest.fixture(scope="module")
def settings(tmp_path_factory):
    torch.set_num_threads(1)
    folder = write_pi0(tmp_path_factory.mktemp("pi0"))
    simulator = {
        "adapter": "libero",
        "gripper": {"open": -1, "close": 1},
        "unnormalisation": "quantile",
        "success": "any-step",
    }
    protocol = {"episodes": 1, "max_steps": 6, "execution_horizon": 2, "seed": SEED, "simulator": simulator}
    return RolloutSettings(
        policy="vla",
        backbone="pi0",
        variant="full",
        benchmark="libero-10",
        seed=0,
        evaluation=protocol,
        image_size=64,
        study="test",
        scale="smoke",
        released={"checkpoint": str(folder)},
    )


def test_plans_are_predictions_of_the_policy_for_the_noise_of_the_episode(settings):
    served = ServedReleased(settings)
    assert served.reads_state
    images = np.random.default_rng(0).integers(0, 256, (2, 64, 64, 3), dtype=np.uint8)
    states = np.random.default_rng(1).normal(size=(2, 8)).astype(np.float32)
    words = ["pick up the block", "open the drawer"]
    for session, number in (("a", 7), ("b", 2)):
        served.start_episode(session, {"number": number})
    queries = [Query(*each) for each in zip("ab", images, words, states, strict=True)]
    policy = load_released(rollout_folder(settings), settings)
    for plan in range(2):
        noise = [np.random.default_rng([SEED, number, plan]).standard_normal((4, 9)) for number in (7, 2)]
        expected = policy.predict(images, words, states, np.stack(noise))
        np.testing.assert_array_equal(np.stack(served.plan(queries)), expected)
    with pytest.raises(ValueError, match="reads the robot's state, but the simulator sent none"):
        served.plan([Query("a", images[0], words[0])])


def test_records_name_the_released_policy(settings):
    episodes = simulator_episodes(settings.evaluation)[:2]
    played = {each.number: PlayedEpisode(each.number, 6, 0, False, "t", "do it", None) for each in episodes}
    texts = records_table(settings, "hash", episodes, played, None)["protocol"].to_pylist()
    assert all("actions un-normalised by mean and standard deviation," in text for text in texts)
    assert all(text.endswith(f", the released policy {settings.released.source}") for text in texts)
