"""The result file of lmms-eval: *_results.json, as version 0.7 writes it.

`results` takes a task, or a group of tasks, to `METRIC,FILTER` and its standard errors:
`METRIC_stderr,FILTER` (bootstrap, or of a mean), `METRIC_stderr_clt,FILTER` (of the answers' mean) and
`METRIC_stderr_clustered,FILTER` (the same over clusters of answers); what cannot be had is "N/A", "" or
NaN. `n-samples` takes a task to how many questions it asked (`effective`), `group_subtasks` a group to its
tasks. `model_name` is what was scored.
"""

from __future__ import annotations

import json
import math
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from vlm4vla.config.capability import GivenScore, LmmsTask
from vlm4vla.core.errors import UserError, nearest

# A task's score may be an aggregate that is not the mean of its answers; then only the first kind is its own.
ERRORS = ("stderr_clustered", "stderr", "stderr_clt")


def read_results(path: Path, tasks: Mapping[str, LmmsTask], names: Sequence[str]) -> dict[str, GivenScore]:
    """Scores in 0..1 of the tasks, in their order.

    `names`: what the model may be called, each as the last parts of a path. Raises UserError with one line
    for a file that is not lmms-eval's, is of another model, or lacks a task or its metric.
    """
    content = _content(path)
    check_model(path, content, names)
    return {name: _score(path, content, name, task) for name, task in tasks.items()}


def _content(path: Path) -> dict[str, Any]:
    try:
        content = json.loads(path.read_text())
    except OSError as error:
        raise UserError(f"{path}: cannot be read ({error.strerror}): write the file of lmms-eval") from None
    except ValueError as error:
        raise UserError(f"{path}: not JSON ({error}): write the *_results.json of lmms-eval") from None
    if not isinstance(content, dict) or not isinstance(content.get("results"), dict):
        raise UserError(f"{path}: holds no `results`: write the *_results.json of lmms-eval")
    return content


def model_of(content: Mapping[str, Any]) -> str:
    """What was scored: `model_name`, or `pretrained` of the model's arguments; empty where neither says."""
    if content.get("model_name"):
        return str(content["model_name"])
    given = (content.get("config") or {}).get("model_args") or ""
    pairs = given.items() if isinstance(given, Mapping) else (p.partition("=")[::2] for p in given.split(","))
    arguments = dict(pairs)
    return str(next((arguments[key] for key in ("pretrained", "model") if key in arguments), ""))


def check_model(path: Path, content: Mapping[str, Any], names: Sequence[str]) -> None:
    """Refuse a result file of a model that none of `names` is the end of."""
    found = model_of(content)
    parts = found.rstrip("/").lower().split("/")
    for name in names:
        wanted = name.rstrip("/").lower().split("/")
        if parts[-len(wanted) :] == wanted:
            return
    raise UserError(
        f"{path}: scores of {found or 'an unnamed model'!r}, wanted of {' or '.join(map(repr, names))}: "
        "write the result file of that model"
    )


def _score(path: Path, content: Mapping[str, Any], name: str, task: LmmsTask) -> GivenScore:
    results = content["results"]
    if name not in results:
        raise UserError(
            f"{path}: holds no task {name!r} ({nearest(name, results)}): score it, or take it out of "
            "capability.lmms_eval.tasks"
        )
    metric, filtered = _metric(path, results[name], name, task.metric)
    value = _number(results[name][f"{metric},{filtered}"])
    if value is None or not 0 <= value / task.out_of <= 1:
        raise UserError(
            f"{path}: {name}: {metric} is {results[name][f'{metric},{filtered}']!r}, no number from 0 to "
            f"{task.out_of:g}: write another metric, or out_of in capability.lmms_eval.tasks.{name}"
        )
    errors = (_number(results[name].get(f"{metric}_{kind},{filtered}")) for kind in ERRORS)
    error = next((each for each in errors if each is not None), None)
    return GivenScore(
        score=value / task.out_of,
        questions=questions(content, name) or None,
        standard_error=None if error is None else error / task.out_of,
    )


def _metric(path: Path, entry: Mapping[str, Any], name: str, wanted: str) -> tuple[str, str]:
    """The metric and its filter; a metric with several filters must be named with one."""
    shown = [key for key in entry if "," in key and "_stderr" not in key]
    if wanted in shown:
        return tuple(wanted.rsplit(",", 1))
    found = [key for key in shown if key.rsplit(",", 1)[0] == wanted]
    if len(found) == 1:
        return tuple(found[0].rsplit(",", 1))
    wrong = f"has {len(found)} filters" if found else "is not there"
    raise UserError(
        f"{path}: {name}: metric {wanted!r} {wrong}: write one of {', '.join(map(repr, found or shown))} in "
        f"capability.lmms_eval.tasks.{name}"
    )


def questions(content: Mapping[str, Any], name: str) -> int:
    """How many questions a task, or the tasks of a group, asked; 0 where the file does not say."""
    asked = content.get("n-samples") or {}
    if name in asked:
        return int(asked[name]["effective"])
    parts = (content.get("group_subtasks") or {}).get(name) or []
    return sum(questions(content, part) for part in parts)


def _number(value: Any) -> float | None:
    """A finite number, or None; lmms-eval writes numpy's numbers as text."""
    try:
        number = float(value)
    except (TypeError, ValueError):
        return None
    return number if math.isfinite(number) else None
