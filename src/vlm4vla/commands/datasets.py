"""Commands that write demonstration datasets outside the workflow."""

from __future__ import annotations

import argparse
import importlib
from collections.abc import Sequence
from functools import partial
from pathlib import Path

from vlm4vla.commands.command import Command, option
from vlm4vla.conventions.benchmarks import BENCHMARKS, METAWORLD
from vlm4vla.core.output_lock import alone


def run_convert(arguments: argparse.Namespace) -> None:
    """Convert a raw dataset to LeRobot's format."""
    with alone(arguments.output):
        importlib.import_module("vlm4vla.data.converters.convert").convert(
            arguments.kind,
            arguments.source,
            arguments.output,
            pictures=arguments.pictures,
            leave_out_blank=arguments.leave_out_blank,
        )


def run_demonstrations(arguments: argparse.Namespace, simulator: str) -> None:
    """Record scripted demonstrations on a real simulator."""
    module = importlib.import_module(f"vlm4vla.evaluation.simulators.{simulator}_demonstrations")
    solved = module.record_dataset(
        arguments.output,
        tasks=arguments.tasks,
        states=arguments.states,
        size=arguments.size,
        render=arguments.render,
    )
    print(f"{arguments.output}: {solved} of {len(arguments.tasks) * len(arguments.states)} episodes solved")


def _demonstrations(
    simulator: str, title: str, tasks: Sequence[int], tasks_help: str, states: Sequence[int], states_help: str
) -> Command:
    """The command that records demonstrations on `simulator`, with its tasks and initial states."""
    return Command(
        f"record scripted demonstrations on the real {title} simulator (docs/simulators.md)",
        partial(run_demonstrations, simulator=simulator),
        (
            option("--tasks", type=int, nargs="+", default=[*tasks], help=f"{tasks_help} (default: all)"),
            option("--states", type=int, nargs="+", default=[*states], help=states_help),
            option(
                "--size",
                type=int,
                default=224,
                help="height and width of the images, in pixels (default: %(default)s)",
            ),
            option(
                "--render",
                choices=("cpu", "gpu"),
                default="cpu",
                help="where images are rendered (default: %(default)s)",
            ),
            option("--output", type=Path, required=True, help="the folder of the LeRobot dataset"),
        ),
    )


DATASETS = {
    "convert": Command(
        "convert raw CALVIN or LIBERO demonstrations to a LeRobot v3.0 dataset; resumes if interrupted",
        run_convert,
        (
            option(
                "kind",
                choices=[each.raw_format for each in BENCHMARKS.values() if each.raw_format],
                help="format of the raw demonstrations",
            ),
            option(
                "source",
                type=Path,
                help="CALVIN: folder of a split; LIBERO: an .hdf5 file or a folder of them",
            ),
            option(
                "--pictures",
                choices=("video", "png"),
                default="video",
                help="format of the images (default: %(default)s)",
            ),
            option(
                "--leave-out-blank",
                action="store_true",
                help="leave out episodes without an instruction, instead of refusing the dataset",
            ),
            option("--output", type=Path, required=True, help="the folder of the LeRobot dataset"),
        ),
        resumes=True,
    ),
    "libero-demonstrations": _demonstrations(
        "libero",
        "LIBERO",
        (0, 1, 2, 4, 5, 6, 7, 8),
        "numbers of LIBERO-10 tasks, all but 3 and 9, which have no script",
        range(30),
        "numbers of initial states, 0 to 49 (default: 0 to 29; the others are for evaluations)",
    ),
    "metaworld-demonstrations": _demonstrations(
        "metaworld",
        "MetaWorld",
        range(METAWORLD.tasks),
        f"numbers of MetaWorld tasks, 0 to {METAWORLD.tasks - 1}",
        range(1000, 1050),
        "numbers of initial states, 1000 or more (default: 1000 to 1049)",
    ),
}
