"""Measured rates: the seconds and bytes per unit of work, by stage and kind.

`speed/measured_rates.py` measures the rates on a finished study and writes the file. A kind is a path of
words with the most important word first, such as `qwen3_vl/mlp/none` for the training of a policy. For a kind
that was not measured, an estimate uses the mean of the kinds that share the most first words, and says so.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from vlm4vla.core.artefacts import parse_json
from vlm4vla.core.errors import UserError

FILE = Path("speed/rates.json")
CPU = "cpu"


@dataclass(frozen=True)
class Rate:
    """The rate of a stage and kind on one device.

    `device`: "cpu", or a model of `cluster.GPUS`. `jobs`: the number of jobs that were measured. `seconds`:
    core seconds or GPU seconds per `unit`. `start`: further seconds per job. `megabytes`: disk space of the
    output of a job.
    """

    stage: str
    kind: str
    unit: str
    seconds: float
    start: float = 0.0
    megabytes: float = 0.0
    jobs: int = 1
    device: str = CPU


@dataclass(frozen=True)
class FoundRate:
    """A rate.

    `exact`: it was measured for the kind itself, not for similar kinds. `related`: it was measured for kinds
    with the same first word.
    """

    rate: Rate
    exact: bool
    related: bool = True


class Rates:
    """The rates of one file. `machine`: the machine that they were measured on. `source`: the file's path."""

    def __init__(self, rates: Sequence[Rate], machine: str = "", source: str = ""):
        self.rates = list(rates)
        self.machine = machine
        self.source = source

    def find(self, stage: str, kind: str, device: str = CPU) -> FoundRate | None:
        """The rate of this kind, or the mean of the most similar kinds; None if the stage was not measured.

        On a GPU, similar kinds do not count, because the rate of a model does not follow from the rate of
        another model.
        """
        known = [rate for rate in self.rates if (rate.stage, rate.device) == (stage, device)]
        same = [rate for rate in known if rate.kind == kind]
        if same:
            return FoundRate(same[0], True)
        if not known or device != CPU:
            return None
        words = kind.split("/")
        shared = [_shared_words(words, rate.kind.split("/")) for rate in known]
        similar = [rate for rate, count in zip(known, shared, strict=True) if count == max(shared)]
        return FoundRate(_mean(similar, kind), False, max(shared) > 0)


def _shared_words(words: list[str], others: list[str]) -> int:
    """The number of equal words at the beginning."""
    count = 0
    for word, other in zip(words, others, strict=False):
        if word != other:
            break
        count += 1
    return count


def _mean(rates: list[Rate], kind: str) -> Rate:
    jobs = sum(rate.jobs for rate in rates)

    def mean(name: str) -> float:
        return sum(getattr(rate, name) * rate.jobs for rate in rates) / jobs

    first = rates[0]
    return Rate(
        first.stage, kind, first.unit, mean("seconds"), mean("start"), mean("megabytes"), jobs, first.device
    )


def read_rates(path: Path) -> Rates:
    """The rates in the file `path`; no rates if it is missing. Raises UserError for another kind of file."""
    if not path.is_file():
        return Rates([])
    try:
        record = parse_json(path.read_text())
        rates = [Rate(**rate) for rate in record["rates"]]
    except (ValueError, KeyError, TypeError) as error:
        raise UserError(
            f"{path}: not a file of rates ({error}): write it again with speed/measured_rates.py"
        ) from None
    return Rates(rates, record.get("machine", ""), str(path))


def rates_json(rates: Sequence[Rate], **about: Any) -> dict[str, Any]:
    """The content of a file for `read_rates`. `about`: further keys, such as machine and commit."""
    return about | {"rates": [asdict(rate) for rate in rates]}
