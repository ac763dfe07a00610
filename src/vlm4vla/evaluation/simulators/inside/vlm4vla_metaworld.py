"""vla-eval's interface to MetaWorld, which vla-eval 0.8.0 has no class for: ten tasks of metaworld 3.1.1.

- The initial states of a task are numbered. The places of the objects are drawn by the package, from a
  generator that is seeded with `env_seed`, the task and the number of the state.
- Actions have seven numbers, as those of all benchmarks here. The rotation is ignored, because MetaWorld's
  hand does not turn. The gripper command is -1 (open) or +1 (close).
- An image is rendered only where a plan begins, as in vlm4vla_libero. Shadows, reflections and
  multi-sampling are off, because they take over nine tenths of the rendering time on a CPU. Geometry,
  textures, lights and the markers of the goals are the package's own.
- The package's camera `corner4` hangs upside down, so its images are rotated by 180 degrees.
"""

from __future__ import annotations

import atexit
import importlib.metadata
from typing import Any, NamedTuple

import numpy as np
from vla_eval import specs
from vla_eval.benchmarks.base import StepBenchmark, StepResult
from vla_eval.recording import NullEpisodeRecorder
from vla_eval.render import configure_mujoco_render
from vlm4vla_images import NO_IMAGE
from vlm4vla_seeds import episode_seed, seed_generators

VERSION = "3.1.1"  # of metaworld: another version can place objects elsewhere
CAMERA = "corner4"
RENDERED = 128  # pixels of a side of an image


class MetaWorldTask(NamedTuple):
    """`environment`: the package's name. `instruction`: our words, because the package has none."""

    environment: str
    instruction: str


# The package's own experts solve all of 50 initial states of each of these tasks with a gripper command of -1
# or +1, and random actions none of 30. Other tasks fail in one of the two (docs/simulators.md).
TASKS = (
    MetaWorldTask("button-press-topdown-v3", "press the red button down"),
    MetaWorldTask("drawer-open-v3", "open the green drawer"),
    MetaWorldTask("door-close-v3", "close the door of the safe"),
    MetaWorldTask("window-open-v3", "slide the window open"),
    MetaWorldTask("window-close-v3", "slide the window closed"),
    MetaWorldTask("faucet-open-v3", "turn the faucet counterclockwise"),
    MetaWorldTask("faucet-close-v3", "turn the faucet clockwise"),
    MetaWorldTask("plate-slide-v3", "slide the plate into the goal"),
    MetaWorldTask("hammer-v3", "hammer the nail into the box"),
    MetaWorldTask("coffee-pull-v3", "pull the mug away from the coffee machine"),
)


class CannotOpen(Exception):
    """metaworld is missing or has another version, or MuJoCo cannot render. One line says what to do."""


