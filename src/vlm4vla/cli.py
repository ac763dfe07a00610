"""The command `vlm4vla`: one sub-command a stage, and tools on what stages have made.

Heavy modules are imported by the command that runs.
"""

from __future__ import annotations

import argparse
import contextlib
import fcntl
import importlib
import json
import os
import sys
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from pydantic import ValidationError

from vlm4vla import capability_settings, config, extensions
from vlm4vla import settings as stages
from vlm4vla.artefacts import UserError, canonical_json, file_hash, write_json
from vlm4vla.estimate.assumptions import MFU
from vlm4vla.estimate.rates import FILE as RATES
from vlm4vla.start_up import load
from vlm4vla.training import launch
from vlm4vla.training.processes import TOLD

# stage: (module of its `run`, settings model, inputs)
STAGES = {
    "questions": ("vlm4vla.simulation.questions_stage", stages.QuestionsSettings, ()),
    "backbone": ("vlm4vla.backbones.stage", stages.BackboneSettings, ("questions",)),
    "auxiliary-data": ("vlm4vla.auxiliary.data_stage", stages.AuxiliaryDataSettings, ()),
    "fast-data": ("vlm4vla.auxiliary.fast_stage", stages.FastDataSettings, ("demonstrations",)),
    "auxiliary": ("vlm4vla.auxiliary.stage", stages.AuxiliarySettings, ("backbone", "data")),
    "capability": ("vlm4vla.capability.stage", stages.CapabilitySettings, ("backbone", "questions")),
    "capability-lmms-eval": (
        "vlm4vla.capability.lmms_eval_stage",
        capability_settings.LmmsEvalSettings,
        ("backbone",),
    ),
    "capability-scores": ("vlm4vla.capability.published_scores", capability_settings.ScoresSettings, ()),
    "demonstrations": ("vlm4vla.demonstrations_stage", stages.DemonstrationsSettings, ()),
    "vla": ("vlm4vla.training.vla_stage", stages.VlaSettings, ("backbone", "demonstrations")),
    "rollout": ("vlm4vla.rollout.stage", stages.RolloutSettings, ("vla", "demonstrations")),
}
# Stages that may lack inputs: floor and ceiling have no VLA, a checkpoint learns from no questions.
OPTIONAL = {"rollout", "backbone"}


def option(*names: str, **how: Any) -> tuple[tuple[str, ...], dict[str, Any]]:
    """An argument of a command, as `add_argument` takes it."""
    return names, how


@dataclass(frozen=True)
class Command:
    """A sub-command beside the stages. `run` takes the parsed arguments; `timed`: its end is told, with the
    seconds it took, which would spoil an output that programs read."""

    help: str
    run: Callable[[argparse.Namespace], None]
    arguments: tuple[tuple[tuple[str, ...], dict[str, Any]], ...]
    timed: bool = True


def parser() -> argparse.ArgumentParser:
    """The command's arguments."""
    top = argparse.ArgumentParser(prog="vlm4vla", description="Stages of the VLM4VLA study, and its tools.")
    commands = top.add_subparsers(dest="command", required=True)
    for stage, (_, _, inputs) in STAGES.items():
        command = commands.add_parser(stage, help=f"run the stage {stage}")
        command.add_argument("--settings", required=True, help="the stage's settings, as JSON")
        for name in inputs:
            command.add_argument(f"--{name}", type=Path, required=stage not in OPTIONAL, help="a folder")
        command.add_argument("--output", type=Path, required=True)
    for name, tool in COMMANDS.items():
        command = commands.add_parser(name, help=tool.help)
        for names, how in tool.arguments:
            command.add_argument(*names, **how)
    return top


def read_settings(text: str, model: Any) -> Any:
    """Settings from JSON. Raises UserError naming the key at fault."""
    try:
        return model.model_validate_json(text)
    except ValidationError as error:
        fault = error.errors()[0]
        key = ".".join(map(str, fault["loc"])) or "settings"
        raise UserError(f"--settings: {key}: {fault['msg']}") from None


def is_file(output: Path) -> bool:
    """Whether a stage makes one JSON file, not a folder; a folder's name may hold dots."""
    return output.suffix == ".json"


