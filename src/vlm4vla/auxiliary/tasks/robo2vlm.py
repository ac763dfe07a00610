"""Robo2VLM: multiple choice about robot trajectories, whose answers come from states and actions.

Phase, contact and next motion are read off the recorded state and action, not off the picture; the goal is
the demonstration's instruction among others. The answer is the letter of the right option.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence

import numpy as np

from vlm4vla.auxiliary.tasks.base import Task
from vlm4vla.auxiliary.tasks.frames import Frame, frames
from vlm4vla.benchmarks.base import get_benchmark
from vlm4vla.data.questions.statements import Picture

LETTERS = ("(a)", "(b)", "(c)", "(d)")
PHASES = ("approach", "grasp", "carry", "release")
MOTIONS = ("left", "right", "front", "back", "down", "up")
STILL = 0.2  # of the largest motion: below it no direction is named
GRIPPER, HOLDING = 6, 7  # places in the state: opening, and whether something is held


class Robo2Vlm(Task):
    name = "robo2vlm"

    def chance(self, question: str, truth: str) -> float:
        """One of the choices by lot."""
        return 1 / sum(letter in question for letter in LETTERS)

    def pictures(self, split: str, count: int, seed: int, image_size: int) -> Iterator[Picture]:
        goals = get_benchmark("bridge").instructions()

        def ask(rng: np.random.Generator, frame: Frame) -> list[tuple[str, str]]:
            return questions(rng, frame, goals)

        return frames(self.name, ask, split, count, seed, image_size, ("bridge",))


def phase(state: np.ndarray, opens: bool) -> str:
    """The part of a manipulation from a state (8,) and whether the action opens the fingers."""
    if state[HOLDING] > 0.5:
        return "release" if opens else "carry"
    return "grasp" if not opens else "approach"


def motion(action: np.ndarray, largest: float) -> str | None:
    """Direction of the largest of an action's x, y, z; None when it is below `STILL` of `largest`."""
    axis = int(np.argmax(np.abs(action[:3])))
    if abs(action[axis]) < STILL * largest:
        return None
    return MOTIONS[2 * axis + int(action[axis] > 0)]


def choice(rng: np.random.Generator, question: str, right: str, options: Sequence[str]) -> tuple[str, str]:
    """A multiple-choice question with up to four options in random order, and the letter of `right`."""
    wrong = sorted(set(options) - {right})
    shown = [right, *(str(w) for w in rng.choice(wrong, min(len(LETTERS) - 1, len(wrong)), replace=False))]
    shown = [shown[i] for i in rng.permutation(len(shown))]
    listed = " ".join(f"{letter} {option}" for letter, option in zip(LETTERS, shown, strict=False))
    return f"{question} {listed} ?", LETTERS[shown.index(right)]


def questions(rng: np.random.Generator, frame: Frame, goals: Sequence[str]) -> list[tuple[str, str]]:
    recording, step = frame.recording, frame.step
    state, action = recording.states[step], recording.actions[step]
    opens = action[6] > 0.5  # Bridge: 1 opens, 0 closes
    said = [
        choice(rng, "which phase", phase(state, opens), PHASES),
        choice(rng, "does the gripper hold a thing", "yes" if state[HOLDING] > 0.5 else "no", ("yes", "no")),
        choice(rng, "which goal", frame.instruction, [g for g in goals if differs(g, frame.instruction)]),
    ]
    direction = motion(action, float(np.abs(recording.actions[:, :3]).max()))
    if direction is not None:
        said.append(choice(rng, "which motion", direction, MOTIONS))
    return said


def differs(a: str, b: str) -> bool:
    """Whether two instructions ask for different things, not for one thing in two wordings."""
    plain = [
        set(text.split()) - {"put", "place", "move", "stack", "the", "on", "onto", "in", "into"}
        for text in (a, b)
    ]
    return plain[0] != plain[1]
