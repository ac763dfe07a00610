"""Physics, grasping and rendering of one world."""

import numpy as np
import pytest

from vlm4vla.benchmarks.arena import Arena
from vlm4vla.benchmarks.looks import Look, project
from vlm4vla.benchmarks.scene import Layout
from vlm4vla.benchmarks.world import World
from vlm4vla.core.errors import UserError


@pytest.fixture(scope="module")
def world():
    return World(Arena(Layout(("red block", "plate"), ("drawer", "button"))))


def settle(world, steps=10, is_open=True):
    for _ in range(steps):
        world.step(np.zeros(3), np.zeros(3), is_open)


def test_a_block_falls_onto_the_table_and_rests_at_half_its_height(world):
    world.reset({"red block": (0.1, 0.0, 0.0)}, {}, Look())
    address = world._address["red block"]
    world.data.qpos[address + 2] = 0.15
    settle(world, 20)
    half = world.model.geom_size[world.model.body("red_block").geomadr[0]][2]
    assert world.position("red block")[2] == pytest.approx(half, abs=2e-3)


def test_closing_near_a_block_lifts_it_and_opening_drops_it(world):
    world.reset({"red block": (0.0, 0.0, 0.0)}, {}, Look(), hand=(0.01, 0.0, 0.03))
    world.step(np.zeros(3), np.zeros(3), False)
    for _ in range(4):
        world.step(np.array([0, 0, 0.03]), np.zeros(3), False)
    assert world.held == "red block" and world.position("red block")[2] > 0.12
    settle(world, 20)
    assert world.held is None and world.position("red block")[2] < 0.05


def test_closing_far_from_a_block_grasps_nothing(world):
    world.reset({"red block": (0.15, 0.0, 0.0)}, {}, Look(), hand=(0.0, 0.0, 0.03))
    world.step(np.zeros(3), np.zeros(3), False)
    assert world.held is None and world.state()[6:].tolist() == [0.0, 0.0]


def test_the_drawer_follows_the_hand_along_its_axis_only_and_carries_its_contents(world):
    world.reset({"red block": (-0.1, -0.065, 0.0)}, {"drawer": (-0.1, 0.0)}, Look(), q={"drawer": 1.0})
    settle(world)
    assert world.inside_drawer("red block")
    world.hand = world.position("drawer").copy()
    world.step(np.zeros(3), np.zeros(3), False)
    assert world.held == "drawer"
    world.step(np.array([0.03, 0.0, 0.0]), np.zeros(3), False)
    assert world.q["drawer"] == 1.0
    for _ in range(5):
        world.step(np.array([0.0, 0.03, 0.0]), np.zeros(3), False)
    assert world.q["drawer"] == 0.0 and world.inside_drawer("red block")


def test_the_button_toggles_once_per_press(world):
    world.reset({}, {"button": (0.0, 0.0)}, Look(), hand=(0.0, 0.0, 0.10))
    for _ in range(6):
        world.step(np.array([0, 0, -0.02]), np.zeros(3), True)
    assert world.lit["led"]
    world.step(np.array([0, 0, 0.05]), np.zeros(3), True)
    world.step(np.array([0, 0, -0.05]), np.zeros(3), True)
    assert not world.lit["led"]


def test_the_projection_agrees_with_the_rendered_image(world):
    """The pixels of a red block surround the projection of its centre."""
    look = Look(table=(0.3, 0.3, 0.3))
    for at in ((-0.15, -0.1), (0.12, 0.1), (0.0, 0.0)):
        world.reset({"red block": (*at, 0.0)}, {}, look, show_hand=False)
        image = world.render().astype(int)
        red = (image[..., 0] > 2 * image[..., 1]) & (image[..., 0] > 60)
        rows, columns = np.nonzero(red)
        expected = project(look, world.position("red block")[None])[0] * 64
        assert len(rows) >= 20
        assert np.hypot(columns.mean() + 0.5 - expected[0], rows.mean() + 0.5 - expected[1]) < 1.5


def test_looks_change_images_and_not_physics(world):
    images, states = [], []
    for look in (Look(), Look(table=(0.1, 0.2, 0.6), light=0.3)):
        world.reset({"red block": (0.05, 0.0, 0.2)}, {"button": (0.1, 0.1)}, look)
        settle(world, 5)
        images.append(world.render())
        states.append(world.snapshot())
    assert np.array_equal(*states) and not np.array_equal(*images)


def test_the_same_actions_give_the_same_bytes():
    def run():
        world = World(Arena(Layout(("red block", "blue block"))))
        world.reset({"red block": (0, 0, 0.1), "blue block": (0.06, 0.0, 0)}, {}, Look(), hand=(0, 0, 0.03))
        rng = np.random.default_rng(0)
        for _ in range(30):
            world.step(rng.uniform(-0.03, 0.03, 3), rng.uniform(-0.1, 0.1, 3), bool(rng.integers(2)))
        return world.snapshot().tobytes(), world.render().tobytes()

    assert run() == run()


def test_an_unknown_prop_raises():
    with pytest.raises(UserError, match="unknown prop 'rd block'"):
        Arena(Layout(("rd block",)))
