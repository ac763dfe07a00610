"""The question scores of the backbones, read from the capability stage's JSON files."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from vlm4vla.analysis.intervals import equal_values, wilson
from vlm4vla.core.artefacts import parse_json
from vlm4vla.core.errors import UserError

OVERALL = "overall"
Z = 1.96  # of a 95 % interval


@dataclass(frozen=True)
class Score:
    """A score in [0, 1] over `questions`, with its 95 % interval. Unknown fields are None.

    The interval is Wilson's if answers are right or wrong. If a `standard_error` is known, it is normal; for
    the error 0, it is that of equal grades (`intervals.equal_values`). A published score with neither has no
    interval, and its number of questions may be unknown.
    """

    value: float
    ci_low: float | None
    ci_high: float | None
    questions: int | None
    standard_error: float | None = None

    @property
    def interval(self) -> tuple[float, float]:
        """The ends of the interval as figures draw it; without an interval, the value twice."""
        if self.ci_low is None or self.ci_high is None:
            return self.value, self.value
        return self.ci_low, self.ci_high

    @property
    def percent(self) -> str:
        """`81.2 [77.0, 84.8]`, or `81.2` without an interval."""
        value = f"{100 * self.value:.1f}"
        if self.ci_low is None or self.ci_high is None:
            return value
        return f"{value} [{100 * self.ci_low:.1f}, {100 * self.ci_high:.1f}]"

    @property
    def variance(self) -> float:
        """The variance of the score over other questions of the same kind; 0 if its error is not known.

        It is the square of the standard error, or that of a share of right answers. The share has one more
        right and one more wrong answer, so that a share of 0 or 1 is not exact.
        """
        if self.standard_error is not None:
            return self.standard_error**2
        if self.questions:
            share = (self.value * self.questions + 1) / (self.questions + 2)
            return share * (1 - share) / self.questions
        return 0.0


def read_capability(paths: Sequence[Path]) -> dict[tuple[str, str], dict[str, Score]]:
    """{(model, auxiliary): {question set or "overall": Score}}, read from .../{model}/{auxiliary}.json files.

    Raises UserError (one line) for a file that is missing or does not hold scores, and for measured scores of
    a set with different numbers of questions: such scores cannot be compared.
    """
    found = {}
    asked: dict[str, tuple[int | None, Path]] = {}  # by set: the number of questions, and the first file
    for path in map(Path, paths):
        try:
            content = parse_json(path.read_text())
            sets = {**content["sets"], OVERALL: content["overall"]}
            scores = {name: _score(entry) for name, entry in sets.items()}
        except FileNotFoundError:
            raise UserError(f"{path}: no such file: run the capability stage that writes it") from None
        except (KeyError, TypeError, ValueError) as error:
            raise UserError(
                f"{path}: not a capability score ({error!r}): delete the file and score the backbone again"
            ) from None
        if (content.get("provenance") or {}).get("stage") != "capability-scores":
            for name, score in scores.items():
                count, first = asked.setdefault(name, (score.questions, path))
                if count != score.questions:
                    raise UserError(
                        f"{path}: {name}: a score over {score.questions} questions, but {first} has {count}: "
                        "score both backbones on the same questions"
                    )
        found[path.parent.name, path.stem] = scores
    return found


def _score(entry: Mapping[str, Any]) -> Score:
    value, questions, error = float(entry["score"]), entry["questions"], entry.get("standard_error")
    if "correct" in entry:
        return Score(value, *wilson(entry["correct"], questions), int(questions))
    if error is not None:
        low, high = (min(1.0, max(0.0, value + side * Z * error)) for side in (-1, 1))
        if questions and not error:  # equal grades do not mean that the score is known exactly
            low, high = equal_values(value, int(questions))
        return Score(value, low, high, questions, float(error))
    low, high = wilson(value * questions, questions) if questions else (None, None)
    return Score(value, low, high, questions)
