"""Rendering of scenes."""

from __future__ import annotations

import os
import subprocess
import sys


def test_without_opengl_the_error_names_the_packages_to_install():
    code = (
        "from vlm4vla.core.errors import UserError\n"
        "from vlm4vla.benchmarks.arena import Arena\n"
        "from vlm4vla.benchmarks.scene import Layout\n"
        "try:\n    Arena(Layout(props=()))._open()\n"
        "except UserError as error:\n    print(error)\n"
    )
    nowhere = {"MUJOCO_GL": "egl", "__EGL_VENDOR_LIBRARY_DIRS": "/nonexistent", "EGL_PLATFORM": "device"}
    done = subprocess.run(
        [sys.executable, "-c", code], env=os.environ | nowhere, capture_output=True, text=True
    )
    assert done.stdout.startswith("no headless OpenGL (MUJOCO_GL=egl): install libegl1"), done.stderr
