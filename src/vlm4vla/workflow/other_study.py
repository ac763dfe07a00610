"""The checks of other studies: of `policies_of`, and of those for the table transfer."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path

from vlm4vla.core.errors import UserError
from vlm4vla.study.other_studies import KEY, backbone_rollouts, shared_backbones
from vlm4vla.study.results_folder import read_json
from vlm4vla.study.runs import TRANSFER
from vlm4vla.study.study import Study
from vlm4vla.workflow.jobs import JobIndex, plan


def check_other_study(study: Study, targets: Iterable[str] = ()) -> None:
    """Check the artefacts of the study `policies_of` that `targets` read.

    Raises UserError (one line) for an artefact that is missing, and for one that was made with other settings
    than those of `study`: then it would not be the policy that the tables name.
    """
    if study.config.policies_of is None:
        return
    index = JobIndex(study)
    paths = dict.fromkeys(path for job in plan(study, targets).values() for path in job.others)
    for path in paths:
        if not Path(path).is_file():
            raise UserError(
                f"config.yaml: policies_of: {path} is missing: run the study {study.config.policies_of!r} "
                "first, or remove this key"
            )
        record = read_json(Path(path), f"run the study {study.config.policies_of!r} again")
        made = record.get("provenance", record).get("settings") or {}
        wanted = index.settings_of_other(path)
        for key in dict.fromkeys((*made, *wanted)):
            if made.get(key) != wanted.get(key):
                raise UserError(
                    f"config.yaml: policies_of: {path} was made with another value of {key!r}: write the "
                    f"settings of the study {study.config.policies_of!r}"
                )


def check_other_studies(study: Study) -> None:
    """Refuse another study for the table transfer that cannot be read, or has other backbones."""
    if TRANSFER not in study.tables():
        return
    backbones = study.cells_of(TRANSFER).backbones
    for text in study.config.transfer.records:
        path = Path(text)
        if path.resolve() == study.root.resolve():
            raise UserError(
                f"{KEY}: {text!r}: this is the study's own folder, whose benchmarks are compared anyway: "
                "write the folder of another study"
            )
        shared_backbones(path, backbones, set(backbone_rollouts(path).values()) - set(study.config.experts))
