"""The paper's numbers as they are printed, each with the number of episodes that the paper states."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, replace
from fractions import Fraction
from pathlib import Path

from vlm4vla.analysis.chain_means import ChainMean, from_mean, from_rates
from vlm4vla.analysis.intervals import wilson
from vlm4vla.core.errors import UserError
from vlm4vla.report import names
from vlm4vla.report.rows.paper_numbers import COLUMNS, read_rows

TRIALS = {"calvin": 1000, "bridge": 4 * 24, "libero-10": 10 * 50}
TASKS = {"bridge": 4, "libero-10": 10}
READING_ERROR = 0.002  # of a rate that is read off figure 4
EXPERT = "expert"
ENCODERS = {"frozen": "freeze-vision", "trained": "full"}


@dataclass(frozen=True)
class Number:
    """One printed number. `text` is as printed, `scale` turns it into the table's unit, `error` is by how
    much it may be off beside its rounding; `rates` are success at 1 to 5 where they are published."""

    table: str
    model: str
    variant: str
    auxiliary: str
    benchmark: str
    metric: str
    text: str
    scale: float
    error: float = 0.0
    kind: str = "vlm4vla"
    note: str = ""
    rates: tuple[float, ...] = ()

    @property
    def value(self) -> float:
        """In the table's unit: 0 to 5, or 0 to 1."""
        return round(float(self.text) * self.scale, 6)

    @property
    def trials(self) -> int:
        return TRIALS[self.benchmark]

    @property
    def is_rate(self) -> bool:
        return self.metric != "average_length"

    @property
    def cell(self) -> tuple[str, str, str, str, str]:
        """What was measured, whichever table prints it."""
        return self.model, self.variant, self.auxiliary, self.benchmark, self.metric

    @property
    def label(self) -> str:
        """`Kosmos-2, all trained, SimplerEnv Bridge`."""
        after = "" if self.auxiliary == "none" else f" after {names.auxiliary(self.auxiliary)}"
        where = names.PAPER_BENCHMARKS[self.benchmark]
        return f"{names.model(self.model)}{after}, {names.variant(self.variant)}, {where}"

    def range(self) -> tuple[float, float]:
        """The values that are printed like this."""
        decimals = self.text.partition(".")[2]
        half = self.scale * float(Fraction(1, 2 * 10 ** len(decimals))) + self.error
        return self.value - half, self.value + half

    def interval(self) -> tuple[float, float, str] | None:
        """95 % interval and where it comes from; None for a mean alone, from which none follows."""
        if self.is_rate:
            return (*wilson(self.value * self.trials, self.trials), "Wilson")
        chain = self.chain()
        return (*chain.interval(), "from success at 1 to 5") if chain.known else None

    def chain(self) -> ChainMean:
        """An average length and what is known of its variance.

        Where rates are published and the printed mean is not theirs, the disagreement counts as an error.
        """
        if not self.rates:
            return from_mean(self.value, self.trials)
        chain = from_rates(self.rates, self.trials, READING_ERROR)
        error = max(chain.error, abs(chain.mean - self.value))
        return replace(chain, mean=self.value, error=error)


def read_numbers(folder: Path) -> list[Number]:
    """All numbers of `folder` but the correlations, in the paper's order. Raises UserError naming a cell."""
    found = [*_scores(folder, "main"), *_scores(folder, "freeze"), *_fast(folder), *_auxiliary(folder)]
    for number in found:
        limit = 5 if number.metric == "average_length" else 1
        try:
            good = 0 <= number.value <= limit
        except ValueError:
            good = False
        if not good:
            raise UserError(
                f"{folder}: {number.table}: {number.label}: {number.text!r} is no number from 0 to "
                f"{limit / number.scale:g}: write it as the paper prints it"
            )
    return found


def _scores(folder: Path, table: str) -> Iterator[Number]:
    for row in read_rows(folder / f"{table}.csv", {"model", "calvin_abcd_avg_len", "simpler_bridge_success"}):
        for column, (benchmark, metric, scale) in COLUMNS.items():
            if row.get(column):
                yield Number(
                    table,
                    row["model"],
                    row.get("variant") or "full",
                    "none",
                    benchmark,
                    metric,
                    row[column],
                    scale,
                    kind=row.get("kind") or "vlm4vla",
                    note=row.get("note") or "",
                )


def _fast(folder: Path) -> Iterator[Number]:
    path = folder / "fast_injection.csv"
    for row in read_rows(path, {"model", "vlm_finetune", "vla_vision_encoder", "simpler_bridge_success"}):
        encoder = row["vla_vision_encoder"]
        if encoder not in ENCODERS:
            raise UserError(f"{path}: vla_vision_encoder {encoder!r}: write {' or '.join(ENCODERS)}")
        cell = (row["model"], ENCODERS[encoder], row["vlm_finetune"])
        yield Number(
            "fast_injection", *cell, "bridge", "success_rate", row["simpler_bridge_success"], scale=0.01
        )


def _auxiliary(folder: Path) -> Iterator[Number]:
    path = folder / "auxiliary_calvin.csv"
    columns = [f"task{count}" for count in range(1, 6)]
    for row in read_rows(path, {"base", "auxiliary", "avg_len_over_5", *columns}):
        cell = ("auxiliary", row["base"], "full", row["auxiliary"], "calvin")
        try:
            rates = tuple(float(row[column]) for column in columns)
            from_rates(rates, TRIALS["calvin"])
        except ValueError:
            raise UserError(
                f"{path}: {row['base']}, {row['auxiliary']}: task1 to task5 are not five rates that fall "
                "from 1 to 0: write them as read off the figure"
            ) from None
        average = row["avg_len_over_5"]
        yield Number(*cell, "average_length", average, 5.0, error=5 * READING_ERROR, rates=rates)
        for count, column in enumerate(columns, start=1):
            yield Number(*cell, f"success_at_{count}", row[column], 1.0, error=READING_ERROR)
