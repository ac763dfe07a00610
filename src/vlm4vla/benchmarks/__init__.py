"""The embedded benchmarks: scenes, tasks, scripted experts and simulation, built on MuJoCo.

MuJoCo simulates rigid bodies and contacts, and renders the images. The robot is a gripper without an arm. The
hand holds or presses handles, levers and buttons, which move along their own axes. A scene of primitives
renders at thousands of 64 by 64 frames per second on one core, so evaluation needs no GPU.
"""

import os
import sys

# MuJoCo reads these variables when it is imported.
if sys.platform == "linux":  # headless; set MUJOCO_GL=osmesa if EGL is missing
    os.environ.setdefault("MUJOCO_GL", "egl")
os.environ.setdefault("LP_NUM_THREADS", "0")  # no extra threads in Mesa's software driver
