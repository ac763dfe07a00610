"""Read and check episode records: one row per episode, from the episodes.parquet of the rollouts."""

from __future__ import annotations

import itertools
import math
import weakref
from collections.abc import Callable, Collection, Mapping, Sequence
from pathlib import Path

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq

from vlm4vla.analysis.stopped import PLANNED, can_stop, fill_stops, with_stop
from vlm4vla.conventions.benchmarks import facts
from vlm4vla.conventions.episodes import COLUMNS, SCHEMA, stop_of
from vlm4vla.core.artefacts import file_hash, parse_json
from vlm4vla.core.errors import UserError

RUN = ["model", "auxiliary", "variant", "benchmark", "seed"]
# For each type that a rollout writes: its name in messages, and the types that are accepted instead.
_KINDS = {
    pa.string(): ("string", lambda kind: pa.types.is_string(kind) or pa.types.is_large_string(kind)),
    pa.int64(): ("integer", pa.types.is_integer),
    pa.bool_(): ("boolean", pa.types.is_boolean),
}


def read_episodes(
    paths: Sequence[Path],
    *,
    study: str | None = None,
    scale: str | None = None,
    experts: Collection[str] = (),
    recorded: bool = True,
    run_of: Callable[[Path], Mapping[str, str | int]] = lambda path: {},
) -> pd.DataFrame:
    """Read all episodes of `paths` into one sorted frame. The order of `paths` has no effect.

    `study`, `scale`: the expected values, if given. `experts`: models that can have their own execution
    horizon. `recorded`: compare each file with the provenance next to it. `run_of`: gives the values of `RUN`
    that the path of a file states, or none for a file from elsewhere.

    Raises UserError if a file cannot be read, if a column is missing or has another type, if the study, the
    scale or the run is not the expected one, or if the records do not fit into one table (see `check`).
    """
    frames = [_read(path, study, scale, recorded, run_of(path)) for path in sorted(map(Path, set(paths)))]
    if not frames:
        return pd.DataFrame({name: [] for name in COLUMNS})
    records = fill_stops(pd.concat(frames, ignore_index=True))
    check(records, experts)
    return records.sort_values([*RUN, "episode"], ignore_index=True)


def _read(
    path: Path, study: str | None, scale: str | None, recorded: bool, run: Mapping[str, str | int]
) -> pd.DataFrame:
    try:
        table = pq.read_table(path)
    except FileNotFoundError:
        raise UserError(f"{path}: no such file: run the rollout that writes it") from None
    except (pa.ArrowInvalid, OSError) as error:
        reason = str(error).splitlines()[0]
        raise UserError(
            f"{path}: not a readable parquet file ({reason}): delete it and run the rollout again"
        ) from None
    for name, written in zip(COLUMNS, SCHEMA.types, strict=True):
        kind, accepts = _KINDS[written]
        if name not in table.column_names:
            raise UserError(f"{path}: column {name!r} is missing: write it as {kind}, one value per episode")
        column = table.column(name)
        if not accepts(column.type):
            raise UserError(f"{path}: column {name!r} is {column.type}: write it as {kind}")
        if column.null_count:
            raise UserError(f"{path}: column {name!r} has {column.null_count} empty values: fill them all")
    frame = table.select(COLUMNS).to_pandas()
    if frame.empty:
        raise UserError(f"{path}: no episodes: delete the file and run the rollout again")
    for name, wanted in (("study", study), ("scale", scale)):
        others = sorted(set(frame[name]) - {wanted}) if wanted is not None else []
        if others:
            raise UserError(
                f"{path}: {name} is {others[0]!r}, but the table's is {wanted!r}: use records of one {name}"
            )
    for name, wanted in run.items():
        others = sorted(set(frame[name]) - {wanted})
        if others:
            raise UserError(
                f"{path}: {name} is {others[0]!r}, but the folder is that of {wanted!r}: move the records to "
                "the folder of their own rollout"
            )
    limit = frame["benchmark"].map(lambda name: facts(name).instructions_per_episode)
    wrong = (
        (frame["solved"] < 0) | (frame["solved"] > limit) | (frame["success"] != (frame["solved"] == limit))
    )
    if wrong.any():
        row = frame[wrong].iloc[0]
        raise UserError(
            f"{path}: episode {row['episode']}: solved {row['solved']} contradicts success {row['success']} "
            f"on {row['benchmark']}: write success true if and only if all instructions are solved"
        )
    if recorded:
        check_recorded(path, frame)
    try:
        stop = stop_of(table.schema)
        return frame if stop is None else with_stop(frame, stop)
    except ValueError as error:
        raise UserError(f"{path}: {error}: delete the file and run the rollout again") from None


def check_recorded(path: Path, records: pd.DataFrame) -> None:
    """Raise UserError if the provenance next to a file of records has other facts about it.

    These are its hash, the number of episodes, the checkpoint, and the mean of `solved`. `records`: at least
    the columns `checkpoint` and `solved`.

    Records from elsewhere have no provenance, and are taken as they are.
    """
    beside = path.parent / "provenance.json"
    if not beside.exists():
        return
    try:
        record = parse_json(beside.read_text())
        stated, count = (record.get("files") or {}).get(path.name), record.get("episodes")
        checkpoint, solved = record.get("checkpoint"), record.get("mean_solved")
        solved = None if solved is None else float(solved)
    except (OSError, ValueError, OverflowError, AttributeError, TypeError):
        raise UserError(f"{beside}: not a provenance record: run the rollout again") from None
    if count is not None and count != len(records):
        raise UserError(
            f"{path}: has {len(records)} episodes, but {beside} has {count!r}: run the rollout again, or use "
            "a complete copy"
        )
    others = sorted(set(records["checkpoint"]) - {checkpoint}) if checkpoint is not None else []
    mean = float(records["solved"].mean())
    for name, found, wanted, differs in (
        ("checkpoint", others[0] if others else checkpoint, checkpoint, bool(others)),
        ("mean of solved", mean, solved, solved is not None and not math.isclose(mean, solved, abs_tol=1e-9)),
    ):
        if differs:
            raise UserError(
                f"{path}: its {name} is {found}, but {beside} has {wanted}: run the rollout again, or use "
                "unchanged copies of both"
            )
    if stated is not None and stated != file_hash(path):
        raise UserError(
            f"{path}: changed since the rollout wrote it (its hash is not the one in {beside}): run the "
            "rollout again, or use an unchanged copy"
        )


