"""The embedded benchmarks: scenes, tasks, experts and stepping, on MuJoCo.

MuJoCo does the rigid bodies, contacts and pictures. The robot is a gripper without an arm; handles,
levers and buttons are moved along their own axes by the hand that holds or presses them. A scene of
primitives renders thousands of 64 by 64 frames a second on one core, so evaluation needs no GPU.
"""

import os
import sys

# Before MuJoCo is imported, which reads it then.
if sys.platform == "linux":  # headless; set MUJOCO_GL=osmesa where EGL is missing
    os.environ.setdefault("MUJOCO_GL", "egl")
os.environ.setdefault("LP_NUM_THREADS", "0")  # Mesa's software driver: no threads beside the job's own
