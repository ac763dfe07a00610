"""The metadata of a packed study: a Workflow Run RO-Crate, as JSON-LD.

It follows RO-Crate 1.1 (https://w3id.org/ro/crate/1.1) and Workflow Run Crate 0.5
(https://w3id.org/ro/wfrun/workflow/0.5), and describes the Snakemake workflow and its run. With Process Run
Crate 0.5, it describes one action per artefact, whose inputs and results are files of the crate. No library
is used, so that equal studies have equal bytes.
"""

from __future__ import annotations

import importlib.metadata
import mimetypes
from collections.abc import Iterable, Mapping, Sequence
from datetime import UTC, datetime, timedelta
from typing import Any

METADATA = "ro-crate-metadata.json"
WORKFLOW = "Snakefile"
CONTEXT = ["https://w3id.org/ro/crate/1.1/context", "https://w3id.org/ro/terms/workflow-run/context"]
PROFILES = {
    "https://w3id.org/ro/wfrun/process/0.5": ("Process Run Crate", "0.5"),
    "https://w3id.org/ro/wfrun/workflow/0.5": ("Workflow Run Crate", "0.5"),
    "https://w3id.org/workflowhub/workflow-ro-crate/1.0": ("Workflow RO-Crate", "1.0"),
}
MEDIA = {
    ".md": "text/markdown",
    ".parquet": "application/vnd.apache.parquet",
    ".jsonl": "application/jsonl",
    ".yaml": "application/yaml",
    ".smk": "text/plain",
    ".safetensors": "application/octet-stream",
    ".csv": "text/csv",
    ".tex": "application/x-tex",
    ".lock": "text/plain",
}
README = "README.md"
UNDATED = "1980-01-01T00:00:00+00:00"  # the time of a study without any provenance
_TIME = "%Y-%m-%dT%H:%M:%SZ"
Entity = dict[str, Any]


def describe(
    study: str,
    files: Mapping[str, Mapping[str, Any]],
    provenance: Mapping[str, Mapping[str, Any]],
    produced: Mapping[str, Sequence[str]],
    results: Sequence[str],
    sources: Sequence[str],
    licence: str,
) -> dict[str, Any]:
    """The content of ro-crate-metadata.json.

    `files`: path in the crate -> {"description", "sha256", "size" in bytes}. `provenance`: path of a
    provenance file (or of a score that contains its provenance) -> its record, with "inputs" as paths in the
    crate. `produced`: the same paths -> the files of that artefact. `results`: files that the run as a whole
    produced. `sources`: files that the run read. `licence`: SPDX identifier.
    """
    times = [_span(record) for record in provenance.values() if record.get("started")]
    start = min((begin for begin, _ in times), default=UNDATED)
    end = max((stop for _, stop in times), default=UNDATED)
    actions = [_action(path, record, produced[path]) for path, record in provenance.items()]
    run = {
        "@id": "#run",
        "@type": "CreateAction",
        "name": f"Run of the study {study}",
        "description": f"Snakemake ran the stages of the study {study} and wrote its tables and figures.",
        "instrument": _ref(WORKFLOW),
        "object": _refs(path for path in sources if path != WORKFLOW),
        "result": _refs(results),
        "startTime": start,
        "endTime": end,
        "actionStatus": "http://schema.org/CompletedActionStatus",
    }
    licence_url = f"https://spdx.org/licenses/{licence}"
    root = {
        "@id": "./",
        "@type": "Dataset",
        "name": f"VLM4VLA study {study}",
        "description": (
            "Tables, figures, analysis, episode records and the provenance of every artefact of one study of "
            "vision-language models as backbones of robot policies (after arXiv 2601.03309)."
        ),
        "datePublished": end,
        "license": _ref(licence_url),
        "conformsTo": _refs(PROFILES),
        "mainEntity": _ref(WORKFLOW),
        "hasPart": _refs(files),
        "mentions": _refs([run["@id"], *(action["@id"] for action in actions)]),
    }
    descriptor = {
        "@id": METADATA,
        "@type": "CreativeWork",
        "about": _ref("./"),
        "conformsTo": _refs([CONTEXT[0].removesuffix("/context"), list(PROFILES)[-1]]),
    }
    profiles = [
        {"@id": url, "@type": "CreativeWork", "name": name, "version": version}
        for url, (name, version) in PROFILES.items()
    ]
    stages = sorted({record.get("stage") or "stage" for record in provenance.values()})
    tools = [
        {
            "@id": _tool(stage),
            "@type": "SoftwareApplication",
            "name": f"vlm4vla {stage}",
            "softwareVersion": _version(),
        }
        for stage in stages
    ]
    language = {
        "@id": "#snakemake",
        "@type": "ComputerLanguage",
        "name": "Snakemake",
        "url": {"@id": "https://snakemake.readthedocs.io"},
    }
    graph = [
        descriptor,
        root,
        *profiles,
        {"@id": licence_url, "@type": "CreativeWork", "name": licence, "identifier": licence},
        language,
        {"@id": "https://snakemake.readthedocs.io", "@type": "WebSite", "name": "Snakemake's documentation"},
        run,
        *tools,
        *actions,
        *(_file(path, facts, tools if path == WORKFLOW else []) for path, facts in files.items()),
    ]
    return {"@context": CONTEXT, "@graph": graph}


