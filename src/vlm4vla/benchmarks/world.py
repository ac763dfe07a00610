"""One simulated table: its state, its control steps and its images.

Grasping is deliberately easy: fingers that close within `GRASP` of a prop's centre or of a handle hold it. A
held prop is connected by a soft weld in MuJoCo. A held handle follows the hand along its own axis. Everything
else obeys physics.
"""

from __future__ import annotations

from collections.abc import Mapping

import mujoco
import numpy as np

from vlm4vla.benchmarks.arena import Arena, apply_look
from vlm4vla.benchmarks.looks import Look
from vlm4vla.benchmarks.props import PROPS
from vlm4vla.benchmarks.scene import PARKED, STROKES, TIMESTEP, slug

CONTROL_STEP = 0.10  # seconds of physics per control step
GRASP = (0.080, 0.100)  # largest horizontal and vertical distance (m) at which closing fingers hold a thing
PRESS = (0.060, 0.060)  # largest horizontal distance and fingertip height (m) at which a button is pressed
REACH = np.array([[-0.29, -0.24, 0.010], [0.29, 0.24, 0.260]])  # lower and upper limits of the hand (m)
TILT = 0.3  # largest roll and pitch of the hand, radians
HANDLES = {  # grasp point of each fixture's moving part, in the moving part's frame
    "drawer": (0.0, -0.024, 0.028),
    "slider": (0.0, -0.014, 0.030),
    "switch": (0.0, 0.0, 0.030),
    "button": (0.0, 0.0, 0.028),
}
START = (0.0, -0.02, 0.16)