@contextlib.contextmanager
def alone(output: Path) -> Iterator[bool]:
    """Hold `output` for this process; yields whether another held it before.

    A killed workflow leaves its jobs running: the rerun's job waits here instead of writing beside them.
    """
    folder = output.parent if is_file(output) else output
    folder.mkdir(parents=True, exist_ok=True)
    path = folder / (f".{output.stem}.lock" if is_file(output) else ".lock")
    waited = False
    with path.open("w") as handle:
        try:
            fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            waited = True
            print(f"{output}: another process is making it, waiting for it", flush=True)
            fcntl.flock(handle, fcntl.LOCK_EX)
        yield waited


def is_made(output: Path, settings: Any, inputs: dict[str, Path]) -> bool:
    """Whether `output` is whole, of these settings and of these inputs."""
    path = output if is_file(output) else output / "provenance.json"
    # A rollout's declared file is its episodes: Snakemake deletes it, not the provenance, before a rerun.
    declared = output / "episodes.parquet" if isinstance(settings, stages.RolloutSettings) else path
    if not path.exists() or not declared.exists():
        return False
    record = json.loads(path.read_text())
    record = record.get("provenance", record)
    same = canonical_json(record["settings"]) == canonical_json(settings.model_dump(mode="json"))
    hashes = {entry["sha256"] for entry in record["inputs"].values()}
    return same and all(file_hash(folder / "provenance.json") in hashes for folder in inputs.values())


def run_stage(arguments: argparse.Namespace) -> None:
    """Run one stage as the command line says."""
    module, model, names = STAGES[arguments.command]
    settings = read_settings(arguments.settings, model)
    extensions.check(getattr(settings, "extension", None))
    inputs = {name: getattr(arguments, name) for name in names}
    given = {name: folder for name, folder in inputs.items() if folder is not None}
    for name, folder in given.items():
        if not (folder / "provenance.json").exists():
            raise UserError(f"--{name}: {str(folder)!r} holds no provenance.json: write a finished folder")
    execution = launch.execution_of(settings)
    held = contextlib.nullcontext(False) if launch.is_part(execution) else alone(arguments.output)
    with held as waited:
        if waited and is_made(arguments.output, settings, given):
            print(f"{arguments.output}: the other process has made it")
        elif execution is not None:
            command = launch.command_of(arguments.command, arguments.settings, inputs, arguments.output)
            launch.run(command, execution, arguments.output)
        else:
            load(module)[0].run(settings, **inputs, output=arguments.output)


def run_table(arguments: argparse.Namespace) -> None:
    """Write one table."""
    settings = read_settings(arguments.settings, stages.TableSettings)
    load("vlm4vla.report.stage")[0].run(
        settings.table,
        settings.model_dump(mode="json"),
        episodes=arguments.episodes,
        capability=arguments.capability,
        curves=arguments.curves,
        auxiliary=arguments.auxiliary,
        fast=arguments.fast,
        published=arguments.published,
        output=arguments.output,
    )


def run_cell(arguments: argparse.Namespace) -> None:
    """Write one cell."""
    importlib.import_module("vlm4vla.report.cell_report").run(
        read_settings(arguments.settings, stages.CellSettings),
        episodes=arguments.episodes,
        capability=arguments.capability,
        auxiliary=arguments.auxiliary,
        output=arguments.output,
    )


def run_schema(arguments: argparse.Namespace) -> None:
    """Write the JSON schema of config.yaml."""
    write_json(arguments.output, config.schema())


def run_published(arguments: argparse.Namespace) -> None:
    """Analyse the paper's numbers alone."""
    stage = importlib.import_module("vlm4vla.published_study.stage")
    stage.run(arguments.published, arguments.scores[0] if arguments.scores else None, arguments.output)


def run_trace(arguments: argparse.Namespace) -> None:
    """Print what one number of a table was made from."""
    folder = importlib.import_module("vlm4vla.provenance.results_folder")
    results = folder.open_results(arguments.results, arguments.study)
    importlib.import_module("vlm4vla.provenance.trace").run(
        results, arguments.table, arguments.row, arguments.column, arguments.json
    )


def run_pack(arguments: argparse.Namespace) -> None:
    """Pack a results folder for publication."""
    importlib.import_module("vlm4vla.provenance.pack").run(
        arguments.results, arguments.output, arguments.weights, arguments.config, arguments.licence
    )


def run_check(arguments: argparse.Namespace) -> None:
    """Verify a packed study."""
    importlib.import_module("vlm4vla.provenance.check").run(arguments.packed)


def run_compare(arguments: argparse.Namespace) -> None:
    """Compare two results folders."""
    stage = importlib.import_module("vlm4vla.comparison.stage")
    stage.run(arguments.first, arguments.second, arguments.output)


