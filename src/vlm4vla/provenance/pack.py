"""`vlm4vla pack`: write a results folder as one zip file for publication, with the same bytes every time."""

from __future__ import annotations

import hashlib
import json
import zipfile
from collections.abc import Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import yaml

from vlm4vla.config.layers import read_layers
from vlm4vla.conventions.scales import LAYERS
from vlm4vla.core.artefacts import atomic_path, file_hash
from vlm4vla.core.errors import UserError
from vlm4vla.provenance import crate
from vlm4vla.provenance.made_with import check_made_with
from vlm4vla.provenance.recorded_hashes import check_recorded_hashes
from vlm4vla.study.layout import ARTEFACTS, PROVENANCE
from vlm4vla.study.results_folder import Results, read_json

SUMS = "SHA256SUMS"  # as `sha256sum --check` reads it
EPOCH = (1980, 1, 1, 0, 0, 0)  # the earliest time that a zip file can store
STORED = {".png", ".pdf", ".parquet", ".gif"}  # already compressed
LICENCE = "Apache-2.0"
SOURCES = (
    crate.WORKFLOW,
    crate.README,
    "rules/*.smk",
    "workflow/published/*.*",
    "workflow/published/others/*.csv",
    "requirements.lock",
    "LICENSE",
)
SCORES = ARTEFACTS["capability"].folder


def _next_to(name: str, file: str) -> str:
    """The pattern of a file in the folder of an artefact."""
    return Path(ARTEFACTS[name].glob).with_name(file).as_posix()


# The files that are packed: pattern relative to the results folder, and the description of the files.
KEPT = (
    (ARTEFACTS["table"].glob, "table"),
    (ARTEFACTS["figure"].glob, "figure"),
    (ARTEFACTS["analysis"].glob, "numbers of a table"),
    (ARTEFACTS["cell"].glob, "table of one cell"),
    (ARTEFACTS["summary"].path(format="md"), "summary in words"),
    (ARTEFACTS["capability"].glob, "question scores of a backbone"),
    (ARTEFACTS["rollout"].glob, "episode records"),
    (_next_to("auxiliary", "score.json"), "score on an auxiliary task"),
    (_next_to("auxiliary_data", "report.json"), "report on action tokens"),
    ("**/train.jsonl", "training curve"),
    (f"**/{PROVENANCE}", "provenance of an artefact"),
)
WEIGHTED = tuple(ARTEFACTS[name].folder for name in ("backbone", "auxiliary", "vla"))  # with model weights
UNFINISHED = ("checkpoints", "shards")  # folders of an unfinished training or rollout


def run(root: Path, output: Path, weights: bool, configs: Sequence[Path], licence: str) -> None:
    """Pack the results folder `root` into the zip file `output`, and print its size.

    `weights`: include the weights of models. `configs`: config.yaml of the study and the files that override
    it, in order. The default is config.yaml in the working folder, with the file of the study's scale. Raises
    UserError (one line) for a folder without tables, for a missing configuration or one of another study, for
    a file that has changed since its stage wrote it, and for an output that is not a .zip file.
    """
    if output.suffix != ".zip" or output.is_dir():
        raise UserError(f"--output {str(output)!r}: write the name of a file that ends in .zip")
    results = Results(root)
    tables = results.tables()
    if not tables:
        raise UserError(f"{root}: has no tables: run `snakemake --cores 2 all_tables` first")
    settings = results.analysis(tables[0])["settings"]
    layers = [Path(path) for path in configs] or _layers(settings)
    for path in layers:
        if not path.is_file():
            raise UserError(
                f"--config: no file {str(path)!r}: write the config.yaml of {root}, then the files that "
                "override it"
            )
    config = read_layers(layers)
    check_made_with(config, layers[-1], results)
    contents: dict[str, tuple[Path, str]] = {}
    for path in layers:
        contents[f"config/{path.name}"] = (path, "configuration")
    workflow = layers[0].resolve().parent  # the folder of the Snakefile
    for pattern in SOURCES:
        for path in sorted(workflow.glob(pattern)):
            contents[path.relative_to(workflow).as_posix()] = (path, "the workflow and its inputs")
    for number, name in enumerate(config.extensions):
        path = Path(name).expanduser().resolve()
        inside = (
            path.relative_to(workflow)
            if path.is_relative_to(workflow)
            else Path(f"extensions/{number}", path.name)
        )
        contents[inside.as_posix()] = (path, "an extension file: a family, a benchmark or an auxiliary task")
    if crate.WORKFLOW not in contents:
        raise UserError(
            f"--config: there is no Snakefile next to {str(layers[0])!r}: write the workflow's config.yaml"
        )
    sources = list(contents)
    study = f"results/{settings['study']}"
    kept = kept_files(results.root, weights)
    check_recorded_hashes(results, _records(results.root, kept), weights)
    for name, description in kept.items():
        contents[f"{study}/{name}"] = (results.root / name, description)
    write(output, contents, sources, results, study, licence)
    size = output.stat().st_size / 1e6
    print(f"{output}: {len(contents) + 2} files, {size:.1f} MB, a Workflow Run RO-Crate of {root}")


