"""Question scores of the backbones, read from the capability stage's JSON."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from vlm4vla.analysis.intervals import wilson
from vlm4vla.artefacts import UserError

OVERALL = "overall"


@dataclass(frozen=True)
class Score:
    """`value` is in [0, 1] over `questions`; the interval is Wilson's."""

    value: float
    ci_low: float
    ci_high: float
    questions: int


def read_capability(paths: Sequence[Path]) -> dict[tuple[str, str], dict[str, Score]]:
    """{(model, auxiliary): {question set or "overall": Score}} of .../{model}/{auxiliary}.json files.

    Raises UserError with one line for a file that is missing or does not hold scores.
    """
    found = {}
    for path in map(Path, paths):
        try:
            content = json.loads(path.read_text())
            sets = {**content["sets"], OVERALL: content["overall"]}
            scores = {name: _score(entry) for name, entry in sets.items()}
        except FileNotFoundError:
            raise UserError(f"{path}: no such file: run the capability stage that writes it") from None
        except (json.JSONDecodeError, KeyError, TypeError, ValueError) as error:
            raise UserError(
                f"{path}: not a capability score ({error!r}): delete it and score again"
            ) from None
        found[path.parent.name, path.stem] = scores
    return found


def _score(entry: dict) -> Score:
    low, high = wilson(entry["correct"], entry["questions"])
    return Score(float(entry["score"]), low, high, int(entry["questions"]))
