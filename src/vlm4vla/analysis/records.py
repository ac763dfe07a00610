"""Episode records: one row an episode, read from the rollouts' episodes.parquet and checked."""

from __future__ import annotations

from collections.abc import Collection, Sequence
from pathlib import Path

import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq

from vlm4vla.conventions.benchmarks import INSTRUCTIONS_IN_A_CHAIN
from vlm4vla.conventions.episodes import COLUMNS
from vlm4vla.core.errors import UserError

RUN = ["model", "auxiliary", "variant", "benchmark", "seed"]
_IS = {
    "string": lambda kind: pa.types.is_string(kind) or pa.types.is_large_string(kind),
    "integer": pa.types.is_integer,
    "boolean": pa.types.is_boolean,
}


def read_episodes(
    paths: Sequence[Path],
    *,
    study: str | None = None,
    scale: str | None = None,
    experts: Collection[str] = (),
) -> pd.DataFrame:
    """All episodes of `paths` in one frame, sorted, so that the order of `paths` does not matter.

    `experts`: models that may execute as much of a chunk as their own settings say.

    Raises UserError with one line when a file cannot be read, lacks a column or holds a column of another
    type; when the study or scale is another than the one asked for; and when the records cannot stand in
    one table (see `check`).
    """
    frames = [_read(Path(path), study, scale) for path in sorted(map(Path, set(paths)))]
    if not frames:
        return pd.DataFrame({name: [] for name in COLUMNS})
    records = pd.concat(frames, ignore_index=True)
    check(records, experts)
    return records.sort_values([*RUN, "episode"], ignore_index=True)


def _read(path: Path, study: str | None, scale: str | None) -> pd.DataFrame:
    try:
        table = pq.read_table(path)
    except FileNotFoundError:
        raise UserError(f"{path}: no such file: run the rollout that writes it") from None
    except (pa.ArrowInvalid, OSError) as error:
        reason = str(error).splitlines()[0]
        raise UserError(
            f"{path}: not a readable parquet file ({reason}): delete it and roll out again"
        ) from None
    for name, kind in COLUMNS.items():
        if name not in table.column_names:
            raise UserError(f"{path}: column {name!r} is missing: write it as {kind}, one value an episode")
        column = table.column(name)
        if not _IS[kind](column.type):
            raise UserError(f"{path}: column {name!r} is {column.type}: write it as {kind}")
        if column.null_count:
            raise UserError(f"{path}: column {name!r} has {column.null_count} empty values: write every one")
    frame = table.select(list(COLUMNS)).to_pandas()
    if frame.empty:
        raise UserError(f"{path}: no episodes: delete the file and roll out again")
    for name, wanted in (("study", study), ("scale", scale)):
        others = sorted(set(frame[name]) - {wanted}) if wanted is not None else []
        if others:
            raise UserError(
                f"{path}: {name} is {others[0]!r}, the table's is {wanted!r}: give records of one {name}"
            )
    limit = frame["benchmark"].map(lambda name: INSTRUCTIONS_IN_A_CHAIN if name == "calvin" else 1)
    wrong = (
        (frame["solved"] < 0) | (frame["solved"] > limit) | (frame["success"] != (frame["solved"] == limit))
    )
    if wrong.any():
        row = frame[wrong].iloc[0]
        raise UserError(
            f"{path}: episode {row['episode']}: solved {row['solved']} does not fit success {row['success']} "
            f"on {row['benchmark']}: success is true exactly when all instructions are solved"
        )
    return frame


def check(records: pd.DataFrame, experts: Collection[str] = ()) -> None:
    """Refuse records that cannot stand in one table (UserError, one line).

    An episode twice in one run; several checkpoints in one run; several execution horizons, step limits
    or protocols on one benchmark. `experts` may have execution horizons of their own.
    """
    twice = records[records.duplicated([*RUN, "episode"])]
    if len(twice):
        row = twice.iloc[0]
        name = "/".join(str(row[key]) for key in RUN)
        raise UserError(f"{name}: episode {row['episode']} is there twice: give each rollout's records once")
    for by, column in (
        (RUN, "checkpoint"),
        (["benchmark"], "execution_horizon"),
        (["benchmark", "task"], "max_steps"),  # SimplerEnv's tasks differ
        (["benchmark"], "protocol"),
    ):
        # a protocol's words hold the horizon
        own = column in ("execution_horizon", "protocol") and len(experts) > 0
        bound = records[~records["model"].isin(experts)] if own else records
        for key, values in bound.groupby(by)[column]:
            found = sorted(set(values))
            if len(found) > 1:
                where = key if by == RUN else key[:1]
                raise UserError(
                    f"{'/'.join(map(str, where))}: {column} is mixed ({', '.join(map(str, found))}): "
                    "roll out again with one, or make a table of each"
                )


def outcome(records: pd.DataFrame, metric: str) -> pd.Series:
    """The integer that `metric` averages, one an episode: solved (0 to 5) or a success (0 or 1).

    Metrics: `average_length`, `success_at_1` ... `success_at_5` (chains), `success_rate`.
    """
    if metric == "average_length":
        return records["solved"].astype("int64")
    if metric == "success_rate":
        return records["success"].astype("int64")
    if metric.startswith("success_at_"):
        return (records["solved"] >= int(metric.removeprefix("success_at_"))).astype("int64")
    raise ValueError(f"unknown metric {metric!r}")


def run_of(
    records: pd.DataFrame, model: str, variant: str, benchmark: str, auxiliary: str = "none"
) -> pd.DataFrame:
    """The episodes of one cell, all training seeds together; empty where the study has none."""
    chosen = (
        (records["model"] == model)
        & (records["variant"] == variant)
        & (records["benchmark"] == benchmark)
        & (records["auxiliary"] == auxiliary)
    )
    return records[chosen]