class World:
    """The state of one table.

    `held`: the name of the held prop or fixture, or None. `q`: the positions of the fixtures, 0..1. `lit`:
    whether the "bulb" is on (the switch is up), and the "led" (the button toggles it).
    """

    def __init__(self, arena: Arena):
        self.arena = arena
        self.model = arena.model.__copy__()
        self.data = mujoco.MjData(self.model)
        layout = arena.layout
        self.fixtures = {name: np.array(PARKED) for name in layout.fixtures}
        self.static = {n: np.array(PARKED) for n in layout.props if not PROPS[n].movable or layout.frozen}
        self._address = {
            name: self.model.joint(slug(name)).qposadr[0] for name in layout.props if name not in self.static
        }
        self._velocity = {name: self.model.joint(slug(name)).dofadr[0] for name in self._address}
        self._mocap = {
            self.model.body(index).name: self.model.body_mocapid[index]
            for index in range(self.model.nbody)
            if self.model.body_mocapid[index] >= 0
        }
        self._weld = {name: self.model.equality(slug(name)).id for name in self._address}
        bulb = [i for i in range(self.model.ngeom) if self.model.geom(i).name.startswith("bulb:")]
        led = [i for i in range(self.model.ngeom) if self.model.geom(i).name.startswith("led:")]
        self._lamps = {"bulb": bulb, "led": led}
        self.look = Look()
        self.reset({}, {}, self.look)

    def reset(
        self,
        props: Mapping[str, tuple[float, float, float]],
        fixtures: Mapping[str, tuple[float, float]],
        look: Look,
        q: Mapping[str, float] | None = None,
        led: bool = False,
        hand: tuple[float, float, float] = START,
        show_hand: bool = True,
    ) -> None:
        """Put props at (x, y, yaw) and fixtures at (x, y). All others are removed from the scene."""
        mujoco.mj_resetData(self.model, self.data)
        self.data.eq_active[:] = 0
        for name in self.static:
            self.static[name] = np.array(PARKED)
        rank = 0
        for name in (*self.static, *self._address):
            prop = PROPS[name]
            x, y, yaw = props.get(name, (0.0, 0.0, 0.0))
            at = np.array([x, y, prop.height + 0.001])
            if name not in props:  # far below the table, each at another position to avoid collisions
                at = np.array([10.0 + rank, 0.0, -3.0])
                rank += 1
            turn = np.array([np.cos(yaw / 2), 0, 0, np.sin(yaw / 2)])
            if name in self.static:
                self.static[name] = at
                self.data.mocap_pos[self._mocap[slug(name)]] = at
                self.data.mocap_quat[self._mocap[slug(name)]] = turn
            else:
                address = self._address[name]
                self.data.qpos[address : address + 3] = at
                self.data.qpos[address + 3 : address + 7] = turn
        self.present = set(props)
        for name in self.fixtures:
            self.fixtures[name] = np.array([*fixtures[name], 0.0]) if name in fixtures else np.array(PARKED)
        self.q = {name: float((q or {}).get(name, 0.0)) for name in self.fixtures}
        self.lit = {"led": led, "bulb": self.q.get("switch", 0.0) > 0.5}
        self.hand, self.rotation = np.array(hand, float), np.zeros(3)
        self.open, self.held = True, None
        self._show_hand, self._pressing = show_hand, False
        self.set_look(look)
        self._write_state()
        mujoco.mj_forward(self.model, self.data)

    def set_look(self, look: Look) -> None:
        self.look = look
        apply_look(self.arena, self.model, look)
        self._base_rgba = {name: self.model.geom_rgba[ids].copy() for name, ids in self._lamps.items()}

    # -- reading -------------------------------------------------------------------------------------

    def position(self, name: str) -> np.ndarray:
        """Return the position (3,) in metres of a prop's centre or of a fixture's handle."""
        if name in self.fixtures:
            return self.moving_part(name) + HANDLES[name]
        if name in self.static:
            return self.static[name]
        address = self._address[name]
        return self.data.qpos[address : address + 3].copy()

    def yaw(self, name: str) -> float:
        """Return the yaw of a movable prop in radians, in (-pi, pi]."""
        address = self._address[name]
        w, x, y, z = self.data.qpos[address + 3 : address + 7]
        return float(np.arctan2(2 * (w * z + x * y), 1 - 2 * (y * y + z * z)))

    def moving_part(self, fixture: str) -> np.ndarray:
        """Return the position (3,) in metres of a fixture's moving part."""
        axis, stroke = STROKES[fixture]
        start = self.fixtures[fixture]
        if fixture == "slider":  # the stroke is centred on the rail
            start = start - np.asarray(axis) * stroke / 2
        return start + np.asarray(axis) * stroke * self.q[fixture]

    def state(self) -> np.ndarray:
        """Return (8,) float32: hand x, y, z (m), roll, pitch, yaw (rad), open (0, 1), holding (0, 1)."""
        return np.array([*self.hand, *self.rotation, self.open, self.held is not None], np.float32)

    def snapshot(self) -> np.ndarray:
        """Return the physics state as one array, to compare two worlds in tests of determinism."""
        return np.concatenate([self.data.qpos, self.data.qvel, self.hand, list(self.q.values())])

    # -- acting --------------------------------------------------------------------------------------

    def step(self, motion: np.ndarray, rotation: np.ndarray, open_gripper: bool) -> None:
        """Run one control step.

        The hand moves by `motion` (3,) m and turns by `rotation` (3,) rad, then the fingers open or close.
        """
        before = self.hand.copy()
        self.hand = np.clip(self.hand + motion, *REACH)
        self.rotation = self.rotation + rotation
        self.rotation[:2] = np.clip(self.rotation[:2], -TILT, TILT)
        self.rotation[2] = np.clip(self.rotation[2], -2.0, 2.0)
        if open_gripper and not self.open:
            self._release()
        elif not open_gripper and self.open:
            self._grasp()
        self.open = bool(open_gripper)
        if self.held in self.fixtures:
            self._drag(self.held, self.hand - before)
        self._press()
        self._write_state()
        mujoco.mj_step(self.model, self.data, nstep=round(CONTROL_STEP / TIMESTEP))

    def _grasp(self) -> None:
        best, held = np.inf, None
        handles = [name for name in self.fixtures if name != "button" and self.fixtures[name][2] > -1]
        for name in [*(n for n in self._address if n in self.present), *handles]:
            away = self.position(name) - self.hand
            flat = float(np.hypot(*away[:2]))
            if flat <= GRASP[0] and abs(away[2]) <= GRASP[1] and flat < best:
                best, held = flat, name
        self.held = held
        if held in self._weld:
            self.data.eq_active[self._weld[held]] = 1

    def _release(self) -> None:
        if self.held in self._weld:
            self.data.eq_active[self._weld[self.held]] = 0
            velocity = self._velocity[self.held]
            self.data.qvel[velocity : velocity + 6] = 0  # dropped, not thrown
        self.held = None

    def _drag(self, fixture: str, motion: np.ndarray) -> None:
        axis, stroke = STROKES[fixture]
        carried = self._in_drawer() if fixture == "drawer" else []
        before = self.moving_part(fixture)
        self.q[fixture] = float(np.clip(self.q[fixture] + np.dot(axis, motion) / stroke, 0, 1))
        if fixture == "switch":
            self.lit["bulb"] = self.q["switch"] > 0.5
        for name in carried:  # the tray carries its contents, and its sides keep them centred
            address = self._address[name]
            self.data.qpos[address : address + 2] += (self.moving_part(fixture) - before)[:2]
            centre = self.fixtures["drawer"][0]
            self.data.qpos[address] = np.clip(self.data.qpos[address], centre - 0.02, centre + 0.02)

    def _in_drawer(self) -> list[str]:
        return [n for n in self._address if n in self.present and n != self.held and self.inside_drawer(n)]

    def drawer_centre(self) -> np.ndarray:
        """Return the present centre (3,) in metres of the drawer's tray floor."""
        return self.moving_part("drawer") + np.array([0.0, 0.045, 0.0])

    def inside_drawer(self, name: str) -> bool:
        away = np.abs(self.position(name) - self.drawer_centre())
        return bool(away[0] < 0.05 and away[1] < 0.05 and away[2] < 0.05)

    def _press(self) -> None:
        if "button" not in self.fixtures:
            return
        knob = self.fixtures["button"]
        near = np.hypot(*(self.hand - knob)[:2]) < PRESS[0] and self.hand[2] < PRESS[1] and knob[2] > -1
        if near and not self._pressing and self.held is None:
            self.lit["led"] = not self.lit["led"]
        self._pressing = bool(near)
        self.q["button"] = float(near)

    def _write_state(self) -> None:
        """Write the hand, the fixtures and the lamps to MuJoCo's state."""
        pos, quat, slot = self.data.mocap_pos, self.data.mocap_quat, self._mocap
        turn = np.zeros(4)
        mujoco.mju_euler2Quat(turn, self.rotation, "xyz")
        matrix = np.zeros(9)
        mujoco.mju_quat2Mat(matrix, turn)
        side = matrix.reshape(3, 3)[:, 0] * (0.034 if self.open else 0.014)
        shown = self._show_hand
        for body, at in (
            ("hand", self.hand),
            ("finger:left", self.hand - side),
            ("finger:right", self.hand + side),
            ("shadow", np.array([self.hand[0], self.hand[1], 0.0008])),
        ):
            pos[slot[body]] = at if shown else PARKED
            if body != "shadow":
                quat[slot[body]] = turn
        for name, at in self.fixtures.items():
            pos[slot[f"{name}:base"]] = at
            pos[slot[f"{name}:moving"]] = self.moving_part(name)
        for name, rgb in (("bulb", (1.0, 0.95, 0.3)), ("led", (0.25, 1.0, 0.35))):
            for index, base in zip(self._lamps[name], self._base_rgba[name], strict=True):
                self.model.geom_rgba[index, :3] = rgb if self.lit.get(name) else base[:3]

    def render(self, rng: np.random.Generator | None = None) -> np.ndarray:
        """Render an image (size, size, 3) uint8. `rng` draws the camera's noise if the look has any."""
        mujoco.mj_kinematics(self.model, self.data)
        mujoco.mj_camlight(self.model, self.data)
        image = self.arena.render(self.model, self.data)
        if self.look.gain != 1.0 or (self.look.noise and rng is not None):
            values = image.astype(np.float32) * self.look.gain
            if self.look.noise and rng is not None:
                values += rng.normal(0, 255 * self.look.noise, image.shape).astype(np.float32)
            image = np.clip(values, 0, 255).astype(np.uint8)
        return np.ascontiguousarray(image)
