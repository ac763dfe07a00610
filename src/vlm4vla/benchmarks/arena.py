"""Rendering: a compiled MuJoCo model with its OpenGL context, and looks applied to a model."""

from __future__ import annotations

import atexit
import os
import weakref
from typing import ClassVar

import mujoco
import numpy as np

from vlm4vla.benchmarks.looks import MATERIALS, Look, camera_pose
from vlm4vla.benchmarks.scene import Layout, mjcf
from vlm4vla.core.errors import UserError


class Arena:
    """A compiled layout with its OpenGL context. All worlds of an arena share its textures.

    An arena is not thread-safe and belongs to one process, because an OpenGL context does.
    """

    def __init__(self, layout: Layout):
        self.layout = layout
        self.model = mujoco.MjModel.from_xml_string(mjcf(layout))
        self._drawing: _Drawing | None = None
        # Geoms are named `group:name`. A look sets the colours of the groups that are fields of `Look`.
        self.groups: dict[str, list[int]] = {}
        for index in range(self.model.ngeom):
            self.groups.setdefault(self.model.geom(index).name.partition(":")[0], []).append(index)
        self.materials = {name: self.model.material(name).id for name in MATERIALS}

    def _open(self) -> _Drawing:
        size = self.layout.image_size
        drawing = self._drawing = _Drawing(self.model, size)
        weakref.finalize(self, drawing.free).atexit = False  # `_free_all` comes first
        mujoco.mjr_setBuffer(mujoco.mjtFramebuffer.mjFB_OFFSCREEN, drawing.context)
        self._scene = mujoco.MjvScene(self.model, maxgeom=400)
        self._option = mujoco.MjvOption()
        self._camera = mujoco.MjvCamera()
        self._camera.type = mujoco.mjtCamera.mjCAMERA_FIXED
        self._camera.fixedcamid = 0
        self._rect = mujoco.MjrRect(0, 0, size, size)
        return drawing

    def render(self, model: mujoco.MjModel, data: mujoco.MjData) -> np.ndarray:
        """Render an image (size, size, 3) uint8 of one world.

        `model` may differ from the arena's model in its look only.
        """
        drawing = self._drawing or self._open()
        drawing.make_current()
        mujoco.mjv_updateScene(
            model, data, self._option, None, self._camera, mujoco.mjtCatBit.mjCAT_ALL, self._scene
        )
        mujoco.mjr_render(self._rect, self._scene, drawing.context)
        size = self.layout.image_size
        image = np.empty((size, size, 3), np.uint8)
        mujoco.mjr_readPixels(image, None, self._rect, drawing.context)
        return image[::-1]

    def render_depth(self, model: mujoco.MjModel, data: mujoco.MjData) -> tuple[np.ndarray, np.ndarray]:
        """Render the depth (size, size) float32 and the geom id (size, size) int32 of every pixel.

        Depth is in metres along the camera's axis. The geom id is -1 if a pixel shows no geom.
        """
        self.render(model, data)  # updates the geoms of the scene to this state
        assert self._drawing is not None
        context = self._drawing.context
        flags, size = self._scene.flags, self.layout.image_size
        for flag in (mujoco.mjtRndFlag.mjRND_SEGMENT, mujoco.mjtRndFlag.mjRND_IDCOLOR):
            flags[flag] = 1  # the colour of a geom encodes its number in the scene
        mujoco.mjr_render(self._rect, self._scene, context)
        colours, window = np.empty((size, size, 3), np.uint8), np.empty((size, size), np.float32)
        mujoco.mjr_readPixels(colours, window, self._rect, context)
        for flag in (mujoco.mjtRndFlag.mjRND_SEGMENT, mujoco.mjtRndFlag.mjRND_IDCOLOR):
            flags[flag] = 0
        near, far = (v * model.stat.extent for v in (model.vis.map.znear, model.vis.map.zfar))
        depth = near / (1 - window.astype(np.float64) * (1 - near / far))  # OpenGL's perspective, inverted
        numbers = colours.astype(np.int32) @ [1, 1 << 8, 1 << 16]
        geoms = np.full(self._scene.ngeom + 1, -1, np.int32)
        for geom in self._scene.geoms[: self._scene.ngeom]:
            if geom.segid >= 0 and geom.objtype == mujoco.mjtObj.mjOBJ_GEOM:
                geoms[geom.segid + 1] = geom.objid
        return depth[::-1].astype(np.float32), geoms[numbers][::-1]


def apply_look(arena: Arena, model: mujoco.MjModel, look: Look) -> None:
    """Set the colours, materials, light and camera of `model`, which is a copy of the arena's model."""
    position, rotation = camera_pose(look)
    model.cam_pos[0] = position
    mujoco.mju_mat2Quat(model.cam_quat[0], rotation.flatten())
    model.cam_fovy[0] = look.camera.field_of_view
    model.light_pos[0] = look.light_at
    model.light_diffuse[0] = look.light
    rgb = np.clip(arena.model.geom_rgba[:, :3] * look.shade + np.asarray(look.tint), 0, 1)
    for group in ("table", "floor", "fixture", "handle", "hand"):
        rgb[arena.groups.get(group, [])] = getattr(look, group)
    rgb[arena.groups["shadow"]] = np.asarray(look.table) * 0.45
    model.geom_rgba[:, :3] = rgb
    for name in ("table", "floor"):
        model.geom_matid[arena.groups[name][0]] = arena.materials[getattr(look, f"{name}_material")]


def _drawing_context(size: int) -> mujoco.GLContext:
    """Create a headless OpenGL context of size by size pixels. Raises UserError if that fails."""
    try:
        return mujoco.GLContext(size, size)
    except Exception as error:  # each backend raises another type
        raise UserError(
            f"no headless OpenGL (MUJOCO_GL={os.environ.get('MUJOCO_GL')}): install libegl1 and "
            f"libgl1-mesa-dri, or libosmesa6 and set MUJOCO_GL=osmesa ({type(error).__name__})"
        ) from None


class _Drawing:
    """An OpenGL context with MuJoCo's resources in it, for one arena. `alive`: the ones not yet freed."""

    alive: ClassVar[list[_Drawing]] = []
    _current: ClassVar[_Drawing | None] = None

    def __init__(self, model: mujoco.MjModel, size: int):
        self._gl = _drawing_context(size)
        self.make_current()
        self.context = mujoco.MjrContext(model, mujoco.mjtFontScale.mjFONTSCALE_50)
        self.alive.append(self)
        # MuJoCo has registered a function that shuts EGL down. Functions registered later run earlier.
        atexit.unregister(_free_all)
        atexit.register(_free_all)

    def make_current(self) -> None:
        self._gl.make_current()
        _Drawing._current = self

    def free(self) -> None:
        """Free the resources and the context. The context that was current stays current.

        The garbage collector may call this while another arena draws.
        """
        if self not in self.alive:
            return
        self.alive.remove(self)
        current = _Drawing._current
        self.make_current()  # the resources belong to this context
        self.context.free()
        self._gl.free()
        _Drawing._current = None
        if current is not None and current is not self:
            current.make_current()


def _free_all() -> None:
    """Free what is alive before EGL is shut down.

    Finalizers of `weakref` may run too late: their turn depends on when the process made its first one, and
    torch makes one when it is imported.
    """
    for drawing in list(_Drawing.alive):
        drawing.free()