def run_estimate(arguments: argparse.Namespace) -> None:
    """Say what targets will cost."""
    importlib.import_module("vlm4vla.estimate.stage").run(
        arguments.targets,
        arguments.configfile,
        cores=arguments.cores,
        gpus=arguments.gpus,
        gpu_model=arguments.gpu_model,
        gpus_a_job=arguments.gpus_a_job,
        mfu=arguments.mfu,
        rates=arguments.rates,
        as_json=arguments.json,
    )


def run_films(arguments: argparse.Namespace) -> None:
    """Write the films' share of the report."""
    importlib.import_module("vlm4vla.report.films_report").run(
        read_settings(arguments.settings, stages.FilmsSettings),
        episodes=arguments.episodes,
        output=arguments.output,
    )


def run_summary(arguments: argparse.Namespace) -> None:
    """Write the summary."""
    summary = importlib.import_module("vlm4vla.report.summary")
    summary.run(analysis=arguments.analysis, output=arguments.output)


def run_study_config(arguments: argparse.Namespace) -> None:
    """Write the configuration."""
    settings = read_settings(arguments.settings, config.Config)
    importlib.import_module("vlm4vla.report.study_config").run(settings, output=arguments.output)


def run_convert(arguments: argparse.Namespace) -> None:
    """Convert a raw data set."""
    with alone(arguments.output):
        importlib.import_module("vlm4vla.converters.convert").convert(
            arguments.kind, arguments.source, arguments.output, pictures=arguments.pictures
        )


def run_libero_demonstrations(arguments: argparse.Namespace) -> None:
    """Record scripted demonstrations on the real LIBERO simulator."""
    solved = importlib.import_module("vlm4vla.simulators.libero_demonstrations").collect(
        arguments.output,
        tasks=arguments.tasks,
        states=arguments.states,
        size=arguments.size,
        render=arguments.render,
    )
    print(f"{arguments.output}: {solved} of {len(arguments.tasks) * len(arguments.states)} episodes solved")


