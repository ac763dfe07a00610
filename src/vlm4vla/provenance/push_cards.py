"""The cards (README.md) that `vlm4vla push` writes for the hub."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from vlm4vla.conventions.benchmarks import facts
from vlm4vla.core.artefacts import checkpoint_hash
from vlm4vla.core.errors import UserError
from vlm4vla.core.markup import markdown_line, markdown_text
from vlm4vla.policies.model_card import OWN_LICENCE, CardScore, policy_card, read_sources
from vlm4vla.study.layout import ARTEFACTS, PROVENANCE
from vlm4vla.study.results_folder import Results, read_json, study_of

FIRST_TABLE = "main"  # its numbers come before those of other tables with the same cell


def policy_card_of(folder: Path, provenance: Mapping[str, Any], name: str, licence: str | None) -> str:
    """The model card of the policy in `folder`, with its scores if its study has a table of them."""
    policy = read_json(folder / "policy.json", "train the policy again")
    if not isinstance(policy, dict) or "benchmark" not in policy:
        raise UserError(f"{folder / 'policy.json'}: not the record of a policy: train the policy again")
    results = study_of(folder)
    sources = read_sources(provenance, results.locate if results else Path)
    scores = []
    if results:
        scores = _own_scores(results, folder) or _scores(results, provenance["settings"])
    return policy_card(policy, provenance, sources, name=name, scores=scores, licence=licence)


def _own_scores(results: Results, folder: Path) -> list[CardScore]:
    """The scores of the policy's own rollout; none if the study has no finished rollout of these weights."""
    # It imports scipy.stats, which takes 0.9 CPU seconds.
    from vlm4vla.policies.card_scores import rollout_scores

    inside = (folder.resolve() / PROVENANCE).relative_to(results.root.resolve()).as_posix()
    values = ARTEFACTS["vla"].parse(inside) or {}
    return rollout_scores(results.path("rollout", **values, executed=""), checkpoint_hash(folder))


def _scores(results: Results, settings: Mapping[str, Any]) -> list[CardScore]:
    """The scores of the policy's cell in the first table that has them, which can be means over seeds."""
    benchmark = settings["benchmark"]
    cell = {
        "model": settings["backbone"],
        "auxiliary": settings.get("auxiliary", "none"),
        "variant": settings["variant"],
        "benchmark": benchmark,
    }
    for table in sorted(results.tables(), key=lambda name: (name != FIRST_TABLE, name)):
        analysis = results.analysis(table)
        if settings["seed"] not in analysis["settings"].get("seeds", [settings["seed"]]):
            continue
        found = {
            record["metric"]: record
            for record in analysis["records"]
            if all(record.get(key, "none" if key == "auxiliary" else None) == cell[key] for key in cell)
        }
        rows = [found[metric] for metric in facts(benchmark).metrics if metric in found]
        if rows:
            scale = str(analysis["settings"].get("scale", ""))
            return [_score(row, scale) for row in rows if row.get("value") is not None]
    return []


def _score(row: Mapping[str, Any], scale: str) -> CardScore:
    return CardScore(
        row["metric"],
        row["value"],
        row.get("ci_low"),
        row.get("ci_high"),
        row.get("episodes") or 0,
        row.get("seeds") or 1,
        scale,
    )


def dataset_card(
    info: Mapping[str, Any], provenance: Mapping[str, Any], name: str, licence: str | None
) -> str:
    """The card of a demonstration set. `info`: meta/info.json. `provenance`: empty if there is no record.

    Recorded demonstrations are under Apache-2.0 by default. Others keep the licence of their source.
    """
    from huggingface_hub import DatasetCard, DatasetCardData

    settings = provenance.get("settings") or {}
    recorded = (settings.get("demonstrations") or {}).get("episodes") is not None
    licence = licence or (OWN_LICENCE if recorded else "other")
    data = DatasetCardData(
        license=licence,
        task_categories=["robotics"],
        tags=["LeRobot", "vlm4vla"],
        configs=[{"config_name": "default", "data_files": "data/*/*.parquet"}],
    )
    origin = (
        f"Episodes of a scripted expert in the embedded benchmark {facts(settings['benchmark']).title}, a "
        "small MuJoCo model of the real one."
        if recorded
        else "Demonstrations in the format of LeRobot."
    )
    rows = [
        ("format", f"LeRobot {info.get('codebase_version')}"),
        ("robot", info.get("robot_type")),
        ("episodes", info.get("total_episodes")),
        ("frames", info.get("total_frames")),
        ("instructions", info.get("total_tasks")),
        ("frames per second", info.get("fps")),
    ]
    table = "\n".join(f"| {key} | {markdown_text(str(value))} |" for key, value in rows if value is not None)
    parts = [
        f"# {name.rpartition('/')[2]}",
        origin,
        f"| property | value |\n| --- | --- |\n{table}",
        "## Use\n\n"
        f"```yaml\ndemonstrations:\n  dataset: {name}\n  revision: {info.get('codebase_version')}\n```",
        "## Licence\n\n" + _licence_text(licence),
    ]
    return _card(DatasetCard, data, parts)


def study_card(metadata: Mapping[str, Any], file: str, count: int, name: str, licence: str | None) -> str:
    """The card of a packed study. `metadata`: the RO-Crate's. `file`: the zip file with `count` files."""
    from huggingface_hub import DatasetCard, DatasetCardData

    graph = metadata["@graph"]
    root = next((each for each in graph if isinstance(each, dict) and each.get("@id") == "./"), {})
    terms = root.get("license")
    stated = str(terms.get("@id", "") if isinstance(terms, dict) else terms or "").rpartition("/")[2].lower()
    licence = licence or stated or "other"
    data = DatasetCardData(license=licence, tags=["robotics", "ro-crate", "vlm4vla"])
    parts = [
        f"# {name.rpartition('/')[2]}",
        f"{markdown_line(str(root.get('name', 'A study')))}: {markdown_text(file)}, a Workflow Run RO-Crate "
        f"of {count} files. "
        f"{markdown_text(str(root.get('description', '')))}".strip(),
        "## Use\n\n```sh\n"
        f"hf download {name} {file} --repo-type dataset --local-dir .\nvlm4vla check {file}\n```",
        "## Licence\n\n" + _licence_text(licence),
    ]
    return _card(DatasetCard, data, parts)


def _licence_text(licence: str) -> str:
    return "The licence of the source applies." if licence == "other" else f"Licence: `{licence}`."


def _card(kind: Any, data: Any, parts: list[str]) -> str:
    return str(kind(f"---\n{data.to_yaml()}\n---\n\n" + "\n\n".join(parts) + "\n"))
