"""CALVIN (embedded): one table, four environments, chains of five instructions.

It is modelled on CALVIN ABC→D. Demonstrations come from environments A, B and C. Evaluation is in D, which
has other textures, colours, fixture positions and another camera.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np

from vlm4vla.benchmarks.base import Benchmark, Episode, Task, scatter
from vlm4vla.benchmarks.looks import Camera, Look, jitter_camera
from vlm4vla.benchmarks.scene import Layout
from vlm4vla.benchmarks.skills import Articulate, Lift, Press, Push, Rotate
from vlm4vla.conventions.benchmarks import CALVIN
from vlm4vla.core.seeding import rng_for

BLOCKS = ("red", "blue", "pink")
LAYOUT = Layout(tuple(f"{c} block" for c in BLOCKS), ("drawer", "slider", "switch", "button"))

WORDINGS: dict[str, tuple[str, ...]] = {
    "open_drawer": ("open the drawer", "pull the drawer open", "pull out the drawer"),
    "close_drawer": ("close the drawer", "push the drawer shut", "push in the drawer"),
    "move_slider_left": ("slide the door to the left", "move the door left", "push the sliding door left"),
    "move_slider_right": (
        "slide the door to the right",
        "move the door right",
        "push the sliding door right",
    ),
    "turn_on_lightbulb": ("turn on the bulb", "push the switch up", "switch the bulb on"),
    "turn_off_lightbulb": ("turn off the bulb", "push the switch down", "switch the bulb off"),
    "turn_on_led": ("turn on the led", "press the button to turn on the led", "switch the led on"),
    "turn_off_led": ("turn off the led", "press the button to turn off the led", "switch the led off"),
    "lift_block": ("lift the {} block", "pick up the {} block", "grasp and lift the {} block"),
    "push_block_left": ("push the {} block to the left", "move the {} block left"),
    "push_block_right": ("push the {} block to the right", "move the {} block right"),
    "rotate_block_left": ("rotate the {} block to the left", "turn the {} block left"),
    "rotate_block_right": ("rotate the {} block to the right", "turn the {} block right"),
}


@dataclass(frozen=True)
class Environment:
    look: Look
    fixtures: dict[str, tuple[float, float]]


ENVIRONMENTS: dict[str, Environment] = {
    "A": Environment(
        Look(
            camera=Camera(elevation=64, azimuth=88, distance=0.81),
            table=(0.78, 0.70, 0.58),
            table_material="wood",
            floor=(0.40, 0.42, 0.45),
            fixture=(0.52, 0.36, 0.22),
        ),
        {"drawer": (-0.20, -0.03), "slider": (-0.03, 0.21), "switch": (0.23, -0.13), "button": (0.23, 0.12)},
    ),
    "B": Environment(
        Look(
            camera=Camera(elevation=68, azimuth=92, distance=0.82),
            table=(0.55, 0.62, 0.68),
            table_material="checker",
            floor=(0.25, 0.25, 0.28),
            fixture=(0.80, 0.78, 0.72),
            handle=(0.35, 0.10, 0.08),
            light=0.55,
        ),
        {"drawer": (-0.19, 0.03), "slider": (0.06, 0.20), "switch": (0.22, -0.06), "button": (0.20, 0.15)},
    ),
    "C": Environment(
        Look(
            camera=Camera(elevation=66, azimuth=90, distance=0.80),
            table=(0.45, 0.50, 0.42),
            table_material="speckle",
            floor=(0.60, 0.58, 0.55),
            fixture=(0.30, 0.34, 0.42),
            handle=(0.75, 0.72, 0.65),
            light=0.68,
        ),
        {"drawer": (-0.21, -0.01), "slider": (0.01, 0.21), "switch": (0.24, -0.10), "button": (0.24, 0.09)},
    ),
    "D": Environment(
        Look(
            camera=Camera(elevation=66, azimuth=89, distance=0.81),
            table=(0.66, 0.58, 0.62),
            table_material="plain",
            floor=(0.32, 0.36, 0.34),
            fixture=(0.42, 0.30, 0.34),
            handle=(0.20, 0.22, 0.26),
            light=0.62,
        ),
        {"drawer": (-0.20, 0.0), "slider": (0.03, 0.21), "switch": (0.23, -0.09), "button": (0.22, 0.14)},
    ),
}


@dataclass
class Symbols:
    """The symbolic state of the world in the chain generator.

    It has the states of the fixtures and the third of the table in which each block is (-1 left, 0 middle,
    1 right). `held` is the block that the hand still holds from the last instruction.
    """

    drawer: bool
    slider: bool
    switch: bool
    led: bool
    zone: dict[str, int]
    held: str | None = None

    def feasible(self) -> list[tuple[str, str | None]]:
        """Return the instructions (kind, block colour or None) that are possible and not yet fulfilled."""
        tasks: list[tuple[str, str | None]] = [
            ("close_drawer" if self.drawer else "open_drawer", None),
            ("move_slider_left" if self.slider else "move_slider_right", None),
            ("turn_off_lightbulb" if self.switch else "turn_on_lightbulb", None),
            ("turn_off_led" if self.led else "turn_on_led", None),
        ]
        for colour in BLOCKS:
            if self.held != colour:
                tasks.append(("lift_block", colour))
            if self.zone[colour] > -1:
                tasks.append(("push_block_left", colour))
            if self.zone[colour] < 1:
                tasks.append(("push_block_right", colour))
            tasks += [("rotate_block_left", colour), ("rotate_block_right", colour)]
        return tasks

    def after(self, kind: str, colour: str | None) -> Symbols:
        """Return the state after an instruction has been solved."""
        zone = dict(self.zone)
        if kind.startswith("push"):
            zone[colour] += 1 if kind.endswith("right") else -1
        held = colour if kind == "lift_block" or kind.startswith("rotate") else None
        new = replace(self, zone=zone, held=held)
        if kind in ("open_drawer", "close_drawer"):
            new.drawer = kind == "open_drawer"
        elif kind.startswith("move_slider"):
            new.slider = kind.endswith("right")
        elif kind.endswith("lightbulb"):
            new.switch = "turn_on" in kind
        elif kind.endswith("led"):
            new.led = "turn_on" in kind
        return new


def make_skill(kind: str, colour: str | None):
    """Return the skill of an instruction."""
    block = f"{colour} block"
    return {
        "open_drawer": lambda: Articulate("drawer", 1.0),
        "close_drawer": lambda: Articulate("drawer", 0.0),
        "move_slider_left": lambda: Articulate("slider", 0.0),
        "move_slider_right": lambda: Articulate("slider", 1.0),
        "turn_on_lightbulb": lambda: Articulate("switch", 1.0),
        "turn_off_lightbulb": lambda: Articulate("switch", 0.0),
        "turn_on_led": lambda: Press(True),
        "turn_off_led": lambda: Press(False),
        "lift_block": lambda: Lift(block),
        "push_block_left": lambda: Push(block, -1),
        "push_block_right": lambda: Push(block, 1),
        "rotate_block_left": lambda: Rotate(block, 1),
        "rotate_block_right": lambda: Rotate(block, -1),
    }[kind]()


class Calvin(Benchmark):
    name = "calvin"
    position_unit = 0.11
    rotation_unit = 0.6
    clip = 0.65  # the VLM4VLA study clips CALVIN's relative actions to ±0.65
    speed = 0.071
    turn = 0.38

    def instructions(self) -> list[str]:
        return [w.format(c) for ws in WORDINGS.values() for w in ws for c in (BLOCKS if "{}" in w else ("",))]

    def _chain(self, environment: str, rng: np.random.Generator, index: int) -> Episode:
        place = ENVIRONMENTS[environment]
        fixtures = {
            name: (x + float(rng.uniform(-0.02, 0.02)), y + float(rng.uniform(-0.02, 0.02)))
            for name, (x, y) in place.fixtures.items()
        }
        spots = scatter(rng, len(BLOCKS), (-0.10, -0.17), (0.10, 0.12), 0.085)
        props = {
            f"{colour} block": (*spot, float(rng.uniform(-0.4, 0.4)))
            for colour, spot in zip(BLOCKS, spots, strict=True)
        }
        bits = {name: bool(rng.integers(2)) for name in ("drawer", "slider", "switch", "led")}
        zone = {c: int(np.sign(s[0]) * (abs(s[0]) > 0.05)) for c, s in zip(BLOCKS, spots, strict=True)}
        symbols = Symbols(**bits, zone=zone)
        tasks, kinds = [], set()
        for _ in range(CALVIN.instructions_per_episode):
            options = [o for o in symbols.feasible() if o[0] not in kinds]
            by_kind = sorted({kind for kind, _ in options})
            kind = str(rng.choice(by_kind))
            colours = [c for k, c in options if k == kind]
            colour = colours[int(rng.integers(len(colours)))]
            kinds.add(kind)
            wording = WORDINGS[kind][int(rng.integers(len(WORDINGS[kind])))]
            name = kind.replace("block", f"{colour}_block")
            tasks.append(Task(name, wording.format(colour), (make_skill(kind, colour),)))
            symbols = symbols.after(kind, colour)
        q = {name: float(bits[name]) for name in ("drawer", "slider", "switch")}
        return Episode(LAYOUT, props, place.look, tuple(tasks), fixtures, q, bits["led"], index)

    def demonstration(self, index: int, seed: int) -> Episode:
        rng = rng_for("calvin demonstration", seed, index)
        episode = self._chain("ABC"[index % 3], rng, index)
        return replace(episode, look=jitter_camera(episode.look, rng, 1.5, 0.015))

    def evaluation(self, episodes: int, seed: int) -> Sequence[Episode]:
        return [self._chain("D", rng_for("calvin evaluation", seed, i), i) for i in range(episodes)]