_FILES = {"type": Path, "nargs": "*", "default": []}
_OUTPUT = option("--output", type=Path, required=True)
COMMANDS = {
    "table": Command(
        "write a table, its figures and the numbers behind both",
        run_table,
        (
            option("--settings", required=True, help="the table's settings, as JSON"),
            option("--episodes", type=Path, nargs="+", required=True),
            *(option(f"--{name}", **_FILES) for name in ("capability", "curves", "auxiliary", "fast")),
            option("--published", type=Path, required=True),
            _OUTPUT,
        ),
    ),
    "cell": Command(
        "write one cell as a small table",
        run_cell,
        (
            option("--settings", required=True, help="the cell's settings, as JSON"),
            option("--episodes", type=Path, nargs="+", required=True),
            *(option(f"--{name}", **_FILES) for name in ("capability", "auxiliary")),
            option("--output", type=Path, required=True, help="a .csv file; .md and .tex go beside it"),
        ),
    ),
    "films": Command(
        "write the films' pages and the strips of failures",
        run_films,
        (
            option("--settings", required=True, help="whose films, as JSON"),
            option("--episodes", type=Path, nargs="+", required=True),
            option("--output", type=Path, required=True, help="the study's results folder"),
        ),
    ),
    "summary": Command(
        "write what was run and found, in words",
        run_summary,
        (
            option("--analysis", type=Path, nargs="+", required=True, help="analysis/*.json of tables"),
            option("--output", type=Path, required=True, help="the study's results folder"),
        ),
    ),
    "study-config": Command(
        "write the configuration with every default",
        run_study_config,
        (
            option("--settings", required=True, help="the configuration, as JSON"),
            option("--output", type=Path, required=True, help="the study's results folder"),
        ),
    ),
    "published": Command(
        "analyse the paper's numbers alone",
        run_published,
        (
            option("--published", type=Path, required=True, help="the folder of the paper's numbers"),
            option("--scores", type=Path, nargs="*", default=[], help="a CSV model,score of question scores"),
            _OUTPUT,
        ),
    ),
    "trace": Command(
        "follow one number of a table back to records, checkpoint, settings, commit and inputs",
        run_trace,
        (
            option("table", help="such as main"),
            option("row", help="model[/auxiliary][/variant][/benchmark]"),
            option(
                "column",
                help="metric or benchmark:metric; for another number than the value add :ci_low, "
                "p_value, difference, ...",
            ),
            option("--results", type=Path, help="a study's folder, such as results/embedded"),
            option("--study", help="a study below results/, in place of --results"),
            option("--json", action="store_true", help="for programs"),
        ),
        timed=False,
    ),
    "pack": Command(
        "pack a study's results for publication, as a Workflow Run RO-Crate",
        run_pack,
        (
            option("results", type=Path, help="a study's folder, such as results/embedded"),
            option("--output", type=Path, required=True, help="a .zip file"),
            option("--weights", action="store_true", help="with the weights of backbones and policies"),
            option(
                "--config",
                type=Path,
                nargs="+",
                default=[],
                help="config.yaml and layers over it, if the study was not made with those of its scale",
            ),
            option("--licence", default="Apache-2.0", help="SPDX identifier (default: %(default)s)"),
        ),
        timed=False,
    ),
    "check": Command(
        "verify every file of a packed study",
        run_check,
        (option("packed", type=Path, help="the zip file, or the folder it was unpacked to"),),
        timed=False,
    ),
    "compare": Command(
        "compare two studies' results cell by cell, with tests",
        run_compare,
        (
            option("first", type=Path, help="a study's folder, such as results/embedded"),
            option("second", type=Path, help="another's"),
            option(
                "--output", type=Path, help="a .md or .csv file; both are written. Without: Markdown here"
            ),
        ),
        timed=False,
    ),
    "convert": Command(
        "write raw CALVIN or LIBERO demonstrations as a LeRobot v3.0 data set; goes on where it was stopped",
        run_convert,
        (
            option("kind", choices=("calvin", "libero")),
            option("source", type=Path, help="CALVIN: a split's folder; LIBERO: .hdf5 files' folder, or one"),
            option("--pictures", choices=("video", "png"), default="video", help="default: %(default)s"),
            _OUTPUT,
        ),
    ),
    "libero-demonstrations": Command(
        "record scripted demonstrations on the real LIBERO simulator (docs/simulators.md)",
        run_libero_demonstrations,
        (
            option("--tasks", type=int, nargs="+", default=[0, 1, 7], help="of LIBERO-10: 0, 1 or 7"),
            option("--states", type=int, nargs="+", default=[*range(50)], help="initial states, 0 to 49"),
            option("--size", type=int, default=224, help="height and width of the pictures"),
            option("--render", choices=("cpu", "gpu"), default="cpu"),
            _OUTPUT,
        ),
    ),
    "estimate": Command(
        "say what targets will cost, before it is spent: jobs, GPU-hours, disk, time on a cluster",
        run_estimate,
        (
            option("targets", nargs="*", metavar="TARGET", help="as Snakemake takes them; none: all_tables"),
            option(
                "--configfile", type=Path, nargs="+", default=[], help="layers over config.yaml, in order"
            ),
            option("--cores", type=int, help="CPU cores (default: 16 a GPU; without GPUs, this machine's)"),
            option("--gpus", type=int, default=0, help="GPUs (default: %(default)s)"),
            option("--gpu-model", help="such as h100"),
            option(
                "--gpus-a-job",
                type=int,
                default=8,
                help="GPUs of a training whose settings state none (default: %(default)s)",
            ),
            option("--mfu", type=float, default=MFU, help="share of the GPUs' peak that training uses"),
            option(
                "--rates",
                type=Path,
                default=RATES,
                help="measured rates (default: %(default)s)",
            ),
            option("--json", action="store_true", help="for programs"),
        ),
        timed=False,
    ),
    "schema": Command("write the JSON schema of config.yaml", run_schema, (_OUTPUT,)),
}


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the command; a user's mistake is one line on standard error and exit status 1."""
    # Before torch or numpy load: one thread a job, the workflow runs as many jobs as there are cores.
    for name in ("OMP_NUM_THREADS", "MKL_NUM_THREADS", "OPENBLAS_NUM_THREADS"):
        os.environ.setdefault(name, "1")
    os.environ.setdefault("TOKENIZERS_PARALLELISM", "false")
    parsed = parser().parse_args(arguments)
    tool = COMMANDS.get(parsed.command)
    started = time.monotonic()
    try:
        if tool is None:
            run_stage(parsed)
        else:
            tool.run(parsed)
    except UserError as error:
        print(f"error: {error}", file=sys.stderr)
        return TOLD if launch.is_worker() else 1
    if (tool is None and not launch.is_worker()) or (tool is not None and tool.timed):
        print(f"{parsed.command}: done in {time.monotonic() - started:.0f} s", flush=True)
    return 0


if __name__ == "__main__":
    sys.exit(main())