class MetaWorldSimulator(StepBenchmark):
    """MetaWorld's simulator.

    `env_seed`, the task and the number of the initial state decide an episode. `image_size`: height and width
    in pixels. `look_every`: steps from one rendered image to the next; the observations between them have an
    image of one black pixel, and the age of the last image in steps. `send_state`: send the position of the
    hand (x, y, z, in metres) and the opening of the gripper (from 0 to 1). `expert`: play the package's own
    expert instead of the actions that are sent.
    """

    render_backends = frozenset({"gpu", "cpu"})
    seeds_episodes = True  # tells ChosenEpisodes to leave `env_seed` as it is

    @classmethod
    def configure_render(cls, mode: str) -> dict[str, str]:
        return configure_mujoco_render(mode)

    def __init__(
        self,
        env_seed: int = 0,
        image_size: int = RENDERED,
        look_every: int = 1,
        send_state: bool = False,
        expert: bool = False,
    ) -> None:
        super().__init__()
        self.env_seed, self.image_size, self.look_every = env_seed, image_size, look_every
        self.send_state, self.expert = send_state, expert
        self._script: Any = None
        self._raw: np.ndarray | None = None
        self._env: Any = None
        self._renderer: Any = None
        self._opened: str | None = None
        self._steps = 0
        self._recorder = NullEpisodeRecorder()

    def get_tasks(self) -> list[dict[str, Any]]:
        return [
            {
                "name": task.instruction,
                "suite": "metaworld",
                "task_id": number,
                "environment": task.environment,
            }
            for number, task in enumerate(TASKS)
        ]

    def reset(self, task: dict[str, Any]) -> np.ndarray:
        """Set the task's initial state number `episode_idx`, and return the package's observation (39,).

        The package resets the world twice in each reset, and the second time some places are still those of
        the first time. So the places are drawn in one reset, and set in another.
        """
        seed = episode_seed(self.env_seed, task["task_id"], task["episode_idx"])
        seed_generators(seed)
        self.open(task["task_id"])
        self._env.seed(seed)
        self._env._freeze_rand_vec = False
        self._env.reset()
        self._env._freeze_rand_vec = True
        observation, _ = self._env.reset()
        self._steps, self._raw = 0, observation
        if self.expert:
            from vlm4vla.evaluation.simulators.metaworld_demonstrations import script_of

            self._script = script_of(TASKS[task["task_id"]].environment)
        return observation

    def open(self, task_id: int) -> None:
        """Create the environment of a task, unless it is open. Raises CannotOpen with one line."""
        name = TASKS[task_id].environment
        if self._opened == name:
            return
        self.cleanup()
        try:
            found = importlib.metadata.version("metaworld")
        except importlib.metadata.PackageNotFoundError:
            raise CannotOpen("metaworld is not installed here: run `make env-metaworld`") from None
        if found != VERSION:
            raise CannotOpen(f"metaworld {found} is not {VERSION}: run `make env-metaworld`")
        try:
            import mujoco
            from metaworld.env_dict import ALL_V3_ENVIRONMENTS

            environment = ALL_V3_ENVIRONMENTS[name]()
            environment.model.vis.quality.offsamples = 0
            renderer = mujoco.Renderer(environment.model, self.image_size, self.image_size)
        except Exception as error:  # an import without OpenGL fails with errors of several classes
            raise CannotOpen(
                f"MuJoCo cannot render MetaWorld ({type(error).__name__}: {error}): run `make "
                "env-metaworld`, which installs OSMesa, and write render: cpu on a machine without a GPU"
            ) from error
        for flag in (mujoco.mjtRndFlag.mjRND_SHADOW, mujoco.mjtRndFlag.mjRND_REFLECTION):
            renderer.scene.flags[flag] = False
        # As the package's multi-task benchmarks set up an environment: its observations contain the goal,
        # which the scripted experts read. `_get_obs` clips with bounds that were computed without it.
        environment._set_task_called = True
        environment._partially_observable = False
        vars(environment).pop("sawyer_observation_space", None)
        environment.seeded_rand_vec = True
        self._env, self._renderer, self._opened = environment, renderer, name
        # EGL is shut down at exit. What is registered later runs earlier.
        atexit.unregister(self.cleanup)
        atexit.register(self.cleanup)

    def step(self, action: dict[str, Any]) -> StepResult:
        values = np.asarray(action.get("actions", action.get("action")), dtype=np.float64)
        if self.expert:
            values = self._script(self._raw)
        if values.shape != (7,):
            raise ValueError(f"an action has 7 numbers, this one has the shape {values.shape}")
        sent = np.array([*values[:3], -1.0 if values[6] < 0 else 1.0], dtype=np.float32)
        observation, reward, _, _, info = self._env.step(sent)
        self._steps, self._raw = self._steps + 1, observation
        success = bool(info["success"])
        self._recorder.record_step(reward=float(reward), done=success, success=success, action=sent)
        return StepResult(obs=observation, reward=float(reward), done=success, info={"success": success})

    def make_obs(self, raw_obs: np.ndarray, task: dict[str, Any]) -> dict[str, Any]:
        age = self._steps % self.look_every
        image = self.render_camera(CAMERA) if age == 0 else NO_IMAGE
        observation = {"images": {CAMERA: image}, "task_description": task["name"], "image_age": age}
        return dict(observation, states=np.float32(raw_obs[:4])) if self.send_state else observation

    def render_camera(self, camera: str) -> np.ndarray:
        """An upright image (image_size, image_size, 3) uint8 of one of the package's corner cameras."""
        import mujoco

        # The places that a reset sets reach the picture only through the kinematics. Unlike mj_forward, these
        # two leave everything else as it is, so a picture does not change the episode.
        mujoco.mj_kinematics(self._env.model, self._env.data)
        mujoco.mj_camlight(self._env.model, self._env.data)
        self._renderer.update_scene(self._env.data, camera=camera)
        return np.ascontiguousarray(self._renderer.render()[::-1, ::-1])

    def get_step_result(self, step_result: StepResult) -> dict[str, Any]:
        return {"success": step_result.done}

    def get_action_spec(self) -> dict[str, specs.DimSpec]:
        return {
            "position": specs.POSITION_DELTA,
            "rotation": specs.ROTATION_AA,
            "gripper": specs.GRIPPER_CLOSE_POS,
        }

    def get_observation_spec(self) -> dict[str, specs.DimSpec]:
        return {CAMERA: specs.IMAGE_RGB, "language": specs.LANGUAGE}

    def cleanup(self) -> None:
        if self._renderer is not None:
            self._renderer.close()
            self._env.close()
        self._env = self._renderer = self._opened = None
