"""Where a table's numbers come from, as the last part of its page: every rollout with its records, checkpoint
and commit, linked to each artefact that it was made from."""

from __future__ import annotations

from collections.abc import Collection, Sequence
from html import escape
from pathlib import Path

import pyarrow.parquet as pq

from vlm4vla.core.artefacts import canonical_json, file_hash
from vlm4vla.report import names
from vlm4vla.study.artefact_chain import FINE, PROVENANCE, Artefact, Chain
from vlm4vla.study.results_folder import STAGES, Results

SHORT = 12  # hexadecimal digits of a hash: enough to find it, few enough to read
_PLACE = ("model", "auxiliary", "variant", "benchmark", "seed")  # folders between rollouts/ and its records
_KEYS = ("model", "auxiliary", "variant", "benchmark", "seed", "checkpoint")
_HEADER = ("policy", "after", "variant", "benchmark", "seed", "episodes", "records", "checkpoint", "commit")


def records_section(
    root: Path,
    table: str,
    episodes: Sequence[Path],
    others: Sequence[Path] = (),
    tasks: Collection[str] = ("none",),
) -> str:
    """HTML: a sortable grid with one line a rollout, then every artefact behind them, once.

    `root`: the study's results folder; `episodes`: the table's episodes.parquet; `others`: further artefacts
    (a folder with a provenance.json, that file, or a score that holds its provenance); `tasks`: auxiliary
    tasks of the table: rollouts of others are left out. Hashes are computed anew and compared with the
    recorded ones, so a file that changed since is named. Files that are not there are left out. Raises
    UserError for a provenance that is no JSON.
    """
    paths = [path for path in sorted(map(Path, episodes)) if path.exists()]
    # inputs lie in the study of the records, wherever the page is written
    own = (
        bool(paths) and len(paths[0].parts) > len(_PLACE) and paths[0].parents[len(_PLACE)].name == "rollouts"
    )
    chain, lines = Chain(Results(paths[0].parents[len(_PLACE) + 1] if own else root)), []
    for path in paths:
        table_ = pq.read_table(path, columns=list(_KEYS))
        row = next(iter(table_.slice(0, 1).to_pylist()), {"auxiliary": None})
        if row["auxiliary"] not in {"none", *tasks}:
            continue
        artefact = chain.follow(path.parent / PROVENANCE) if (path.parent / PROVENANCE).exists() else None
        name = escape(names.model(row["model"]))
        commit = (artefact.record.get("commit") if artefact else None) or "?"
        cells = [
            f'<a href="#{_anchor(artefact)}">{name}</a>' if artefact else name,
            *(escape(str(row[key])) for key in _KEYS[1:5]),
            str(table_.num_rows),
            f"<code>{file_hash(path)[:SHORT]}</code>",
            f"<code>{escape(row['checkpoint'][:SHORT])}</code>",
            f"<code>{escape(commit[:SHORT])}</code>",
        ]
        lines.append("<tr>" + "".join(f"<td>{cell}</td>" for cell in cells) + "</tr>")
    for path in sorted(map(Path, others)):
        path = path / PROVENANCE if path.is_dir() else path
        if path.exists():
            chain.follow(path)
    if not lines:
        return ""
    problems = chain.problems()
    state = "All files are as recorded." if not problems else "Not as recorded: " + "; ".join(problems) + "."
    command = f"vlm4vla trace {table} ROW COLUMN"
    return "\n".join(
        [
            "<h2>Where the numbers come from</h2>",
            f'<p class="words">One line a rollout; its name leads to what it was made from. {escape(state)} '
            f"For one number, computed again from its records: <code>{escape(command)}</code></p>",
            '<div class="scroll"><table>',
            "<thead><tr>" + "".join(f"<th>{head}</th>" for head in _HEADER) + "</tr></thead>",
            "<tbody>",
            *lines,
            "</tbody></table></div>",
            *(_details(artefact, chain) for artefact in chain.artefacts.values()),
        ]
    )


def _anchor(artefact: Artefact) -> str:
    return f"made-{artefact.sha256[:SHORT]}"


def _shown(path: Path) -> str:
    """`path` within the study's folder, so that a page says the same wherever the study lies."""
    places = [index for index, part in enumerate(path.parts) if part in (*STAGES, "rollouts")]
    return str(Path(*path.parts[places[0] :])) if places else str(path)


def _details(artefact: Artefact, chain: Chain) -> str:
    """One artefact, folded: what was recorded of it, its files, and links to what it was made from."""
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
        shown = escape(_shown(Path(path)))
        link = f'<a href="#{_anchor(other)}">{shown}</a>' if other else f"{shown} (missing)"
        made_from.append(f"made from {escape(name)}: {link}")
    changed = any(file["state"] != FINE for file in artefact.files.values())
    title = f"{artefact.stage}: {_shown(artefact.path)}" + (" (changed)" if changed else "")
    body = "\n".join([*map(escape, lines), *made_from])
    return f'<details id="{_anchor(artefact)}"><summary>{escape(title)}</summary><pre>{body}</pre></details>'
