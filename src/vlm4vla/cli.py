"""The command `vlm4vla`: one sub-command a stage. Heavy modules are imported by the stage that runs."""

from __future__ import annotations

import argparse
import contextlib
import fcntl
import importlib
import json
import os
import sys
import time
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

from pydantic import ValidationError

from vlm4vla import config
from vlm4vla import settings as stages
from vlm4vla.artefacts import UserError, canonical_json, file_hash, write_json

# stage: (module of its `run`, settings model, inputs)
STAGES = {
    "questions": ("vlm4vla.simulation.questions_stage", stages.QuestionsSettings, ()),
    "backbone": ("vlm4vla.backbones.stage", stages.BackboneSettings, ("questions",)),
    "auxiliary-data": ("vlm4vla.auxiliary.data_stage", stages.AuxiliaryDataSettings, ()),
    "fast-data": ("vlm4vla.auxiliary.fast_stage", stages.FastDataSettings, ("demonstrations",)),
    "auxiliary": ("vlm4vla.auxiliary.stage", stages.AuxiliarySettings, ("backbone", "data")),
    "capability": ("vlm4vla.capability.stage", stages.CapabilitySettings, ("backbone", "questions")),
    "demonstrations": ("vlm4vla.simulation.demonstrations_stage", stages.DemonstrationsSettings, ()),
    "vla": ("vlm4vla.training.vla_stage", stages.VlaSettings, ("backbone", "demonstrations")),
    "rollout": ("vlm4vla.rollout.stage", stages.RolloutSettings, ("vla",)),
}
OPTIONAL = {"vla"}  # inputs that a stage may lack: floor and ceiling have no VLA


def parser() -> argparse.ArgumentParser:
    """The command's arguments."""
    top = argparse.ArgumentParser(prog="vlm4vla", description="Stages of the VLM4VLA study.")
    commands = top.add_subparsers(dest="command", required=True)
    for stage, (_, _, inputs) in STAGES.items():
        command = commands.add_parser(stage, help=f"run the stage {stage}")
        command.add_argument("--settings", required=True, help="the stage's settings, as JSON")
        for name in inputs:
            command.add_argument(f"--{name}", type=Path, required=name not in OPTIONAL, help="a folder")
        command.add_argument("--output", type=Path, required=True)
    table = commands.add_parser("table", help="write a table, its figures and the numbers behind both")
    table.add_argument("--settings", required=True, help="the table's settings, as JSON")
    table.add_argument("--episodes", type=Path, nargs="+", required=True)
    table.add_argument("--capability", type=Path, nargs="*", default=[])
    table.add_argument("--curves", type=Path, nargs="*", default=[])
    table.add_argument("--auxiliary", type=Path, nargs="*", default=[])
    table.add_argument("--fast", type=Path, nargs="*", default=[])
    table.add_argument("--published", type=Path, required=True)
    table.add_argument("--output", type=Path, required=True)
    cell = commands.add_parser("cell", help="write one cell as a small table")
    cell.add_argument("--settings", required=True, help="the cell's settings, as JSON")
    cell.add_argument("--episodes", type=Path, nargs="+", required=True)
    cell.add_argument("--capability", type=Path, nargs="*", default=[])
    cell.add_argument("--auxiliary", type=Path, nargs="*", default=[])
    cell.add_argument("--output", type=Path, required=True, help="a .csv file; .md and .tex go beside it")
    films = commands.add_parser("films", help="write the films' pages and the strips of failures")
    films.add_argument("--settings", required=True, help="whose films, as JSON")
    films.add_argument("--episodes", type=Path, nargs="+", required=True)
    films.add_argument("--output", type=Path, required=True, help="the study's results folder")
    summary = commands.add_parser("summary", help="write what was run and found, in words")
    summary.add_argument("--analysis", type=Path, nargs="+", required=True, help="analysis/*.json of tables")
    summary.add_argument("--output", type=Path, required=True, help="the study's results folder")
    used = commands.add_parser("study-config", help="write the configuration with every default")
    used.add_argument("--settings", required=True, help="the configuration, as JSON")
    used.add_argument("--output", type=Path, required=True, help="the study's results folder")
    schema = commands.add_parser("schema", help="write the JSON schema of config.yaml")
    schema.add_argument("--output", type=Path, required=True)
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
    inputs = {name: getattr(arguments, name) for name in names}
    given = {name: folder for name, folder in inputs.items() if folder is not None}
    for name, folder in given.items():
        if not (folder / "provenance.json").exists():
            raise UserError(f"--{name}: {str(folder)!r} holds no provenance.json: write a finished folder")
    with alone(arguments.output) as waited:
        if waited and is_made(arguments.output, settings, given):
            print(f"{arguments.output}: the other process has made it")
            return
        importlib.import_module(module).run(settings, **inputs, output=arguments.output)


def run_table(arguments: argparse.Namespace) -> None:
    """Write one table."""
    settings = read_settings(arguments.settings, stages.TableSettings)
    stage = importlib.import_module("vlm4vla.report.stage")
    stage.run(
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


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the command; a user's mistake is one line on standard error and exit status 1."""
    # Before torch or numpy load: one thread a job, the workflow runs as many jobs as there are cores.
    for name in ("OMP_NUM_THREADS", "MKL_NUM_THREADS", "OPENBLAS_NUM_THREADS"):
        os.environ.setdefault(name, "1")
    os.environ.setdefault("TOKENIZERS_PARALLELISM", "false")
    parsed = parser().parse_args(arguments)
    started = time.monotonic()
    try:
        if parsed.command == "schema":
            write_json(parsed.output, config.schema())
        elif parsed.command == "table":
            run_table(parsed)
        elif parsed.command == "cell":
            run_cell(parsed)
        elif parsed.command == "films":
            run_films(parsed)
        elif parsed.command == "summary":
            run_summary(parsed)
        elif parsed.command == "study-config":
            run_study_config(parsed)
        else:
            run_stage(parsed)
    except UserError as error:
        print(f"error: {error}", file=sys.stderr)
        return 1
    print(f"{parsed.command}: done in {time.monotonic() - started:.0f} s", flush=True)
    return 0


if __name__ == "__main__":
    sys.exit(main())