def write(
    output: Path,
    contents: Mapping[str, tuple[Path, str]],
    sources: Sequence[str],
    results: Results,
    study: str,
    licence: str,
) -> None:
    """Write the zip file atomically.

    `contents`: path in the zip file -> (file, description). `sources`: the paths that are not results.
    `study`: the path of the results folder in the zip file. Raises UserError if a file changes during the
    packing.
    """
    contents = dict(sorted(contents.items()))
    files = {
        name: {"description": description, "sha256": file_hash(path), "size": path.stat().st_size}
        for name, (path, description) in contents.items()
    }
    provenance, produced = _artefacts(contents, results, study)
    of_artefacts = {name for names in produced.values() for name in names}
    others = [name for name in contents if name not in of_artefacts and name not in sources]
    metadata = crate.describe(study.rpartition("/")[2], files, provenance, produced, others, sources, licence)
    described = (json.dumps(metadata, indent=1) + "\n").encode()
    sums = {name: facts["sha256"] for name, facts in files.items()}
    sums[crate.METADATA] = hashlib.sha256(described).hexdigest()
    listed = "".join(f"{digest}  {name}\n" for name, digest in sorted(sums.items())).encode()
    with atomic_path(output) as temporary, zipfile.ZipFile(temporary, "w") as archive:
        _add(archive, crate.METADATA, described)
        _add(archive, SUMS, listed)
        for name, (path, _) in contents.items():
            data = path.read_bytes()
            if hashlib.sha256(data).hexdigest() != sums[name]:
                raise UserError(
                    f"{path}: changed during the packing: wait for the run to end, then pack again"
                )
            _add(archive, name, data)


def _add(archive: zipfile.ZipFile, name: str, data: bytes) -> None:
    entry = zipfile.ZipInfo(name, EPOCH)
    entry.external_attr = 0o644 << 16
    entry.create_system = 3  # Unix, on every system
    entry.compress_type = zipfile.ZIP_STORED if Path(name).suffix in STORED else zipfile.ZIP_DEFLATED
    archive.writestr(entry, data)


def _artefacts(
    contents: Mapping[str, tuple[Path, str]], results: Results, study: str
) -> tuple[dict[str, dict[str, Any]], dict[str, list[str]]]:
    """The record of each artefact, with inputs as paths in the zip file, and the files of each artefact."""
    records: dict[str, dict[str, Any]] = {}
    for name, (path, _) in contents.items():
        scores = name.startswith(f"{study}/{SCORES}/")
        if path.name != PROVENANCE and not scores:
            continue
        content = read_json(path, "run the stage that writes it again")
        record = content.get("provenance", {}) if scores else content
        inputs = []
        for entry in (record.get("inputs") or {}).values():
            located = results.locate(entry["path"])
            if located.is_relative_to(results.root):
                inside = f"{study}/{located.relative_to(results.root).as_posix()}"
                inputs += [inside] if inside in contents else []
        records[name] = {**record, "inputs": inputs}
    produced = {}
    for name in records:
        folder = name.rpartition("/")[0] + "/"
        single = name.startswith(f"{study}/{SCORES}/")  # a score is one file, with its provenance inside
        produced[name] = [name] if single else [other for other in contents if other.startswith(folder)]
    return records, produced


def _layers(settings: Mapping[str, Any]) -> list[Path]:
    """config.yaml, and the file of the study's scale, unless config.yaml itself has that scale."""
    base = Path("config.yaml")
    try:
        scale = (yaml.safe_load(base.read_text()) or {}).get("scale")
    except (OSError, yaml.YAMLError, AttributeError):
        return [base]
    layers = LAYERS.get(settings["scale"], ())
    found = scale != settings["scale"] and all(layer.is_file() for layer in layers)
    return [base, *layers] if found else [base]


def _records(root: Path, kept: Iterable[str]) -> Iterator[Path]:
    """The packed files that have provenance records."""
    for name in kept:
        if name.rpartition("/")[2] == PROVENANCE or name.startswith(f"{SCORES}/"):
            yield root / name


def kept_files(root: Path, weights: bool) -> dict[str, str]:
    """The files that are packed: path relative to `root` -> description, sorted by path.

    Hidden files, logs and unfinished artefacts are not packed. `weights` adds all files of the backbones and
    policies.
    """
    patterns = [*KEPT, *((f"{name}/**/*", "part of a model") for name in WEIGHTED if weights)]
    found: dict[str, str] = {}
    for pattern, description in patterns:
        for path in _files(root, pattern):
            found.setdefault(path, description)
    return dict(sorted(found.items()))


def _files(root: Path, pattern: str) -> Iterator[str]:
    for path in root.glob(pattern):
        inside = path.relative_to(root)
        hidden = any(part.startswith(".") for part in inside.parts)
        if path.is_file() and not hidden and not set(inside.parts) & set(UNFINISHED):
            yield inside.as_posix()
