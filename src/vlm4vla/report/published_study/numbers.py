"""The paper's numbers as printed, each with the number of episodes that the paper states."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, replace
from fractions import Fraction
from pathlib import Path

from vlm4vla.analysis.chain_means import ChainMean, from_mean, from_rates
from vlm4vla.analysis.intervals import wilson
from vlm4vla.analysis.published_numbers import possible_counts
from vlm4vla.conventions.benchmarks import AVERAGE_LENGTH, BRIDGE, CALVIN, SUCCESS_RATE, facts, maximum
from vlm4vla.core.csv_files import number as plain_number
from vlm4vla.core.errors import UserError
from vlm4vla.report import names
from vlm4vla.report.rows.paper_numbers import COLUMNS, read_notes, read_rows

READING_ERROR = 0.002  # of a rate that was read from figure 4
EXPERT = "expert"
# Where the paper prints the numbers of each of its tables
SOURCES = {
    "main": "tables 1 and 2",
    "freeze": "table 3",
    "fast_injection": "table 4",
    "auxiliary": "figure 4",
}
ENCODERS = {"frozen": "freeze-vision", "trained": "full"}


@dataclass(frozen=True)
class PublishedNumber:
    """One printed number.

    `text`: the number as printed. `scale`: the factor that converts it into the table's unit. `error`: the
    largest possible error besides rounding. `rates`: success at 1 to 5, if the paper has these rates. `note`:
    where the number is published, if not in the paper. `doubt`: why it may not show what the paper describes.
    """

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
    doubt: str = ""
    rates: tuple[float, ...] = ()

    @property
    def value(self) -> float:
        """The number in the table's unit: 0 to 5, or 0 to 1."""
        return round(float(self.text) * self.scale, 6)

    @property
    def trials(self) -> int:
        """The number of chains or trials that the paper states."""
        return facts(self.benchmark).paper_trials

    @property
    def is_rate(self) -> bool:
        return self.metric != AVERAGE_LENGTH

    @property
    def cell(self) -> tuple[str, str, str, str, str]:
        """The policy, the benchmark and the metric. Two tables can print the same cell."""
        return self.model, self.variant, self.auxiliary, self.benchmark, self.metric

    @property
    def label(self) -> str:
        """`Kosmos-2, all trained, SimplerEnv Bridge`."""
        after = "" if self.auxiliary == "none" else f" after {names.auxiliary(self.auxiliary)}"
        where = facts(self.benchmark).paper_title
        return f"{names.model(self.model)}{after}, {names.variant(self.variant)}, {where}"

    def range(self) -> tuple[float, float]:
        """The lowest and the highest value that are printed as `text`."""
        decimals = self.text.partition(".")[2]
        half = self.scale * float(Fraction(1, 2 * 10 ** len(decimals))) + self.error
        return self.value - half, self.value + half

    def interval(self) -> tuple[float, float, str] | None:
        """The 95 % interval and its source; None for a mean without rates, which does not determine it."""
        if self.is_rate:
            return (*wilson(self.value * self.trials, self.trials), "Wilson")
        chain = self.chain()
        return (*chain.interval(), "from success at 1 to 5") if chain.known else None

    def chain(self) -> ChainMean:
        """An average length and the bounds of its variance.

        If the printed mean is not the sum of the published rates, the difference counts as an error.
        """
        if not self.rates:
            return from_mean(self.value, self.trials)
        chain = from_rates(self.rates, self.trials, READING_ERROR)
        error = max(chain.error, abs(chain.mean - self.value))
        return replace(chain, mean=self.value, error=error)


def read_numbers(folder: Path) -> list[PublishedNumber]:
    """All numbers in `folder` except the correlations, in the paper's order.

    Raises UserError that names the cell of a number that cannot be right.
    """
    found = [*_scores(folder, "main"), *_scores(folder, "freeze"), *_fast(folder), *_auxiliary(folder)]
    doubts = read_notes(folder)
    found = [replace(number, doubt=doubts.get((number.model, number.benchmark), "")) for number in found]
    for number in found:
        limit = maximum(number.benchmark, number.metric)
        try:
            valid = 0 <= plain_number(number.text) * number.scale <= limit
        except ValueError:
            valid = False
        if not valid:
            raise UserError(
                f"{folder}: {number.table}: {number.label}: {number.text!r} is not a number from 0 to "
                f"{limit / number.scale:g}: write the number as the paper prints it"
            )
        if (
            number.scale == 0.01
            and 0 < number.value < 0.01
            and not possible_counts(number.text, number.trials)
        ):
            raise UserError(
                f"{folder}: {number.table}: {number.label}: {number.text!r} percent is less than one of "
                f"{number.trials} trials: write a percentage, not a share of 1"
            )
    return found


def _scores(folder: Path, table: str) -> Iterator[PublishedNumber]:
    needed = {"model", "calvin_abcd_avg_len", "simpler_bridge_success"}
    for row in read_rows(folder / f"{table}.csv", needed, ("model", "variant")):
        for column, (benchmark, metric, scale) in COLUMNS.items():
            if row.get(column):
                yield PublishedNumber(
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


def _fast(folder: Path) -> Iterator[PublishedNumber]:
    path = folder / "fast_injection.csv"
    needed = {"model", "vlm_finetune", "vla_vision_encoder", "simpler_bridge_success"}
    for row in read_rows(path, needed, ("model", "vlm_finetune", "vla_vision_encoder")):
        encoder = row["vla_vision_encoder"]
        if encoder not in ENCODERS:
            raise UserError(f"{path}: vla_vision_encoder {encoder!r}: write {' or '.join(ENCODERS)}")
        cell = (row["model"], ENCODERS[encoder], row["vlm_finetune"])
        yield PublishedNumber(
            "fast_injection", *cell, BRIDGE.name, SUCCESS_RATE, row["simpler_bridge_success"], scale=0.01
        )


def _auxiliary(folder: Path) -> Iterator[PublishedNumber]:
    path = folder / "auxiliary_calvin.csv"
    columns = {f"task{count}": metric for count, metric in enumerate(CALVIN.metrics[1:], start=1)}
    for row in read_rows(path, {"base", "auxiliary", "avg_len_over_5", *columns}, ("base", "auxiliary")):
        cell = ("auxiliary", row["base"], "full", row["auxiliary"], CALVIN.name)
        try:
            rates = tuple(plain_number(row[column]) for column in columns)
            from_rates(rates, CALVIN.paper_trials)
        except ValueError:
            raise UserError(
                f"{path}: {row['base']}, {row['auxiliary']}: task1 to task5 are not five rates from 1 to 0 "
                "that do not increase: write the rates as read from the figure"
            ) from None
        average = row["avg_len_over_5"]
        most = CALVIN.maximum(AVERAGE_LENGTH)
        yield PublishedNumber(*cell, AVERAGE_LENGTH, average, most, error=most * READING_ERROR, rates=rates)
        for column, metric in columns.items():
            yield PublishedNumber(*cell, metric, row[column], 1.0, error=READING_ERROR)
