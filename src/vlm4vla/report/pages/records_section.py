"""The last part of a table's page: where its numbers come from.

It lists every rollout with its records, checkpoint and commit, and links to each artefact behind it.
"""

from __future__ import annotations

import hashlib
from collections.abc import Collection, Sequence
from html import escape
from pathlib import Path

import pyarrow.parquet as pq

from vlm4vla.core.artefacts import canonical_json, file_hash
from vlm4vla.report import names
from vlm4vla.report.pages.page import RECORDS
from vlm4vla.study.artefact_chain import FINE, Chain, RecordedArtefact
from vlm4vla.study.layout import ARTEFACTS, INPUT_FOLDERS, PROVENANCE
from vlm4vla.study.results_folder import Results

ROLLOUTS = ARTEFACTS["rollout"].folder
HASH_DIGITS = 12  # printed hexadecimal digits of a hash
_FOLDERS = ("model", "auxiliary", "variant", "benchmark", "seed")  # between rollouts/ and the records
_KEYS = ("model", "auxiliary", "variant", "benchmark", "seed", "checkpoint")
_HEADER = ("policy", "after", "variant", "benchmark", "seed", "episodes", "records", "checkpoint", "commit")


def records_section(
    root: Path,
    table: str,
    episodes: Sequence[Path],
    others: Sequence[Path] = (),
    tasks: Collection[str] = ("none",),
) -> str:
    """HTML with a sortable grid of one row per rollout, and every artefact behind the rollouts once.

    `root`: the study's results folder. `episodes`: the episodes.parquet of the table's rollouts. `others`:
    further artefacts (a folder with a provenance.json, such a file, or a score that contains its provenance).
    `tasks`: the auxiliary tasks of the table; rollouts with other tasks are left out, and so are missing
    files. Files are hashed again, and the section names each file whose hash differs from the record. Raises
    UserError for a provenance that is not JSON.
    """
    paths = [path for path in sorted(map(Path, episodes)) if path.exists()]
    # The inputs are in the study of the records, even if the page is written to another folder.
    in_study = (
        bool(paths)
        and len(paths[0].parts) > len(_FOLDERS)
        and paths[0].parents[len(_FOLDERS)].name == ROLLOUTS
    )
    chain, lines = Chain(Results(paths[0].parents[len(_FOLDERS) + 1] if in_study else root)), []
    for path in paths:
        records = pq.read_table(path, columns=list(_KEYS))
        row = next(iter(records.slice(0, 1).to_pylist()), {"auxiliary": None})
        if row["auxiliary"] not in {"none", *tasks}:
            continue
        artefact = chain.follow(path.parent / PROVENANCE) if (path.parent / PROVENANCE).exists() else None
        name = escape(names.model(row["model"]))
        commit = (artefact.record.get("commit") if artefact else None) or "?"
        cells = [
            f'<a href="#{_anchor(artefact)}">{name}</a>' if artefact else name,
            *(escape(str(row[key])) for key in _KEYS[1:5]),
            str(records.num_rows),
            f"<code>{file_hash(path)[:HASH_DIGITS]}</code>",
            f"<code>{escape(row['checkpoint'][:HASH_DIGITS])}</code>",
            f"<code>{escape(commit[:HASH_DIGITS])}</code>",
        ]
        lines.append("<tr>" + "".join(f"<td>{cell}</td>" for cell in cells) + "</tr>")
    for path in sorted(map(Path, others)):
        path = path / PROVENANCE if path.is_dir() else path
        if path.exists():
            chain.follow(path)
    if not lines:
        return ""
    problems = chain.problems()
    state = (
        "Files that differ from their records: " + "; ".join(problems) + "."
        if problems
        else "All files match their records."
    )
    command = f"vlm4vla trace {table} ROW COLUMN"
    return "\n".join(
        [
            f"<h2>{RECORDS}</h2>",
            '<p class="words">Each row is a rollout. Click on a policy to see what it was made from. '
            f"{escape(state)} To recompute one number from its records, run "
            f"<code>{escape(command)}</code>.</p>",
            '<div class="scroll"><table>',
            "<thead><tr>" + "".join(f"<th>{head}</th>" for head in _HEADER) + "</tr></thead>",
            "<tbody>",
            *lines,
            "</tbody></table></div>",
            *(_details(artefact, chain) for artefact in chain.artefacts.values()),
        ]
    )


def _anchor(artefact: RecordedArtefact) -> str:
    """Of the path, not of the record: the record has times, and two runs make the same page."""
    return f"made-{hashlib.sha256(_path_in_study(artefact.path).encode()).hexdigest()[:HASH_DIGITS]}"


def _path_in_study(path: Path) -> str:
    """`path` relative to the study's folder, so that the page does not depend on where the study is."""
    folders = [index for index, part in enumerate(path.parts) if part in INPUT_FOLDERS]
    return str(Path(*path.parts[folders[0] :])) if folders else str(path)


def _details(artefact: RecordedArtefact, chain: Chain) -> str:
    """A collapsed entry with the record of an artefact, its files, and links to its inputs."""
    record = artefact.record
    packages = ", ".join(f"{name} {version}" for name, version in (record.get("packages") or {}).items())
    lines = [
        f"sha256 {artefact.sha256}",
        f"commit {record.get('commit')}, seed {record.get('seed')}, started {record.get('started')}",
        f"python {record.get('python')}, {packages}",
        f"settings {canonical_json(record.get('settings'))}",
        *(f"file {name}: {file['state']}, sha256 {file['sha256']}" for name, file in artefact.files.items()),
    ]
    made_from = []
    for name, path in artefact.inputs.items():
        other = chain.artefacts.get(path)
        label = escape(_path_in_study(Path(path)))
        link = f'<a href="#{_anchor(other)}">{label}</a>' if other else f"{label} (missing)"
        made_from.append(f"made from {escape(name)}: {link}")
    changed = any(file["state"] != FINE for file in artefact.files.values())
    title = f"{artefact.stage}: {_path_in_study(artefact.path)}" + (" (changed)" if changed else "")
    body = "\n".join([*map(escape, lines), *made_from])
    return f'<details id="{_anchor(artefact)}"><summary>{escape(title)}</summary><pre>{body}</pre></details>'
