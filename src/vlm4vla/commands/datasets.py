"""Commands that write demonstration datasets outside the workflow."""

from __future__ import annotations

import argparse
import importlib
from pathlib import Path

from vlm4vla.commands.command import Command, option
from vlm4vla.conventions.benchmarks import BENCHMARKS
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


def run_libero_demonstrations(arguments: argparse.Namespace) -> None:
    """Record scripted demonstrations on the real LIBERO simulator."""
    solved = importlib.import_module("vlm4vla.evaluation.simulators.libero_demonstrations").record_dataset(
        arguments.output,
        tasks=arguments.tasks,
        states=arguments.states,
        size=arguments.size,
        render=arguments.render,
    )
    print(f"{arguments.output}: {solved} of {len(arguments.tasks) * len(arguments.states)} episodes solved")


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
    "libero-demonstrations": Command(
        "record scripted demonstrations on the real LIBERO simulator (docs/simulators.md)",
        run_libero_demonstrations,
        (
            option(
                "--tasks",
                type=int,
                nargs="+",
                default=[0, 1, 2, 4, 5, 6, 7, 8],
                help="numbers of LIBERO-10 tasks, all but 3 and 9, which have no script (default: all eight)",
            ),
            option(
                "--states",
                type=int,
                nargs="+",
                default=[*range(30)],
                help="numbers of initial states, 0 to 49 (default: 0 to 29; the others are for evaluations)",
            ),
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
    ),
}
