"""The embedded benchmarks: experts solve them, initial states are fixed, and chains are feasible."""

import numpy as np
import pytest

from vlm4vla.benchmarks import calvin
from vlm4vla.benchmarks.base import get_benchmark
from vlm4vla.conventions.benchmarks import gripper
from vlm4vla.core.errors import UserError
from vlm4vla.evaluation.rollouts.actors import RandomActor, ScriptedExpert
from vlm4vla.evaluation.rollouts.runner import WorldPool, run_batch

NAMES = ("calvin", "bridge", "libero-10")
EPISODES = {"calvin": 20, "bridge": 8, "libero-10": 4}


def solved(name, actor, episodes, max_steps):
    benchmark = get_benchmark(name)
    outcomes = run_batch(
        WorldPool(64), benchmark, actor(benchmark), episodes, 0, max_steps=max_steps, seed=0, filmed=0
    )
    return np.array([outcome.solved / len(e.tasks) for outcome, e in zip(outcomes, episodes, strict=True)])


@pytest.mark.parametrize("name", NAMES)
def test_the_expert_solves_at_least_95_percent_of_unseen_initial_states(name):
    episodes = get_benchmark(name).evaluation(EPISODES[name], seed=917)
    assert solved(name, ScriptedExpert, episodes, 100).mean() >= 0.95


@pytest.mark.parametrize("name", NAMES)
def test_random_actions_solve_almost_nothing(name):
    episodes = get_benchmark(name).evaluation(2, seed=917)
    assert solved(name, lambda b: RandomActor(b, 0, 4), episodes, 30).mean() < 0.15


@pytest.mark.parametrize("name", NAMES)
def test_initial_states_depend_only_on_the_seed(name):
    first, again = (get_benchmark(name).evaluation(3, seed=0) for _ in range(2))
    other = get_benchmark(name).evaluation(3, seed=1)
    assert [e.props for e in first] == [e.props for e in again]
    assert [e.props for e in first] != [e.props for e in other]


@pytest.mark.parametrize(("name", "count"), [("bridge", 4 * 24), ("libero-10", 10 * 50)])
def test_the_number_of_initial_states_is_that_of_the_real_benchmark(name, count):
    benchmark = get_benchmark(name)
    largest = count // (4 if name == "bridge" else 10)
    assert len(benchmark.evaluation(largest, 0)) == count
    with pytest.raises(UserError, match=f"at most {largest}"):
        benchmark.evaluation(largest + 1, 0)


@pytest.mark.parametrize("name", NAMES)
def test_gripper_values_follow_the_convention_of_the_benchmark(name):
    benchmark, polarity = get_benchmark(name), gripper(name)
    for opens, value in ((True, polarity.open), (False, polarity.close)):
        assert benchmark.action(np.zeros(3), np.zeros(3), opens)[6] == value


def test_calvin_has_twelve_kinds_with_several_wordings_and_five_instructions_per_chain():
    assert len(calvin.WORDINGS) >= 12
    assert all(len(set(wordings)) >= 2 for wordings in calvin.WORDINGS.values())
    assert all(len(episode.tasks) == 5 for episode in calvin.Calvin().evaluation(10, 0))


def test_calvin_demonstrations_are_from_a_b_c_and_evaluation_is_in_d():
    benchmark = calvin.Calvin()
    looks = {name: place.look.table for name, place in calvin.ENVIRONMENTS.items()}
    assert {benchmark.demonstration(i, 0).look.table for i in range(9)} == {looks[n] for n in "ABC"}
    assert {e.look.table for e in benchmark.evaluation(5, 0)} == {looks["D"]}
    assert len(set(looks.values())) == 4


def test_calvin_chains_never_ask_for_a_state_that_already_holds():
    """Replay each chain on a separate state: if the drawer is open, only closing may be asked, and so on."""
    opposite = {
        "open_drawer": ("drawer", True),
        "close_drawer": ("drawer", False),
        "move_slider_right": ("slider", True),
        "move_slider_left": ("slider", False),
        "turn_on_lightbulb": ("switch", True),
        "turn_off_lightbulb": ("switch", False),
        "turn_on_led": ("led", True),
        "turn_off_led": ("led", False),
    }
    for episode in calvin.Calvin().evaluation(40, seed=5):
        state = {name: bool(value) for name, value in episode.q.items()} | {"led": episode.led}
        for task in episode.tasks:
            if task.name in opposite:
                part, value = opposite[task.name]
                assert state[part] != value
                state[part] = value


def test_an_unknown_benchmark_raises():
    with pytest.raises(UserError, match="write calvin, bridge or libero-10"):
        get_benchmark("calvinn")
