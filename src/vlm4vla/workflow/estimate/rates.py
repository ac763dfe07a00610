"""Measured rates: seconds and bytes of work that was done, by stage and kind.

`speed/measured_rates.py` writes the file from a finished study. A kind is a path of words, the
weightiest first (`qwen3_vl/mlp/none` for training a policy); where a kind was not measured, the mean of those
that share most of its first words stands for it, and that is said.
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from vlm4vla.core.errors import UserError

FILE = Path("speed/rates.json")
CPU = "cpu"


@dataclass(frozen=True)
class Rate:
    """Of `jobs` jobs of a stage and kind on `device` (cpu, or a model of `cluster.GPUS`).

    `seconds`: core seconds (or GPU seconds) for one `unit`; `start`: seconds of a job beside its units;
    `megabytes`: what a job leaves on disk.
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
class Found:
    """A rate, and whether it is of the very kind that was asked for."""

    rate: Rate
    exact: bool


class Rates:
    """The rates of one file; `machine` says what they were measured on."""

    def __init__(self, rates: Sequence[Rate], machine: str = "", source: str = ""):
        self.rates = list(rates)
        self.machine = machine
        self.source = source

    def find(self, stage: str, kind: str, device: str = CPU) -> Found | None:
        """The rate of this kind, or the mean of the nearest ones; None where the stage was not measured.

        On a GPU nothing stands for another kind: a larger model is no multiple of a smaller one.
        """
        known = [rate for rate in self.rates if (rate.stage, rate.device) == (stage, device)]
        same = [rate for rate in known if rate.kind == kind]
        if same:
            return Found(same[0], True)
        if not known or device != CPU:
            return None
        words = kind.split("/")
        shared = [_shared(words, rate.kind.split("/")) for rate in known]
        near = [rate for rate, count in zip(known, shared, strict=True) if count == max(shared)]
        return Found(_mean(near, kind), False)


def _shared(words: list[str], others: list[str]) -> int:
    """How many first words are the same."""
    count = 0
    for one, other in zip(words, others, strict=False):
        if one != other:
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
    """The rates in `path`; none where the file is missing. Raises UserError for a file that is no such."""
    if not path.is_file():
        return Rates([])
    try:
        record = json.loads(path.read_text())
        rates = [Rate(**rate) for rate in record["rates"]]
    except (ValueError, KeyError, TypeError) as error:
        raise UserError(
            f"{path}: no file of rates ({error}): write it again with speed/measured_rates.py"
        ) from None
    return Rates(rates, record.get("machine", ""), str(path))


def rates_json(rates: Sequence[Rate], **about: Any) -> dict[str, Any]:
    """What `read_rates` reads; `about`: machine, commit, ..."""
    return about | {"rates": [asdict(rate) for rate in rates]}
