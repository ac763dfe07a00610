"""How well a backbone did its auxiliary task before and after fine-tuning, and how good FAST tokens are."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from vlm4vla.core.errors import UserError
from vlm4vla.report.rows.capability_scores import Score

SCORE, REPORT = "score.json", "report.json"  # beside a fine-tuned backbone; beside FAST tokens
FAST_KEYS = ("round_trip_error", "error_bound", "tokens_a_chunk", "vocabulary")


@dataclass(frozen=True)
class OwnScore:
    """A task's score on held-out questions, in [0, 1], with 95 % intervals over questions.

    `chance`: the score of guessing.
    """

    before: Score
    after: Score
    chance: float = 0.0

    @property
    def rose(self) -> bool:
        """Whether the interval after fine-tuning lies above the one before and above chance."""
        return self.after.ci_low > max(self.before.ci_high, self.chance)


def read_own_scores(paths: Sequence[Path]) -> dict[tuple[str, str], OwnScore]:
    """{(model, task): OwnScore} of .../{model}/{task} folders, or of the provenance.json in them.

    Raises UserError with one line for a score.json that is missing or does not hold scores.
    """
    found = {}
    for folder in map(_folder, paths):
        content = _json(folder / SCORE, "run the auxiliary stage that writes it")
        try:
            before, after = content["before"], content["after"]
            scores = OwnScore(_score(before), _score(after), float(after.get("chance", 0.0)))
        except (KeyError, TypeError, ValueError) as error:
            raise UserError(
                f"{folder / SCORE}: not scores before and after ({error!r}): delete the folder and "
                "fine-tune again"
            ) from None
        found[folder.parent.name, folder.name] = scores
    return found


def read_fast_report(path: Path) -> dict[str, Any]:
    """The report on FAST tokens in a folder, or beside the provenance.json in it. Raises UserError."""
    file = _folder(path) / REPORT
    content = _json(file, "run the stage fast-data that writes it")
    missing = [key for key in FAST_KEYS if key not in content] if isinstance(content, dict) else FAST_KEYS
    if missing:
        raise UserError(f"{file}: {missing[0]} is missing: delete the folder and make the tokens again")
    return content


def _folder(path: Path) -> Path:
    path = Path(path)
    return path if path.is_dir() else path.parent


def _json(path: Path, remedy: str) -> Any:
    try:
        return json.loads(path.read_text())
    except FileNotFoundError:
        raise UserError(f"{path}: no such file: {remedy}") from None
    except json.JSONDecodeError as error:
        raise UserError(f"{path}: not JSON ({error}): delete its folder and {remedy}") from None


def _score(entry: dict) -> Score:
    value, low, high = (float(entry[key]) for key in ("score", "ci_low", "ci_high"))
    return Score(value, low, high, int(entry["questions"]))
