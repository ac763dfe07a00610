"""`vlm4vla pack`: a results folder as one zip file for publication, the same bytes every time."""

from __future__ import annotations

import hashlib
import json
import zipfile
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import yaml

from vlm4vla.config.config import Config
from vlm4vla.config.layers import read_layers
from vlm4vla.core.artefacts import atomic_path
from vlm4vla.core.errors import UserError
from vlm4vla.provenance import crate
from vlm4vla.provenance.selection import kept_files
from vlm4vla.study.results_folder import Results, read_json

SUMS = "SHA256SUMS"  # as `sha256sum --check` reads it
EPOCH = (1980, 1, 1, 0, 0, 0)  # the earliest time that a zip file can say
STORED = {".png", ".pdf", ".parquet", ".gif"}  # compressed already
LICENCE = "Apache-2.0"
SOURCES = (crate.WORKFLOW, "rules/*.smk", "workflow/published/*", "requirements.lock", "LICENSE")
SCALES = Path("workflow/scales")


def run(root: Path, output: Path, weights: bool, configs: Sequence[Path], licence: str) -> None:
    """Write `output` and say what is in it.

    `configs`: config.yaml and the layers over it with which the study was made, in order; without any,
    config.yaml here, and the layer of the study's scale where that is another than config.yaml's. Raises
    UserError (one line) for a folder without tables, a missing or other configuration, and another name than
    a zip file's.
    """
    if output.suffix != ".zip" or output.is_dir():
        raise UserError(f"--output {str(output)!r}: write the name of a file that ends in .zip")
    results = Results(root)
    tables = results.tables()
    if not tables:
        raise UserError(f"{root}: no table is made: run `snakemake --cores 2 all_tables` first")
    settings = results.analysis(tables[0])["settings"]
    layers = [Path(path) for path in configs] or _layers(settings)
    for path in layers:
        if not path.is_file():
            raise UserError(
                f"--config: no file {str(path)!r}: write the configuration of {root}, layers last"
            )
    config = read_layers(layers)
    _check_config(config, layers, results)
    contents: dict[str, tuple[Path, str]] = {}
    for path in layers:
        contents[f"config/{path.name}"] = (path, "configuration")
    here = layers[0].resolve().parent  # of the workflow
    for pattern in SOURCES:
        for path in sorted(here.glob(pattern)):
            contents[path.relative_to(here).as_posix()] = (path, "the workflow and its inputs")
    for number, name in enumerate(config.extensions):
        path = Path(name).expanduser().resolve()
        inside = (
            path.relative_to(here) if path.is_relative_to(here) else Path(f"extensions/{number}", path.name)
        )
        contents[inside.as_posix()] = (path, "a family, benchmark or auxiliary task of the user's own")
    if crate.WORKFLOW not in contents:
        raise UserError(f"--config: no Snakefile beside {str(layers[0])!r}: write the workflow's config.yaml")
    sources = list(contents)
    study = f"results/{settings['study']}"
    for name, what in kept_files(results.root, weights).items():
        contents[f"{study}/{name}"] = (results.root / name, what)
    write(output, contents, sources, results, study, licence)
    size = output.stat().st_size / 1e6
    print(f"{output}: {len(contents) + 2} files of {root}, {size:.1f} MB, a Workflow Run RO-Crate")


def write(
    output: Path,
    contents: Mapping[str, tuple[Path, str]],
    sources: Sequence[str],
    results: Results,
    study: str,
    licence: str,
) -> None:
    """Write the zip atomically. `contents`: path in it -> (file, what it is); `study`: the results' folder in
    it."""
    contents = dict(sorted(contents.items()))
    files = {
        name: {"what": what, "sha256": _sha256(path), "size": path.stat().st_size}
        for name, (path, what) in contents.items()
    }
    provenance, made = _artefacts(contents, results, study)
    owned = {name for names in made.values() for name in names}
    given = [name for name in contents if name not in owned and name not in sources]
    metadata = crate.describe(study.rpartition("/")[2], files, provenance, made, given, sources, licence)
    described = (json.dumps(metadata, indent=1) + "\n").encode()
    sums = {name: told["sha256"] for name, told in files.items()}
    sums[crate.METADATA] = hashlib.sha256(described).hexdigest()
    listed = "".join(f"{digest}  {name}\n" for name, digest in sorted(sums.items())).encode()
    with atomic_path(output) as temporary, zipfile.ZipFile(temporary, "w") as archive:
        _add(archive, crate.METADATA, described)
        _add(archive, SUMS, listed)
        for name, (path, _) in contents.items():
            data = path.read_bytes()
            if hashlib.sha256(data).hexdigest() != sums[name]:
                raise UserError(f"{path}: changed meanwhile: wait for the run to end, then pack again")
            _add(archive, name, data)


def _add(archive: zipfile.ZipFile, name: str, data: bytes) -> None:
    entry = zipfile.ZipInfo(name, EPOCH)
    entry.external_attr = 0o644 << 16
    entry.create_system = 3  # Unix, wherever it is packed
    entry.compress_type = zipfile.ZIP_STORED if Path(name).suffix in STORED else zipfile.ZIP_DEFLATED
    archive.writestr(entry, data)


def _sha256(path: Path) -> str:
    with path.open("rb") as handle:
        return hashlib.file_digest(handle, "sha256").hexdigest()


def _artefacts(
    contents: Mapping[str, tuple[Path, str]], results: Results, study: str
) -> tuple[dict[str, dict[str, Any]], dict[str, list[str]]]:
    """Record of every artefact, inputs as paths in the zip; and the files that belong to each."""
    records: dict[str, dict[str, Any]] = {}
    for name, (path, _) in contents.items():
        scores = name.startswith(f"{study}/capability/")
        if path.name != "provenance.json" and not scores:
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
    made = {}
    for name in records:
        folder = name.rpartition("/")[0] + "/"
        alone = name.startswith(f"{study}/capability/")
        made[name] = [name] if alone else [other for other in contents if other.startswith(folder)]
    return records, made


def _layers(settings: Mapping[str, Any]) -> list[Path]:
    """config.yaml, and the layer of the study's scale unless config.yaml itself is of that scale."""
    base = Path("config.yaml")
    try:
        own = (yaml.safe_load(base.read_text()) or {}).get("scale")
    except (OSError, yaml.YAMLError, AttributeError):
        return [base]
    layer = SCALES / f"{settings['scale']}.yaml"
    return [base] if own == settings["scale"] or not layer.is_file() else [base, layer]


def _check_config(config: Config, layers: Sequence[Path], results: Results) -> None:
    """Refuse a configuration that the tables were not made with."""
    for table in results.tables():
        settings = results.analysis(table)["settings"]
        own = {"study": config.study, "scale": config.scale}
        for key, value in own.items():
            if settings.get(key) != value:
                raise UserError(
                    f"{layers[-1]}: {key} is {value!r}, {results.root} was made with {settings.get(key)!r}: "
                    "write --config with its files, layers last"
                )
