"""Episodes of a real simulator in this process, started as an evaluation starts them, for tests of scenes."""

import asyncio
import sys
from dataclasses import dataclass

import numpy as np
from simulator_examples import protocol

from vlm4vla.evaluation.simulators.episodes import SimulatorEpisode
from vlm4vla.evaluation.simulators.harness import INSIDE, harness_config


@dataclass
class Seen:
    """What a policy sees at one moment, and the simulator's own state, if the test reads it."""

    image: np.ndarray
    state: np.ndarray
    world: dict[str, np.ndarray]

    def differences(self, other):
        """The names of everything that is not equal to the last bit."""
        pairs = {"image": (self.image, other.image), "state": (self.state, other.state)}
        pairs |= {name: (self.world[name], other.world[name]) for name in self.world}
        return [name for name, (one, two) in pairs.items() if one.tobytes() != two.tobytes()]


class Process:
    """A simulator process of an evaluation: the wrapper that harness_config describes, with its adapter.

    `chosen`: (entry, task, state) of each episode. `world`: a function of the adapter that returns named
    arrays. `adapter`: another class, arguments to add, and arguments that it does not take.
    """

    def __init__(self, benchmark, chosen, world, simulator=None, adapter=None, **changes):
        evaluation = protocol(benchmark, simulator, **changes)
        episodes = [SimulatorEpisode(number, *each) for number, each in enumerate(chosen)]
        config = harness_config(evaluation, episodes, "", external=None)
        if str(INSIDE) not in sys.path:
            sys.path.insert(0, str(INSIDE))
        from vlm4vla_episodes import ChosenEpisodes

        ChosenEpisodes.configure_render(config["render"])
        self.wrappers, self.tasks = [], {}
        for entry in config["benchmarks"]:
            params = dict(entry["params"])
            if adapter is not None:
                params |= {"adapter": adapter[0], "params": params["params"] | adapter[1]}
                params["params"] = {k: v for k, v in params["params"].items() if k not in adapter[2]}
            wrapper = ChosenEpisodes(**params, send_state=True)
            self.wrappers.append(wrapper)
            for task in wrapper.get_tasks():
                self.tasks[task["number"]] = (wrapper, task)
        self._world = world

    def play(self, number, actions):
        """Start episode `number` and take `actions`. Return what is seen at the start and at the end."""
        return asyncio.run(self._play(number, actions))

    async def _play(self, number, actions):
        wrapper, task = self.tasks[number]
        await wrapper.start_episode(task)
        seen = [await self._look(wrapper)]
        for action in actions:
            await wrapper.apply_action({"actions": np.array(action)})
        return [*seen, await self._look(wrapper)]

    async def _look(self, wrapper):
        observation = await wrapper.get_observation()
        (image,) = observation["images"].values()
        state = np.asarray(observation["states"])
        return Seen(np.array(image), state, self._world(wrapper._benchmark))

    def close(self):
        for wrapper in self.wrappers:
            wrapper.cleanup()


def random_actions(count, seed=0, size=1.0):
    """Actions (count, 7): random motion within `size`, and a gripper that closes, opens and closes."""
    rng = np.random.default_rng(seed)
    actions = rng.uniform(-size, size, (count, 7))
    actions[:, 6] = np.where(np.arange(count) // 3 % 2, -1.0, 1.0)
    return actions
