"""Whether the simulators of a run are installed."""

from __future__ import annotations

from collections.abc import Iterable

from vlm4vla.config.config import Config
from vlm4vla.evaluation.simulators.check import check_installed


def check_simulators_installed(config: Config, benchmarks: Iterable[str]) -> None:
    """Refuse a simulator of one of `benchmarks` where it is not installed (UserError)."""
    for name in sorted(benchmarks):
        simulator = config.benchmarks[name].evaluation.simulator
        if simulator is not None:
            check_installed(simulator, name)
