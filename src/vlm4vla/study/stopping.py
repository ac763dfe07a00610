"""Evaluation that stops early: the policy that each policy is compared with while it is rolled out."""

from __future__ import annotations

from dataclasses import replace

from vlm4vla.config.benchmarks import NO_TASK, RANDOM
from vlm4vla.config.config import Config
from vlm4vla.core.errors import UserError
from vlm4vla.study.runs import Run, Runs

FULL = "full"  # the variant of the backbones that the table main compares


def reference_of(config: Config, run: Run) -> Run | None:
    """The run that `run` is compared with while it is rolled out; None if `run` gets all episodes.

    `evaluation.stop.against` names it, with the training seed of `run`. Only a comparison that a table shows
    can end a rollout early. So a variant is compared with variants of the same backbone, `none` is for
    backbones after an auxiliary task, and a backbone and `random` are for the backbones of the table main.
    Reference policies, expert VLAs, and rollouts with another number of executed steps get all episodes.
    """
    stop = config.benchmarks[run.benchmark].evaluation.stop
    if stop is None or run.model not in config.backbones or run.executed:
        return None
    if stop.against in config.variants:
        reference = replace(run, variant=stop.against)
    elif stop.against == NO_TASK:
        reference = replace(run, auxiliary=NO_TASK)
    elif (run.variant, run.auxiliary) != (FULL, NO_TASK):
        return None
    elif stop.against == RANDOM:
        reference = Run(RANDOM, NO_TASK, FULL, run.benchmark, 0)
    else:
        reference = replace(run, model=stop.against)
    return None if reference == run else reference


def check_references(runs: Runs) -> None:
    """Check that each reference is itself a cell of a table, and that it is compared with another cell.

    Raises UserError (one line). Benchmarks of no table are not checked.
    """
    cells = dict.fromkeys(run for table in runs.tables() for run in runs.cells(table))
    for benchmark, settings in runs.config.benchmarks.items():
        stop = settings.evaluation.stop
        own = [run for run in cells if run.benchmark == benchmark and not run.executed]
        if stop is None or not own:
            continue
        key = f"config.yaml: benchmarks.{benchmark}.evaluation.stop.against: {stop.against!r}"
        references = list(dict.fromkeys(filter(None, (reference_of(runs.config, run) for run in own))))
        if not references:
            raise UserError(
                f"{key}: no table compares another policy with it on {benchmark}: write another policy, or "
                "remove `stop`"
            )
        for reference in references:
            if reference not in cells and reference.model != RANDOM:
                after = "" if reference.auxiliary == NO_TASK else f" after {reference.auxiliary}"
                raise UserError(
                    f"{key}: no table has the policy {reference.model}{after}, variant {reference.variant}, "
                    f"seed {reference.seed} on {benchmark}: add it to a table, or write another policy"
                )
