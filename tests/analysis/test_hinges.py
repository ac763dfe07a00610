"""A difference that lies in one task, one seed or one backbone, and differences that do not."""

from itertools import combinations

import numpy as np
import pandas as pd
import pytest
import synthetic_study as made

from vlm4vla.analysis import hinges
from vlm4vla.analysis.hinges import BACKBONE, Outcomes, row_hinge, task_hinge
from vlm4vla.analysis.paired import mcnemar

TASKS = np.repeat(["a", "b", "c", "d"], 24)


def in_task(size, task="b"):
    """Differences (1, 96) that are 1 on the first `size` states of a task, and 0 elsewhere."""
    found = np.zeros((1, 96), dtype=int)
    found[0, np.flatnonzero(task == TASKS)[:size]] = 1
    return found


def test_the_one_task_is_named():
    found = task_hinge(in_task(12), TASKS, 1.0)
    assert (found.kind, found.name, found.parts) == ("task", "b", 4)
    assert (found.difference, found.rest) == (0.5, 0.0)
    assert found.rest_low < 0 < found.rest_high
    assert found.absent_elsewhere(0.06) and not found.absent_elsewhere(0.01)


def test_the_other_sign_elsewhere_is_a_hinge_too():
    differences = in_task(20)
    differences[0, np.flatnonzero(TASKS == "d")[:8]] = -1
    found = task_hinge(differences, TASKS, 1.0)
    assert found.name == "b" and found.rest == pytest.approx(-8 / 72)


def test_an_even_difference_that_is_barely_decided_has_no_hinge():
    differences = np.zeros((1, 96), dtype=int)
    for task in "abcd":
        differences[0, np.flatnonzero(task == TASKS)[:2]] = 1
    assert mcnemar(8, 0) < 0.05
    # Without any of the tasks, the test would not reach 5 % any more. That is a loss of power only.
    assert task_hinge(differences, TASKS, 1.0) is None


def test_two_tasks_are_not_one():
    assert task_hinge(in_task(12, "a") + in_task(12, "c"), TASKS, 1.0) is None


def test_one_task_alone_in_the_benchmark_is_no_finding():
    assert task_hinge(in_task(12), ["same"] * 96, 1.0) is None


def test_a_chain_counts_for_each_of_its_tasks():
    rng = np.random.default_rng(3)
    chains = [" > ".join(rng.permutation(list("abcdefgh"))[:2]) for _ in range(200)]
    differences = np.array([[3 * ("e" in chain) for chain in chains]])
    found = task_hinge(differences, chains, 5.0)
    assert found.name == "e" and found.difference == 3.0 and found.rest == 0.0


def test_the_permutation_p_value_counts_all_sets():
    whole = np.array([1, 1, 1, 0, 0, -1, 0, 1, 0])
    inside = np.arange(9) < 3
    centre = 3 * whole.sum() / 9
    sums = np.array([whole[list(each)].sum() for each in combinations(range(9), 3)])
    exact = np.mean(np.abs(sums - centre) >= 3 - centre - 1e-9)
    assert hinges._random_states(whole, inside) == pytest.approx(exact, abs=0.005)


def rows(*shares, states=200):
    """Differences (rows, states): the given shares of the states are 1."""
    rng = np.random.default_rng(0)
    return np.stack([rng.permutation(np.arange(states) < share * states) for share in shares]).astype(int)


def test_the_one_seed_is_named():
    found = row_hinge(rows(0.0, 0.3, 0.0), [5, 6, 7], 1.0)
    assert (found.kind, found.name, found.parts) == ("seed", "6", 3)
    assert found.difference == pytest.approx(0.3) and found.rest == 0.0


def test_seeds_that_agree_have_no_hinge():
    assert row_hinge(rows(0.2, 0.3, 0.2), [0, 1, 2], 1.0) is None
    assert row_hinge(rows(0.3), [0], 1.0) is None


def test_the_one_backbone_is_named():
    found = row_hinge(-rows(0.0, 0.4), ["x", "y"], 1.0, BACKBONE)
    assert (found.kind, found.name, found.difference) == ("backbone", "y", pytest.approx(-0.4))


def test_even_effects_are_rarely_said_to_lie_in_one_task():
    """80 studies per size of an effect that is alike in four tasks: at most 5 % of the decided ones."""
    rng, decided, said = np.random.default_rng(1), 0, 0
    for effect in (0.15, 0.25):
        for _ in range(80):
            luck = rng.uniform(size=(2, 96))
            differences = ((luck[0] < 0.5 + effect).astype(int) - (luck[1] < 0.5))[None]
            if mcnemar(int((differences > 0).sum()), int((differences < 0).sum())) < 0.05:
                decided += 1
                said += task_hinge(differences, TASKS, 1.0) is not None
    assert decided > 60
    assert said <= 0.05 * decided


def test_outcomes_use_shared_seeds_and_states():
    first = made.episodes("a", "full", "calvin", 0.7, seed=1)
    both = [made.episodes("b", "full", "calvin", 0.4, seed=seed) for seed in (0, 1)]
    second = pd.concat([both[0], both[1][both[1]["episode"] != 3]])
    differences, seeds, tasks = Outcomes.of(first, "average_length").minus(
        Outcomes.of(second, "average_length")
    )
    kept = first["episode"] != 3
    assert seeds == [1] and tasks == first["task"][kept].tolist()
    expected = first["solved"].to_numpy() - both[1]["solved"].to_numpy()
    np.testing.assert_array_equal(differences[0], expected[kept])
    alone = Outcomes.of(both[0], "average_length")
    assert Outcomes.of(first, "average_length").minus(alone)[0].size == 0
