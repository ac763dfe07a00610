"""A small study in a folder of its own, its jobs, and what may differ between two runs of it."""

from __future__ import annotations

import csv
import hashlib
import io
import json
import os
import re
import shlex
import shutil
import subprocess
import sys
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import yaml

from vlm4vla.core.artefacts import canonical_json
from vlm4vla.core.successor import aside
from vlm4vla.study.artefact_chain import recorded_files

REPOSITORY = Path(__file__).parents[2]
LAYER = "workflow/scales/smoke.yaml"
ALL = ("all_tables", "published")
# One backbone on one benchmark, and one auxiliary task.
REDUCED = {
    "tables": {
        "main": {"backbones": ["kosmos-2"], "experts": [], "benchmarks": ["bridge"]},
        "auxiliary": {
            "backbones": ["kosmos-2"],
            "auxiliaries": {"kosmos-2": ["none", "robopoint"]},
            "benchmarks": ["bridge"],
        },
    },
    "backbones": {"kosmos-2": {"pretraining": "broad"}},
}
REDUCED_TARGETS = ("table_main", "table_auxiliary", "published", "results/smoke/films/bridge.html")
OPTIONS = ("--rerun-incomplete", "--keep-going", "--scheduler", "greedy", "--logger", "study")
# What no two runs have in common: times, and the hashes of records that hold times.
VOLATILE = {"started", "wall_seconds", "cpu_seconds", "start_up_seconds", "samples_per_second"}
LOGS = ("logs", "benchmarks")
MAY_DIFFER = (
    "logs/ and benchmarks/ (all of it)",
    "provenance.json and capability/*.json: started, wall_seconds, cpu_seconds, start_up_seconds, and the "
    "sha256 of inputs that are such records",
    "train.jsonl: samples_per_second",
    "README.md of policies: the hashes of such records",
    "tables/*.html: the hash of each such record, and when it was made",
    "summary.*: the section Cost, which has measured times",
)


@dataclass(frozen=True)
class Project:
    """The workflow in `folder`. `layers`: files that override config.yaml. `targets`: what is made."""

    folder: Path
    layers: tuple[str, ...]
    targets: tuple[str, ...]

    @property
    def results(self) -> Path:
        return self.folder / "results"

    def command(self, *arguments: str, options: Sequence[str] = OPTIONS) -> list[str]:
        words = [sys.executable, "-m", "snakemake", *self.targets, *arguments, *options]
        return [*words, "--configfile", *self.layers]

    def jobs(self) -> list[list[str]]:
        """The command of each job of the study, without Snakemake's redirection into a log."""
        done = subprocess.run(
            self.command("--dry-run", "--forceall", "--printshellcmds", options=()),
            cwd=self.folder,
            env=environment(self.folder),
            capture_output=True,
            text=True,
            check=True,
        )
        lines = re.findall(r"^Shell command: exec (.*) > \S+ 2>&1$", done.stdout, re.MULTILINE)
        return [shlex.split(line) for line in lines]


def environment(folder: Path) -> dict[str, str]:
    """The environment of a project in `folder`, whose commands take the package from there."""
    path = os.pathsep.join((str(Path(sys.executable).parent), os.environ["PATH"]))
    source = os.pathsep.join(filter(None, (str(folder / "src"), os.environ.get("PYTHONPATH"))))
    return os.environ | {"PATH": path, "PYTHONPATH": source, "HF_HUB_OFFLINE": "1"}


def lay_out(folder: Path, reduced: bool) -> Project:
    """Copy the workflow and the package into `folder`, unless they are there.

    A trial takes long, and the repository may change meanwhile. Its studies must not.
    """
    folder.mkdir(parents=True, exist_ok=True)
    if not (folder / "src").exists():
        _copy(folder)
    layers, targets = (LAYER,), ALL
    if reduced:
        (folder / "reduced.yaml").write_text(yaml.safe_dump(REDUCED))
        layers, targets = (LAYER, "reduced.yaml"), REDUCED_TARGETS
    return Project(folder, layers, targets)


def _copy(folder: Path) -> None:
    for name in ("Snakefile", "config.yaml"):
        shutil.copy2(REPOSITORY / name, folder / name)
    for name in ("rules", "workflow", "envs"):
        shutil.copytree(REPOSITORY / name, folder / name, dirs_exist_ok=True)
    temporary = folder / "src.new"
    shutil.rmtree(temporary, ignore_errors=True)
    shutil.copytree(REPOSITORY / "src", temporary, ignore=shutil.ignore_patterns("__pycache__", "*.egg-info"))
    temporary.rename(folder / "src")


def run(project: Project, cores: int) -> subprocess.CompletedProcess:
    """Make the study."""
    return subprocess.run(
        project.command("--cores", str(cores)),
        cwd=project.folder,
        env=environment(project.folder),
        capture_output=True,
        text=True,
    )


