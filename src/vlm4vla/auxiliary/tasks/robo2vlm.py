"""Robo2VLM: multiple-choice questions about robot trajectories, answered from states and actions.

The phase, the contact and the next motion come from the recorded state and action, not from the image. The
goal is the demonstration's instruction among other instructions. The answer is the letter of the correct
option.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence

import numpy as np

from vlm4vla.auxiliary.tasks.base import AuxiliaryTask
from vlm4vla.auxiliary.tasks.pictures import Frame, frames
from vlm4vla.benchmarks.base import get_benchmark
from vlm4vla.conventions.benchmarks import BRIDGE
from vlm4vla.data.questions.statements import Picture

LETTERS = ("(a)", "(b)", "(c)", "(d)")
PHASES = ("approach", "grasp", "carry", "release")
MOTIONS = ("left", "right", "front", "back", "down", "up")
STILL = 0.2  # share of the largest motion below which a motion has no direction
HOLDING = 7  # index in the state: whether something is held


class Robo2Vlm(AuxiliaryTask):
    name = "robo2vlm"

    def chance(self, question: str, truth: str) -> float:
        """Return the score of a random choice."""
        return 1 / sum(letter in question for letter in LETTERS)

    def pictures(self, split: str, count: int, seed: int, image_size: int) -> Iterator[Picture]:
        goals = get_benchmark(BRIDGE.name).instructions()

        def ask(rng: np.random.Generator, frame: Frame) -> list[tuple[str, str]]:
            return ask_choices(rng, frame, goals)

        return frames(self.name, ask, split, count, seed, image_size, (BRIDGE.name,))


def phase(state: np.ndarray, opens: bool) -> str:
    """Return the phase of a manipulation from a state (8,) and whether the action opens the fingers."""
    if state[HOLDING] > 0.5:
        return "release" if opens else "carry"
    return "grasp" if not opens else "approach"


def motion(action: np.ndarray, largest: float) -> str | None:
    """Return the direction of the largest of an action's x, y, z.

    Returns None if the action moves less than `STILL` times `largest` along that axis.
    """
    axis = int(np.argmax(np.abs(action[:3])))
    if abs(action[axis]) < STILL * largest:
        return None
    return MOTIONS[2 * axis + int(action[axis] > 0)]


def multiple_choice(
    rng: np.random.Generator, question: str, correct: str, options: Sequence[str]
) -> tuple[str, str]:
    """Return a question with up to four options in random order, and the letter of the `correct` option."""
    wrong = sorted(set(options) - {correct})
    shown = [correct, *(str(w) for w in rng.choice(wrong, min(len(LETTERS) - 1, len(wrong)), replace=False))]
    shown = [shown[i] for i in rng.permutation(len(shown))]
    listed = " ".join(f"{letter} {option}" for letter, option in zip(LETTERS, shown, strict=False))
    return f"{question} {listed} ?", LETTERS[shown.index(correct)]


def ask_choices(rng: np.random.Generator, frame: Frame, goals: Sequence[str]) -> list[tuple[str, str]]:
    """Ask for the phase, the contact, the goal among `goals`, and the direction of the next motion."""
    recording, step = frame.recording, frame.step
    state, action = recording.states[step], recording.actions[step]
    opens = action[6] > 0.5  # Bridge: 1 opens, 0 closes
    questions = [
        multiple_choice(rng, "which phase", phase(state, opens), PHASES),
        multiple_choice(
            rng, "does the gripper hold a thing", "yes" if state[HOLDING] > 0.5 else "no", ("yes", "no")
        ),
        multiple_choice(
            rng, "which goal", frame.instruction, [g for g in goals if is_other_goal(g, frame.instruction)]
        ),
    ]
    direction = motion(action, float(np.abs(recording.actions[:, :3]).max()))
    if direction is not None:
        questions.append(multiple_choice(rng, "which motion", direction, MOTIONS))
    return questions


def is_other_goal(a: str, b: str) -> bool:
    """Return whether two instructions differ in more than their wording."""
    plain = [
        set(text.split()) - {"put", "place", "move", "stack", "the", "on", "onto", "in", "into"}
        for text in (a, b)
    ]
    return plain[0] != plain[1]
