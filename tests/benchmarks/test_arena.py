"""Rendering of scenes."""

from __future__ import annotations

import os
import subprocess
import sys

import numpy as np
import pytest

from vlm4vla.benchmarks.arena import Arena, mujoco  # the package chooses the renderer of MuJoCo first
from vlm4vla.benchmarks.looks import Look
from vlm4vla.benchmarks.scene import Layout
from vlm4vla.benchmarks.world import World


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


DRAWING = """
import gc, sys, weakref

class Early:
    pass

early = Early()
weakref.finalize(early, print, "", end="")  # as torch does when it is imported
from vlm4vla.benchmarks.arena import Arena
from vlm4vla.benchmarks.looks import Look
from vlm4vla.benchmarks.scene import Layout
from vlm4vla.benchmarks.world import World

def world(prop):
    world = World(Arena(Layout((prop,), image_size=32)))
    world.reset({prop: (0.0, 0.0, 0.0)}, {}, Look())
    return world

one, two = world("red block"), world("plate")
first, other = one.render(), two.render()
assert (first != other).any()
"""


@pytest.mark.parametrize(
    ("end", "status", "last_line"),
    [
        ("", 0, ""),
        ("sys.exit(3)", 3, ""),
        ("raise RuntimeError('the reason')", 1, "RuntimeError: the reason"),
        ("import os, signal; os.kill(os.getpid(), signal.SIGINT)", -2, "KeyboardInterrupt"),
        ("keep = [one]; keep.append(keep); del one, two, keep", 0, ""),  # a cycle
    ],
    ids=["return", "exit", "exception", "Ctrl-C", "cycle"],
)
def test_a_process_that_has_drawn_ends_without_messages_of_egl(end, status, last_line):
    done = subprocess.run([sys.executable, "-c", DRAWING + end], capture_output=True, text=True)
    assert done.returncode == status, done.stderr
    assert "EGL" not in done.stderr and "Exception ignored" not in done.stderr, done.stderr
    assert (done.stderr.strip().splitlines() or [""])[-1] == last_line


def test_an_arena_that_is_collected_leaves_the_drawing_of_others_alone():
    end = "one.render(); del two; gc.collect(); assert (one.render() == first).all(); print('same')"
    done = subprocess.run([sys.executable, "-c", DRAWING + end], capture_output=True, text=True)
    assert (done.stdout, done.stderr) == ("same\n", "")


def test_the_current_context_stays_current_when_another_is_freed():
    """The garbage collector may run between the drawing of an image and the reading of its pixels."""
    one, two = World(Arena(Layout(("red block",), image_size=32))), World(Arena(Layout((), image_size=32)))
    one.reset({"red block": (0.0, 0.0, 0.0)}, {}, Look())
    two.render()
    expected = one.render()
    two.arena._drawing.free()
    image = np.empty((32, 32, 3), np.uint8)
    mujoco.mjr_readPixels(image, None, one.arena._rect, one.arena._drawing.context)
    assert (image[::-1] == expected).all()