def _file(path: str, facts: Mapping[str, Any], parts: Sequence[Entity]) -> Entity:
    name = path.rsplit("/", 1)[-1]
    suffix = "." + name.rsplit(".", 1)[-1] if "." in name else ""
    entity: Entity = {
        "@id": path,
        "@type": "File",
        "name": facts["description"],
        "contentSize": str(facts["size"]),
        "sha256": facts["sha256"],
    }
    media = MEDIA.get(suffix) or mimetypes.types_map.get(suffix) or (None if suffix else "text/plain")
    if media:
        entity["encodingFormat"] = media
    if path == README:
        entity["about"] = _ref("./")
    if path == WORKFLOW:
        entity["@type"] = ["File", "SoftwareSourceCode", "ComputationalWorkflow"]
        entity["programmingLanguage"] = _ref("#snakemake")
        entity["version"] = _version()
        if parts:
            entity["hasPart"] = _refs(part["@id"] for part in parts)
    return entity


def _action(path: str, record: Mapping[str, Any], produced: Sequence[str]) -> Entity:
    """The run of one stage. Its settings are in the provenance file, which is one of its results."""
    action: Entity = {
        "@id": f"#{path}",
        "@type": "CreateAction",
        "name": f"{record.get('stage') or 'stage'}: {path.rsplit('/', 1)[0]}",
        "instrument": _ref(_tool(record.get("stage") or "stage")),
        "object": _refs(record.get("inputs") or ()),
        "result": _refs(produced),
    }
    if record.get("commit"):
        action["description"] = f"vlm4vla at commit {record['commit']}, seed {record.get('seed')}"
    if record.get("started"):
        action["startTime"], action["endTime"] = _span(record)
    return action


def _span(record: Mapping[str, Any]) -> tuple[str, str]:
    """Start and end of a stage, as Process Run Crate recommends: ISO 8601 with the offset from UTC."""
    begin = datetime.strptime(record["started"], _TIME).replace(tzinfo=UTC)
    end = begin + timedelta(seconds=int(record.get("wall_seconds") or 0))
    return begin.isoformat(), end.isoformat()


def _version() -> str:
    return importlib.metadata.version("vlm4vla")


def _tool(stage: str) -> str:
    return f"#vlm4vla-{stage}"


def _ref(identifier: str) -> Entity:
    return {"@id": identifier}


def _refs(identifiers: Iterable[str]) -> Entity | list[Entity]:
    """References to entities. RO-Crate recommends a single value instead of a list of one."""
    found = [_ref(identifier) for identifier in identifiers]
    return found[0] if len(found) == 1 else found
