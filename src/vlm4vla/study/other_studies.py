"""Episode records of another study, from its results folder or from what `vlm4vla pack` made of it."""

from __future__ import annotations

import math
import re
import shutil
import tempfile
import zipfile
from collections.abc import Collection, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

from vlm4vla.core.errors import UserError
from vlm4vla.core.inside import bad_name
from vlm4vla.study.layout import ARTEFACTS, EPISODES, PROVENANCE
from vlm4vla.study.results_folder import Results, read_json
from vlm4vla.study.runs import EXPERT_VARIANT, REFERENCES

KEY = "config.yaml: transfer.records"
LEAST_SHARED = 4  # backbones: with fewer, a correlation has no interval
MOST_BYTES = 4_000_000_000  # of the records of a packed study
_ROLLOUTS = ARTEFACTS["rollout"].folder
_PACKED = re.compile(rf"(results/[^/]+)/({_ROLLOUTS}/.+)")


def backbone_rollouts(path: Path) -> dict[str, str]:
    """The backbone of each fully trained policy's records in `path`, by the path below the results folder.

    Policies after auxiliary tasks and with other variants, and random actions and scripted experts, are left
    out. Raises UserError for a path that has no such records.
    """
    if path.is_dir():
        root = _folder(path)
        names = [each.relative_to(root).as_posix() for each in root.glob(ARTEFACTS["rollout"].glob)]
    else:
        with _archive(path) as archive:
            names = [found[2] for name in archive.namelist() if (found := _PACKED.fullmatch(name))]
    found = {}
    for name in sorted(names):
        values = ARTEFACTS["rollout"].parse(name)
        if values is None or values["executed"] or values["vlm"] in REFERENCES:
            continue
        if (values["auxiliary"], values["variant"]) == ("none", EXPERT_VARIANT):
            found[name] = values["vlm"]
    if not found:
        raise UserError(
            f"{KEY}: {str(path)!r}: has no records of fully trained policies: write the results folder of a "
            "study whose rollouts have run, or a study that `vlm4vla pack` has packed"
        )
    return found


def input_files(path: Path) -> list[str]:
    """The files of `path` that a table reads: each file of records of a folder, or the packed file.

    Empty if nothing is there. Raises UserError for a folder without records.
    """
    if not path.is_dir():
        return [str(path)] if path.is_file() else []
    root = _folder(path)
    return [str(root / name) for name in backbone_rollouts(path)]


def shared_backbones(path: Path, own: Sequence[str], others: Collection[str]) -> list[str]:
    """The backbones in both of `own` and `others`, in the order of `own`.

    Raises UserError if they are fewer than 4, or fewer than half of the backbones of either study: the
    correlation would then be about a selection.
    """
    shared = [name for name in own if name in others]
    least = max(LEAST_SHARED, math.ceil(max(len(own), len(set(others))) / 2))
    if len(shared) < least:
        there = sorted(set(others))
        raise UserError(
            f"{KEY}: {str(path)!r}: shares {len(shared)} backbones with this study, of {len(own)} in "
            f"tables.main ({', '.join(own)}) and {len(there)} there ({', '.join(there)}): write a study that "
            f"shares {least} or more, with the same names"
        )
    return shared


@contextmanager
def opened_study(path: Path) -> Iterator[Results]:
    """The results folder of the study in `path`; the records of a zip file are unpacked for this time.

    Raises UserError for a path that is neither a results folder nor a packed study. Errors inside the context
    name `path` in place of the unpacked folder.
    """
    if path.is_dir():
        yield Results(_folder(path))
        return
    with tempfile.TemporaryDirectory(prefix="vlm4vla-") as temporary:
        try:
            yield Results(_unpacked(path, Path(temporary)))
        except UserError as error:
            raise UserError(str(error).replace(temporary, str(path))) from None


def _folder(path: Path) -> Path:
    """The results folder that `path` is, or that it contains if it is an unpacked study."""
    if not (path / _ROLLOUTS).is_dir():
        inside = [each.parent for each in sorted(path.glob(f"results/*/{_ROLLOUTS}"))]
        if len(inside) == 1:
            return inside[0]
        raise UserError(
            f"{KEY}: {str(path)!r}: has no folder {_ROLLOUTS}: write the folder of a study, such as "
            "results/metaworld, or a study that `vlm4vla pack` has packed"
        )
    return path


@contextmanager
def _archive(path: Path) -> Iterator[zipfile.ZipFile]:
    if not path.is_file():
        raise UserError(f"{KEY}: {str(path)!r}: no such file or folder: write the path of another study")
    try:
        archive = zipfile.ZipFile(path)
    except Exception:  # zipfile raises errors of many types for damaged files
        raise UserError(
            f"{KEY}: {str(path)!r}: not a complete zip file: copy it again, or write a results folder"
        ) from None
    with archive:
        yield archive


def _unpacked(path: Path, folder: Path) -> Path:
    """Unpack the records of a packed study, with their provenance, to `folder`."""
    root, size = "", 0
    with _archive(path) as archive:
        for member in archive.infolist():
            found = _PACKED.fullmatch(member.filename)
            if found is None or Path(found[2]).name not in (EPISODES, PROVENANCE):
                continue
            problem, size = bad_name(member.filename), size + member.file_size
            if problem is None and root not in ("", found[1]):
                problem = f"is of another study than {root}"
            if problem is None and size > MOST_BYTES:
                problem = f"is beyond the {MOST_BYTES / 1e9:g} GB that records may have"
            if problem is not None:
                raise UserError(
                    f"{KEY}: {str(path)!r}: {member.filename[:200]!r} {problem}: ask for another copy"
                )
            root, target = found[1], folder / member.filename
            target.parent.mkdir(parents=True, exist_ok=True)
            try:
                with archive.open(member) as source, target.open("wb") as handle:
                    shutil.copyfileobj(source, handle)
            except OSError:
                raise
            except Exception:  # zipfile raises errors of many types for damaged files
                raise UserError(
                    f"{KEY}: {str(path)!r}: {member.filename[:200]!r} cannot be read: copy the file again"
                ) from None
    return folder / root


def on_real_simulator(results: Results, model: str, benchmark: str, variant: str) -> bool:
    """Whether a cell's policies acted on a real simulator, by the provenance of one of their rollouts.

    False for records without provenance.
    """
    cell = {"vlm": model, "auxiliary": "none", "variant": variant, "benchmark": benchmark}
    pattern = Path(ARTEFACTS["rollout"].path(**cell, seed="*", executed="")).with_name(PROVENANCE)
    for path in sorted(results.root.glob(pattern.as_posix())):
        settings = read_json(path, "run the rollout again").get("settings") or {}
        return (settings.get("evaluation") or {}).get("simulator") is not None
    return False
