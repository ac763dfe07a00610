"""What the targets of a run need of the outside: data sets, public sets, question scores, simulators, GPUs.

A cell on LIBERO-10 must not be refused because CALVIN's demonstrations are not there.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from types import SimpleNamespace

from vlm4vla.core.errors import UserError
from vlm4vla.study.runs import FAST
from vlm4vla.study.study import Study
from vlm4vla.workflow.resources import Needs


@dataclass(frozen=True)
class Asked:
    """`backbones`: their keys; `demonstrations`, `rollouts`: benchmarks; `sets`: auxiliary tasks whose data
    is read; `capability`: (backbone, auxiliary) whose question scores are; `correlation`: whether that table
    is made, which cannot do without them; `gpus`: the most that one training takes."""

    backbones: frozenset[str]
    demonstrations: frozenset[str]
    rollouts: frozenset[str]
    sets: frozenset[str]
    capability: tuple[tuple[str, str], ...]
    correlation: bool
    gpus: int


def asked(study: Study, targets: Iterable[str] = ()) -> Asked:
    """Of `targets` (names or paths; none: all_tables), which `preflight.check_target` has let pass.

    A file that is no artefact of its own (a log) counts as everything.
    """
    from vlm4vla.workflow.jobs import NO_RULE, plan

    try:
        jobs = list(plan(study, targets).values())
    except UserError as error:
        if NO_RULE not in str(error):
            raise
        jobs = list(plan(study).values())
    keys: dict[str, list[tuple[str, ...]]] = {}
    for job in jobs:
        keys.setdefault(job.stage, []).append(job.key)

    def first(stage: str, place: int = 0) -> frozenset[str]:
        return frozenset(key[place] for key in keys.get(stage, []))

    return Asked(
        backbones=first("backbone"),
        demonstrations=first("demonstrations"),
        rollouts=first("rollout", 3),
        sets=first("auxiliary_data") - {"fast", *FAST},
        capability=tuple((key[0], key[1]) for key in keys.get("capability", [])),
        correlation=("correlation",) in keys.get("table", []),
        gpus=_most_gpus(study, keys),
    )


def _most_gpus(study: Study, keys: dict[str, list[tuple[str, ...]]]) -> int:
    """GPUs of the largest training among jobs of these keys; 0 where all backbones are tiny."""
    needs = Needs(study)
    most = 0
    for vlm, auxiliary, variant, benchmark, *_ in keys.get("vla", []):
        run = SimpleNamespace(vlm=vlm, auxiliary=auxiliary, variant=variant, benchmark=benchmark)
        most = max(most, needs.of_vla("gpu")(run) or 0)
    for vlm, task in keys.get("auxiliary", []):
        most = max(most, needs.of_auxiliary("gpu")(SimpleNamespace(vlm=vlm, task=task)) or 0)
    return most