def digest(path: Path) -> str:
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def comparable(path: Path) -> bytes:
    """The content of a file without what no two runs have in common."""
    if path.name == "train.jsonl":
        lines = [json.loads(line) for line in path.read_text().splitlines()]
        return canonical_json([_without_times(line) for line in lines]).encode()
    if path.suffix == ".json":
        try:
            value = json.loads(path.read_text())
        except ValueError:  # half of a file
            return path.read_bytes()
        if path.name == "provenance.json" or (isinstance(value, dict) and "provenance" in value):
            return canonical_json(_without_times(value)).encode()
    if path.name == "README.md":
        return re.sub(rb"\b[0-9a-f]{12,64}\b", b"HASH", path.read_bytes())
    if path.suffix == ".html" and path.parent.name == "tables":
        # The evidence of a cell states when a record was made, and the hash of the record.
        return re.sub(rb"sha256 [0-9a-f]{64}\ncommit (.*), started \S+", rb"commit \1", path.read_bytes())
    if path.stem == "summary":
        return _without_section(path.read_text(), "cost").encode()
    return path.read_bytes()


def _without_times(value: Any) -> Any:
    if isinstance(value, dict):
        kept = {key: _without_times(each) for key, each in value.items() if key not in VOLATILE}
        if str(kept.get("path", "")).endswith("provenance.json"):
            kept.pop("sha256", None)
        return kept
    return [_without_times(each) for each in value] if isinstance(value, list) else value


def _without_section(text: str, word: str) -> str:
    """Markdown or reStructuredText without the sections whose title has this word."""
    parts = re.split(r"\n(?=## |[^\n]+\n[-=~^]{4,}\n)", text)
    return "\n".join(part for part in parts if word not in part.partition("\n")[0].lower())


def files(root: Path) -> dict[str, Path]:
    """The files of results folders that are neither logs nor hidden, by their path below `root`."""
    found = {}
    for path in sorted(root.rglob("*")):
        parts = path.relative_to(root).parts
        if path.is_file() and not any(part.startswith(".") for part in parts) and parts[1] not in LOGS:
            found["/".join(parts)] = path
    return found


def hidden(root: Path) -> list[str]:
    """Hidden files and folders that nothing uses once a study is finished: all but those of locks."""
    found = [path for path in root.rglob(".*") if not re.fullmatch(r"\.(.*\.)?lock", path.name)]
    return sorted(str(path.relative_to(root)) for path in found)


def standing(root: Path) -> dict[str, str]:
    """What is finished: the path of each declared output, with its hash.

    An output that a job has set aside still stands.
    """
    names = ("provenance.json", "episodes.parquet")
    found = {}
    for path in sorted(root.rglob("*")):
        parts = path.relative_to(root).parts
        set_aside = re.fullmatch(r"\.(.*)\.set-aside", path.name)
        final = path.with_name(set_aside[1]) if set_aside else path
        inside = final.relative_to(root)
        if len(parts) < 2 or parts[1] in LOGS or any(part.startswith(".") for part in inside.parts):
            continue
        kinds = ("tables", "figures", "analysis", "films", "capability", "cells")
        is_output = final.name in names or parts[1] in kinds or len(parts) == 2
        if path.is_file() and is_output and not (set_aside and final.exists()):
            found[str(inside)] = digest(path)
    return found


def damaged(root: Path) -> Iterator[str]:
    """The files that a finished artefact's record lists and that are not as recorded, or are hidden."""
    for name in standing(root):
        path = root / name
        if path.name != "provenance.json":
            continue
        path = path if path.exists() else aside(path)
        for inside, expected in recorded_files(json.loads(path.read_text())):
            file = path.parent / inside
            if any(part.startswith(".") for part in Path(inside).parts):
                yield f"{name} lists the hidden file {inside}"
            elif not file.is_file():
                yield f"{file.relative_to(root)}: missing"
            elif digest(file) != expected:
                yield f"{file.relative_to(root)}: changed"


def differences(reference: Path, other: Path) -> list[str]:
    """What two finished results folders have that is not the same, apart from `MAY_DIFFER`."""
    first, second = files(reference), files(other)
    found = [f"{name}: only in the reference" for name in sorted(first.keys() - second.keys())]
    found += [f"{name}: not in the reference" for name in sorted(second.keys() - first.keys())]
    for name in sorted(first.keys() & second.keys()):
        if comparable(first[name]) != comparable(second[name]):
            found.append(f"{name}: other bytes")
    return found


def seconds_of(results: Path) -> float:
    """The seconds of all jobs together, from Snakemake's benchmark files."""
    total = 0.0
    for path in results.glob("*/benchmarks/**/*.tsv"):
        for row in csv.DictReader(io.StringIO(path.read_text()), delimiter="\t"):
            total += float(row["s"])
    return total
