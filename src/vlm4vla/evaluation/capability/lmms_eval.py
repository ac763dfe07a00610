"""lmms-eval: run it as a process in its own environment, and read its result file.

The result file is `*_results.json` as version 0.7 writes it:

- `results` maps a task, or a group of tasks, to the values of its metrics. The key of a value is
  `METRIC,FILTER`. The keys of its standard errors are `METRIC_stderr,FILTER` (a bootstrap, or the standard
  error of a mean), `METRIC_stderr_clt,FILTER` (of the mean of the answers) and
  `METRIC_stderr_clustered,FILTER` (of that mean, for clusters of answers). A standard error that lmms-eval
  cannot compute is "N/A", "" or NaN.
- `n-samples` maps a task to its number of questions (`effective`).
- `group_subtasks` maps a group to its tasks.
- `model_name` is the model that was scored.
"""

from __future__ import annotations

import math
import shutil
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from vlm4vla.config.capability import LmmsTask, QuestionScore
from vlm4vla.config.stages import LmmsEvalSettings
from vlm4vla.core.artefacts import parse_json
from vlm4vla.core.errors import UserError, suggestion
from vlm4vla.core.processes import Child, exit_on_sigterm

RESULTS = "*_results.json"
# Kinds of standard error, the preferred kind first. A task's score can be an aggregate other than the mean of
# its answers. Then only `stderr` is the standard error of that score.
STANDARD_ERRORS = ("stderr_clustered", "stderr", "stderr_clt")


def score(settings: LmmsEvalSettings, backbone: Path, folder: Path) -> Path:
    """Run lmms-eval on the Hugging Face folder `backbone`. Return the path of its result file under `folder`.

    Raises UserError when the environment is missing or lmms-eval fails.
    """
    python = interpreter(settings.environment)
    results = folder / "results"
    shutil.rmtree(results, ignore_errors=True)  # left by an interrupted run
    results.mkdir(parents=True)
    command = [str(python), "-m", "lmms_eval", *arguments(settings, backbone, folder)]
    print(f"lmms-eval: {settings.name}, {len(settings.tasks)} tasks; its own output follows", flush=True)
    # Some tasks of lmms-eval write files into their working directory.
    with exit_on_sigterm(), Child(command, environment={"PYTHONUNBUFFERED": "1"}, folder=folder) as process:
        status = process.wait()
    files = sorted(results.rglob(RESULTS), key=lambda path: path.stat().st_mtime)
    if status or not files:
        problem = f"ended with status {status}" if status else "wrote no result file"
        raise UserError(f"lmms-eval {problem} for {settings.name}: its last lines above give the reason")
    return files[-1]


def arguments(settings: LmmsEvalSettings, backbone: Path, folder: Path) -> list[str]:
    """The command-line arguments of lmms-eval.

    Raises UserError for a path with a comma or an equals sign: lmms-eval separates its arguments with them.
    """
    pretrained = str(backbone.resolve())
    if "," in pretrained or "=" in pretrained:
        raise UserError(
            f"{pretrained}: lmms-eval takes no path with a comma or an equals sign: move the results folder"
        )
    model = {"pretrained": pretrained, **settings.arguments}
    words = [
        *("--model", settings.model),
        *("--model_args", ",".join(f"{key}={value}" for key, value in model.items())),
        *("--tasks", ",".join(settings.tasks)),
        *("--batch_size", str(settings.batch)),
        *("--output_path", str(folder.resolve() / "results")),
        *("--use_cache", str(folder.resolve() / "cache")),
    ]
    if settings.limit is not None:
        words += ["--limit", str(settings.limit)]
    if settings.include is not None:
        words += ["--include_path", str(Path(settings.include).expanduser().resolve())]
    return words


def interpreter(environment: str) -> Path:
    """The Python interpreter in the folder of a virtual environment. Raises UserError if it is missing."""
    python = Path(environment).expanduser() / "bin" / "python"
    if not python.exists():
        raise UserError(
            f"capability.lmms_eval.environment: {str(python)!r} does not exist: run `make env-lmms-eval`, or "
            "write the folder of the environment that has lmms-eval"
        )
    return python.absolute()


def read_results(
    path: Path, tasks: Mapping[str, LmmsTask], names: Sequence[str], limit: int | None = None
) -> dict[str, QuestionScore]:
    """Read the scores of `tasks`, each from 0 to 1, in the order of `tasks`.

    `names`: the names that the model may have in the file; a name is the last parts of a path. `limit`: the
    largest number of questions of a task. Raises UserError if the file is not a result file of lmms-eval, is
    of another model, lacks a task or a metric, or has answers to a part of the questions only.
    """
    content = _content(path)
    check_model(path, content, names)
    scores = {name: _score(path, content, name, task) for name, task in tasks.items()}
    for name in tasks:
        _check_complete(path, content, name, limit)
    return scores