def check(records: pd.DataFrame, experts: Collection[str] = ()) -> None:
    """Raise UserError if the records do not fit into one table.

    They do not fit if a run has an episode twice, lacks an episode or has several checkpoints. A rollout that
    stopped early needs the episodes before its stop only. They do not
    fit if a benchmark has several execution horizons, step limits, protocols or rollout seeds, or an episode
    with several tasks or initial states. Models in `experts` can have their own execution horizon and
    protocol.
    """
    duplicates = records[records.duplicated([*RUN, "episode"])]
    if len(duplicates):
        row = duplicates.iloc[0]
        name = "/".join(str(row[key]) for key in RUN)
        raise UserError(f"{name}: episode {row['episode']} is duplicated: use each rollout once")
    for by, column in (
        (RUN, "checkpoint"),
        (["benchmark"], "execution_horizon"),
        (["benchmark", "task"], "max_steps"),  # the tasks of SimplerEnv differ
        (["benchmark"], "protocol"),
        (["benchmark"], "rollout_seed"),
    ):
        # The text of a protocol contains the execution horizon.
        exempt = column in ("execution_horizon", "protocol") and len(experts) > 0
        checked = records[~records["model"].isin(experts)] if exempt else records
        for key, values in checked.groupby(by)[column]:
            found = sorted(set(values))
            if len(found) > 1:
                where = key if by == RUN else key[:1]
                raise UserError(
                    f"{'/'.join(map(str, where))}: {column} is mixed ({', '.join(map(str, found))}): "
                    "run the rollouts again with one value, or make a table for each value"
                )
    _check_complete(records)


def _check_complete(records: pd.DataFrame) -> None:
    """Raise UserError unless all runs of a benchmark have the same episodes.

    A part of a run has another mean than the run, and scores on other initial states cannot be paired.
    """
    for benchmark, own in records.groupby("benchmark"):
        wanted = max(int(own["episode"].max()) + 1, int(own[PLANNED].max()) if PLANNED in own else 0)
        for run, found in own.groupby(RUN)["episode"]:
            if can_stop(own.loc[found.index]):  # its episodes were checked when its file was read
                continue
            name = "/".join(map(str, run))
            if found.min() < 0:
                raise UserError(f"{name}: episode {found.min()}: write the numbers of episodes from 0")
            if len(found) < wanted:
                numbers = set(found)
                missing = next(number for number in itertools.count() if number not in numbers)
                raise UserError(
                    f"{name}: has {len(found)} of {wanted} episodes of {benchmark}: run the missing episodes "
                    f"(the first one is {missing})"
                )
        for column in ("task", "initial_state"):
            mixed = own.groupby("episode")[column].nunique()
            if (mixed > 1).any():
                episode = int(mixed.idxmax())
                values = sorted(set(own[own["episode"] == episode][column]))
                raise UserError(
                    f"{benchmark}: episode {episode} has several values of {column} "
                    f"({', '.join(map(str, values))}): run the rollouts again with one protocol"
                )


def outcome(records: pd.DataFrame, metric: str) -> pd.Series:
    """The integer of each episode that `metric` averages: instructions solved (0 to 5) or success (0 or 1).

    Metrics: `average_length`, `success_at_1` ... `success_at_5` (chains), `success_rate`. Raises ValueError
    for another metric.
    """
    if metric == "average_length":
        return records["solved"].astype("int64")
    if metric == "success_rate":
        return records["success"].astype("int64")
    if metric.startswith("success_at_"):
        return (records["solved"] >= int(metric.removeprefix("success_at_"))).astype("int64")
    raise ValueError(f"unknown metric {metric!r}")


def cell_records(
    records: pd.DataFrame, model: str, variant: str, benchmark: str, auxiliary: str = "none"
) -> pd.DataFrame:
    """The episodes of one cell, with all training seeds together. Empty if the study has none."""
    positions = _cells(records).get((model, variant, benchmark, auxiliary))
    return records.iloc[:0] if positions is None else records.take(positions)


# The rows of each cell, by the identity of the records. A table asks for its cells hundreds of times, and
# comparing strings is slow.
_ROWS: dict[int, tuple[int, dict[tuple[str, ...], np.ndarray]]] = {}


def _cells(records: pd.DataFrame) -> dict[tuple[str, ...], np.ndarray]:
    """The positions of the rows of each (model, variant, benchmark, auxiliary)."""
    known = _ROWS.get(id(records))
    if known is None or known[0] != len(records):
        if known is None:
            weakref.finalize(records, _ROWS.pop, id(records), None)
        keys = ["model", "variant", "benchmark", "auxiliary"]
        known = _ROWS[id(records)] = (len(records), records.groupby(keys, sort=False).indices)
    return known[1]
