"""The scores of an auxiliary task before and after fine-tuning, and the report on the FAST tokens."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from vlm4vla.analysis.intervals import equal_values, wilson
from vlm4vla.core.artefacts import parse_json
from vlm4vla.core.errors import UserError
from vlm4vla.report.rows.capability_scores import Score

SCORE = "score.json"  # in the folder of a fine-tuned backbone
REPORT = "report.json"  # in the folder of the FAST tokens
FAST_KEYS = ("round_trip_error", "error_bound", "tokens_a_chunk", "vocabulary")


@dataclass(frozen=True)
class OwnScore:
    """The score of a backbone on the held-out questions of its own auxiliary task.

    Scores are in [0, 1], with 95 % intervals over questions. `chance`: the score of guessing.
    """

    before: Score
    after: Score
    chance: float = 0.0

    @property
    def clearly_rose(self) -> bool:
        """Whether the interval after fine-tuning is above both the interval before and chance."""
        return self.after.ci_low > max(self.before.ci_high, self.chance)


def read_own_scores(paths: Sequence[Path]) -> dict[tuple[str, str], OwnScore]:
    """{(model, task): OwnScore}, read from .../{model}/{task} folders or from the provenance.json in them.

    Raises UserError (one line) for a score.json that is missing or does not hold scores.
    """
    scores = {}
    for folder in map(_folder, paths):
        content = _read_json(folder / SCORE, "run the auxiliary stage that writes it")
        try:
            before, after = content["before"], content["after"]
            score = OwnScore(_score(before), _score(after), float(after.get("chance", 0.0)))
        except (KeyError, TypeError, ValueError) as error:
            raise UserError(
                f"{folder / SCORE}: not scores before and after fine-tuning ({error!r}): delete the folder "
                "and fine-tune again"
            ) from None
        scores[folder.parent.name, folder.name] = score
    return scores


def read_fast_report(path: Path) -> dict[str, Any]:
    """The report on the FAST tokens. `path`: their folder, or the provenance.json in it. Raises UserError."""
    file = _folder(path) / REPORT
    content = _read_json(file, "run the fast-data stage that writes it")
    missing = [key for key in FAST_KEYS if key not in content] if isinstance(content, dict) else FAST_KEYS
    if missing:
        raise UserError(f"{file}: {missing[0]} is missing: delete the folder and make the tokens again")
    return content


def _folder(path: Path) -> Path:
    path = Path(path)
    return path if path.is_dir() else path.parent


def _read_json(path: Path, remedy: str) -> Any:
    try:
        return parse_json(path.read_text())
    except FileNotFoundError:
        raise UserError(f"{path}: no such file: {remedy}") from None
    except OSError as error:
        raise UserError(f"{path}: cannot be read ({error.strerror}): {remedy}") from None
    except ValueError as error:
        raise UserError(f"{path}: not JSON ({error}): delete its folder and {remedy}") from None


def _score(entry: dict) -> Score:
    """A score as written. The normal interval of graded answers gets at least the width of equal grades."""
    value, low, high = (float(entry[key]) for key in ("score", "ci_low", "ci_high"))
    questions = int(entry["questions"])
    graded = not np.allclose((low, high), wilson(value * questions, questions), rtol=0, atol=1e-6)
    if graded:
        least = equal_values(value, questions)
        low, high = min(low, least[0]), max(high, least[1])
    return Score(value, low, high, questions)
