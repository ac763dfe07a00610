"""Whether a results folder was made with a configuration: the check before a study is packed."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from types import SimpleNamespace
from typing import Any, NamedTuple

from pydantic import BaseModel, ValidationError

from vlm4vla.config.config import Config, load_config
from vlm4vla.config.layer_files import read_layer
from vlm4vla.config.stages import (
    AuxiliaryDataSettings,
    AuxiliarySettings,
    BackboneSettings,
    CapabilitySettings,
    DemonstrationsSettings,
    FastDataSettings,
    LmmsEvalSettings,
    QuestionsSettings,
    RolloutSettings,
    ScoresSettings,
    TableSettings,
    VlaSettings,
)
from vlm4vla.core.errors import UserError
from vlm4vla.study.layout import ARTEFACTS, PROVENANCE
from vlm4vla.study.results_folder import Results, read_json
from vlm4vla.study.study import Study

# Keys that say where and when a study runs, and not what it is.
_OF_THE_MACHINE = ("results", "minimum_free_gb", "extensions", "published_scores")
_ABSENT = "nothing"  # in a message, for the value of a key that is not there
_REMEDY = "pass its config.yaml, and the files that override it, with --config"


class ChangedKey(NamedTuple):
    """A key with the value with which something was made, and the value that a configuration has."""

    key: str
    then: Any
    now: Any

    def sentence(self, made: Path) -> str:
        return f"{self.key} is {_shown(self.now)}, but {made} was made with {_shown(self.then)}"


def check_made_with(config: Config, name: Path, results: Results) -> None:
    """Raise UserError unless the results were made with `config`, as far as they say.

    It is compared with config.yaml in the results folder, and with the settings of each table and of each
    artefact. Records whose settings this version cannot read are not compared. `name`: the last file of the
    configuration, for messages.
    """
    for difference, made in _differences(config, results):
        raise UserError(f"{name}: {difference.sentence(made)}: {_REMEDY}")


def _differences(config: Config, results: Results) -> Iterator[tuple[ChangedKey, Path]]:
    """The differences, each with what was made with the other value, what is cheap to find first."""
    for table in results.tables():
        settings = results.analysis(table)["settings"]
        for key, value in {"study": config.study, "scale": config.scale}.items():
            if settings.get(key) != value:
                yield ChangedKey(key, settings.get(key), value), results.root
    made = results.root / ARTEFACTS["study_config"].path(format="yaml")
    if made.is_file():
        difference = compare_configurations(read_layer(made), config)
        if difference is not None:
            yield difference, results.root
    study = Study(config)
    for table in results.tables():
        recorded = _readable(results.analysis(table)["settings"], (TableSettings,))
        if recorded is not None:
            yield from _artefact(study, results.path("analysis", table=table), "table", recorded, table=table)
    for path in sorted(results.root.rglob("*.json")):
        yield from _recorded(study, results.root, path)


def compare_configurations(made: Mapping[str, Any], config: Config) -> ChangedKey | None:
    """The first key whose values differ between `made`, a parsed config.yaml, and `config`.

    A key of only one of them counts if it has another value than its default. If this version cannot read
    `made`, only the keys that both have are compared.
    """
    now = config.model_dump(mode="json")
    try:
        known = load_config({**made, "extensions": config.extensions}).model_dump(mode="json")
    except UserError:
        found = _compare(made, now, only_common=True)
    else:
        found = _compare(known, now)
    return next((each for each in found if each.key not in _OF_THE_MACHINE), None)


def _compare(
    then: Mapping[str, Any], now: Mapping[str, Any], prefix: str = "", only_common: bool = False
) -> Iterator[ChangedKey]:
    """The keys with different values."""
    for name in dict.fromkeys((*then, *now)):
        if name not in then or name not in now:
            if not only_common:
                values = (each.get(name, _ABSENT) for each in (then, now))
                yield ChangedKey(f"{prefix}{name}", *values)
        elif isinstance(then[name], Mapping) and isinstance(now[name], Mapping):
            yield from _compare(then[name], now[name], f"{prefix}{name}.", only_common)
        elif then[name] != now[name]:
            yield ChangedKey(f"{prefix}{name}", then[name], now[name])


def _shown(value: Any) -> str:
    text = value if value is _ABSENT else repr(value)
    return text if len(text) <= 80 else f"{text[:77]}..."


class _Kind(NamedTuple):
    """Classes of recorded settings, and the method of `Study` that gives them as JSON."""

    classes: tuple[type[BaseModel], ...]
    method: Callable[[Study], Callable[[Any], str]]


def _capability(study: Study) -> Callable[[Any], str]:
    methods = {"embedded": study.capability_settings, "scores": study.scores_settings}
    return methods.get(study.config.capability.source, study.lmms_eval_settings)


_KINDS = {
    "questions": _Kind((QuestionsSettings,), lambda study: study.questions_settings),
    "backbone": _Kind((BackboneSettings,), lambda study: study.backbone_settings),
    "auxiliary_data": _Kind((AuxiliaryDataSettings,), lambda study: study.auxiliary_data_settings),
    "fast_data": _Kind((FastDataSettings,), lambda study: study.fast_data_settings),
    "auxiliary": _Kind((AuxiliarySettings,), lambda study: study.auxiliary_settings),
    "capability": _Kind((CapabilitySettings, LmmsEvalSettings, ScoresSettings), _capability),
    "demonstrations": _Kind((DemonstrationsSettings,), lambda study: study.demonstrations_settings),
    "vla": _Kind((VlaSettings,), lambda study: study.vla_settings),
    "rollout": _Kind((RolloutSettings,), lambda study: study.rollout_settings),
    "shard": _Kind((RolloutSettings,), lambda study: study.rollout_settings),
    "table": _Kind((TableSettings,), lambda study: lambda values: study.table_settings(values.table)),
}


def _readable(settings: Any, classes: tuple[type[BaseModel], ...]) -> dict[str, Any] | None:
    """Recorded settings, if one of the classes can read them; None for those of other versions."""
    for each in classes:
        try:
            return each.model_validate(settings).model_dump(mode="json")
        except ValidationError:
            continue
    return None


def _recorded(study: Study, root: Path, path: Path) -> Iterator[tuple[ChangedKey, Path]]:
    """The differences of the artefact whose provenance is in `path`; none for another file."""
    inside = path.relative_to(root)
    if any(part.startswith(".") for part in inside.parts):
        return
    name, values = _kind_of(inside)
    if name is None:
        return
    content = read_json(path, "run the stage that writes it again")
    record = content.get("provenance", content) if isinstance(content, dict) else {}
    recorded = _readable(record.get("settings") if isinstance(record, dict) else None, _KINDS[name].classes)
    if recorded is not None:
        yield from _artefact(study, path, name, recorded, **values)


def _kind_of(inside: Path) -> tuple[str | None, dict[str, str]]:
    """The kind of an artefact and its wildcards, from the path of its provenance below the results folder."""
    for name in ("fast_data", *_KINDS):  # before auxiliary_data, whose pattern also fits
        artefact = ARTEFACTS.get(name)
        if artefact is None or name == "table":
            continue
        file = inside
        if inside.name == PROVENANCE:
            file = inside.with_name(Path(artefact.pattern).name)  # a rollout declares its records
        values = artefact.parse(file.as_posix())
        if values is not None:
            return name, values
    return None, {}


def _artefact(
    study: Study, path: Path, name: str, recorded: Mapping[str, Any], **values: str
) -> Iterator[tuple[ChangedKey, Path]]:
    """Compare recorded settings with those that the configuration gives for the same artefact."""
    try:
        expected = json.loads(_KINDS[name].method(study)(SimpleNamespace(**values)))
    except (KeyError, AttributeError):  # a name that the configuration does not have
        described = ", ".join(f"{key} {value}" for key, value in values.items() if value)
        yield ChangedKey(f"the {name} of {described}", "it", _ABSENT), path
        return
    for difference in _compare(recorded, expected):
        yield difference, path