def _check_complete(path: Path, content: Mapping[str, Any], name: str, limit: int | None) -> None:
    """Raise UserError if fewer questions of a task were asked than it has, or than `limit`."""
    for task, counts in question_counts(path, content, name).items():
        asked, every = counts
        wanted = every if limit is None else min(limit, every)
        if asked != wanted:
            raise UserError(
                f"{path}: {task}: {asked} of {every} questions were asked, but this study asks {wanted}: "
                f"evaluate the task again, or write `limit: {asked}` in capability.lmms_eval"
            )


def _content(path: Path) -> dict[str, Any]:
    try:
        content = parse_json(path.read_text(encoding="utf-8-sig"))  # some editors write a byte order mark
    except OSError as error:
        raise UserError(
            f"{path}: cannot be read ({error.strerror}): write the path of lmms-eval's result file"
        ) from None
    except ValueError as error:
        raise UserError(f"{path}: not JSON ({error}): write the path of lmms-eval's *_results.json") from None
    if not isinstance(content, dict) or not isinstance(content.get("results"), dict):
        raise UserError(f"{path}: `results` is missing: write the path of lmms-eval's *_results.json")
    return content


def scored_model(content: Mapping[str, Any]) -> str:
    """The model that was scored: `model_name`, else `pretrained` or `model` of its arguments, else ""."""
    if content.get("model_name"):
        return str(content["model_name"])
    given = (content.get("config") or {}).get("model_args") or ""
    pairs = given.items() if isinstance(given, Mapping) else (p.partition("=")[::2] for p in given.split(","))
    arguments = dict(pairs)
    return str(next((arguments[key] for key in ("pretrained", "model") if key in arguments), ""))


def check_model(path: Path, content: Mapping[str, Any], names: Sequence[str]) -> None:
    """Raise UserError unless the path of the scored model ends with one of `names`."""
    found = scored_model(content)
    parts = found.rstrip("/").lower().split("/")
    for name in names:
        wanted = name.rstrip("/").lower().split("/")
        if parts[-len(wanted) :] == wanted:
            return
    raise UserError(
        f"{path}: these are scores of {found or 'an unnamed model'!r}, not of "
        f"{' or '.join(map(repr, names))}: write the result file of that model"
    )


def _score(path: Path, content: Mapping[str, Any], name: str, task: LmmsTask) -> QuestionScore:
    results = content["results"]
    if not isinstance(results.get(name), Mapping):
        raise UserError(
            f"{path}: task {name!r} is missing ({suggestion(name, results)}): evaluate it, or remove it from "
            "capability.lmms_eval.tasks"
        )
    metric, filter_name = _metric(path, results[name], name, task.metric)
    value = _number(results[name][f"{metric},{filter_name}"])
    if value is None or not 0 <= value / task.out_of <= 1:
        raise UserError(
            f"{path}: {name}: {metric} is {results[name][f'{metric},{filter_name}']!r}, not a number from 0 "
            f"to {task.out_of:g}: write another metric or out_of in capability.lmms_eval.tasks.{name}"
        )
    errors = (_number(results[name].get(f"{metric}_{kind},{filter_name}")) for kind in STANDARD_ERRORS)
    error = next((each for each in errors if each is not None and each >= 0), None)
    return QuestionScore(
        score=value / task.out_of,
        questions=sum(asked for asked, _ in question_counts(path, content, name).values()) or None,
        standard_error=None if error is None else error / task.out_of,
    )


def _metric(path: Path, entry: Mapping[str, Any], name: str, wanted: str) -> tuple[str, str]:
    """The metric and its filter. If the metric has several filters, `wanted` must name one: METRIC,FILTER."""
    shown = [key for key in entry if "," in key and "_stderr" not in key]
    if wanted in shown:
        return tuple(wanted.rsplit(",", 1))
    found = [key for key in shown if key.rsplit(",", 1)[0] == wanted]
    if len(found) == 1:
        return tuple(found[0].rsplit(",", 1))
    problem = f"has {len(found)} filters" if found else "is missing"
    raise UserError(
        f"{path}: {name}: metric {wanted!r} {problem}: write one of {', '.join(map(repr, found or shown))} "
        f"in capability.lmms_eval.tasks.{name}"
    )


def question_counts(path: Path, content: Mapping[str, Any], name: str) -> dict[str, tuple[int, int]]:
    """(questions that were asked, questions that it has) of a task, or of each task of a group.

    Empty if the file does not contain the numbers. Raises UserError if they are no numbers.
    """
    counts = content.get("n-samples") or {}
    if name in counts:
        try:
            asked, every = (int(counts[name][key]) for key in ("effective", "original"))
        except (KeyError, TypeError, ValueError) as error:
            raise UserError(
                f"{path}: n-samples of {name!r} is damaged ({error!r}): write lmms-eval's own file"
            ) from None
        return {name: (asked, every)}
    parts = (content.get("group_subtasks") or {}).get(name) or []
    return {key: own for part in parts for key, own in question_counts(path, content, part).items()}


def _number(value: Any) -> float | None:
    """A finite number, or None. lmms-eval writes NumPy's numbers as text."""
    if isinstance(value, bool):
        return None
    try:
        number = float(value)
    except (TypeError, ValueError):
        return None
    return number if math.isfinite(number) else None
