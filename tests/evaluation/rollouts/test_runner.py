"""An episode of an embedded benchmark does not depend on the episodes before it in the same world."""

import pytest

from vlm4vla.benchmarks.base import get_benchmark
from vlm4vla.evaluation.rollouts.actors import ScriptedExpert
from vlm4vla.evaluation.rollouts.runner import WorldPool, run_batch

SIZE, STEPS = 48, 60


class Watched(ScriptedExpert):
    """The scripted expert, which notes the physics, lamps and image at each step of the episode `number`."""

    def __init__(self, benchmark, number):
        super().__init__(benchmark)
        self.number, self.seen = number, []

    def plan(self, worlds, tasks, episodes, images):
        for world, number in zip(worlds, episodes, strict=True):
            if number == self.number:
                lamps = sorted(world.lit.items())
                self.seen.append((world.snapshot().tobytes(), world.render().tobytes(), lamps))
        return super().plan(worlds, tasks, episodes, images)


def play(pool, benchmark, episodes, numbers, steps=STEPS):
    """Play `numbers` one after another. Return what is seen of the last, and its outcome."""
    for number in numbers:
        actor = Watched(benchmark, number)
        options = {"max_steps": steps, "seed": 0, "filmed": 0}
        (outcome,) = run_batch(pool, benchmark, actor, [episodes[number]], number, **options)
    return actor.seen, (outcome.steps, outcome.solved)


@pytest.mark.parametrize("name", ["calvin", "bridge", "libero-10"])
def test_an_episode_is_the_same_first_and_after_others(name):
    benchmark = get_benchmark(name)
    episodes = benchmark.evaluation(4, 0)
    numbers = range(0, len(episodes), max(1, len(episodes) // 4))
    for number in numbers:
        others = [each for each in numbers if each != number]
        first = play(WorldPool(SIZE), benchmark, episodes, [number])
        pool = WorldPool(SIZE)
        play(pool, benchmark, episodes, others[:1], steps=7)  # ends in its middle
        assert play(pool, benchmark, episodes, [*others, number]) == first
        assert len(first[0]) > 5 and len(set(map(str, first[0]))) > 5
