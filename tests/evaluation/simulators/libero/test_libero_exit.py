"""The end of a process that has drawn with the real LIBERO simulator."""

import os
import subprocess
import sys

import pytest

pytest.importorskip("vla_eval")
DRAWING = """
from vlm4vla.evaluation.simulators.libero_demonstrations import open_simulator

simulator = open_simulator(render="gpu")
simulator.reset({**simulator.get_tasks()[0], "episode_idx": 0})
print(simulator.render_camera("agentview").shape)
"""


@pytest.mark.parametrize(
    ("end", "status"), [("", 0), ("raise RuntimeError('the reason')", 1)], ids=["return", "exception"]
)
def test_a_process_that_has_drawn_with_egl_ends_without_its_messages(one_thread, end, status):
    environment = {name: value for name, value in os.environ.items() if "OPENGL" not in name}
    done = subprocess.run(
        [sys.executable, "-c", DRAWING + end],
        env=environment | {"MUJOCO_GL": "egl"},
        capture_output=True,
        text=True,
    )
    if "EGL" in done.stderr and "(128, 128, 3)" not in done.stdout:
        pytest.skip("this machine has no EGL")
    assert done.returncode == status, done.stderr
    assert "(128, 128, 3)" in done.stdout
    assert "EGLError" not in done.stderr and "Exception ignored" not in done.stderr, done.stderr
    if status:
        assert done.stderr.strip().splitlines()[-1] == "RuntimeError: the reason"
