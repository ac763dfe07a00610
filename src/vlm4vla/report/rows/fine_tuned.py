"""What fine-tuning did to a VLM itself: the score of its task and its capability, before and after."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from vlm4vla.config.tables import Cells
from vlm4vla.report import names
from vlm4vla.report.rows.auxiliary_scores import OwnScore, read_own_scores
from vlm4vla.report.rows.capability_scores import OVERALL, Score, read_capability
from vlm4vla.report.rows.cells import Row
from vlm4vla.report.rows.contrasts import NONE
from vlm4vla.report.rows.decisions import NOT_LEARNT, NOT_MEASURED
from vlm4vla.report.rows.table import GAP, Block

CAPTION = (
    "A task's own score is the mean over its held-out questions, from 0 to 100. Its interval is Wilson's if "
    "answers are right or wrong. If answers are graded (omni-generation, where 0 is the score of the mean "
    "training image), it is normal, but at least as wide as the interval of equal grades. The own score "
    "clearly rose if the interval after fine-tuning is above the interval before and above the score of "
    "answers that ignore the image. Capability is the share of held-out general questions that the VLM "
    "answers correctly, over all sets together (Wilson), before and after fine-tuning."
)


@dataclass(frozen=True)
class FineTuned:
    """One VLM of a table. A score that was not measured is None.

    `own`: the scores of its auxiliary task. `base`: the capability of its backbone without the task.
    """

    model: str
    auxiliary: str
    own: OwnScore | None
    base: Score | None
    capability: Score | None

    @property
    def clearly_rose(self) -> bool:
        """Whether the task's own score clearly rose."""
        return self.own is not None and self.own.clearly_rose

    @property
    def label(self) -> str:
        """`Kosmos-2 after RoboPoint`."""
        return f"{names.model(self.model)} after {names.auxiliary(self.auxiliary)}"


def vlms_in(cells: Cells) -> list[tuple[str, str]]:
    """(backbone, auxiliary task) of every VLM in the cells of a table, in the table's order."""
    return [(model, task) for model in cells.backbones for task in cells.auxiliaries[model]]


def read_fine_tuned(
    vlms: Sequence[tuple[str, str]], capability: Sequence[Path], auxiliary: Sequence[Path]
) -> list[FineTuned]:
    """The scores of each of `vlms`, (backbone, auxiliary task), including those without an auxiliary task."""
    own = read_own_scores(auxiliary)
    scores = {vlm: sets[OVERALL] for vlm, sets in read_capability(capability).items()}
    return [
        FineTuned(model, task, own.get((model, task)), scores.get((model, NONE)), scores.get((model, task)))
        for model, task in vlms
    ]


def not_learnt(vlms: Sequence[FineTuned]) -> dict[tuple[str, str], str]:
    """NOT_LEARNT or NOT_MEASURED for each (backbone, auxiliary task) whose own score did not clearly rise."""
    return {
        (vlm.model, vlm.auxiliary): NOT_MEASURED if vlm.own is None else NOT_LEARNT
        for vlm in vlms
        if vlm.auxiliary != NONE and not vlm.clearly_rose
    }


def fine_tuned_rows(vlms: Sequence[FineTuned]) -> list[Row]:
    """Tidy rows: `auxiliary_score_before` and `_after`, and `capability_overall` with its change."""
    rows = []
    for vlm in vlms:
        if vlm.own is not None:
            for when, score in (("before", vlm.own.before), ("after", vlm.own.after)):
                rows.append(_row(vlm, "task", f"auxiliary_score_{when}", score))
        if vlm.capability is not None:
            row = _row(vlm, "questions", "capability_overall", vlm.capability)
            if vlm.auxiliary != NONE and vlm.base is not None:
                row |= {"compared_with": NONE, "difference": vlm.capability.value - vlm.base.value}
            rows.append(row)
    return rows


def _row(vlm: FineTuned, benchmark: str, metric: str, score: Score) -> Row:
    return {
        "model": vlm.model,
        "variant": "backbone",
        "benchmark": benchmark,
        "auxiliary": vlm.auxiliary,
        "metric": metric,
        "value": score.value,
        "ci_low": score.ci_low,
        "ci_high": score.ci_high,
        "episodes": score.questions,
    }


def fine_tuned_gaps(vlms: Sequence[FineTuned]) -> list[str]:
    """The scores that the study does not have."""
    gaps = [f"own score of {vlm.label}" for vlm in vlms if vlm.auxiliary != NONE and vlm.own is None]
    return gaps + [f"capability of {vlm.label}" for vlm in vlms if vlm.capability is None]


def fine_tuned_block(vlms: Sequence[FineTuned]) -> Block:
    """A grid of own scores and capability, with a line between backbones."""
    grid, rules, last = [], [], None
    for vlm in vlms:
        if vlm.model != last:
            rules.append(len(grid))
            last = vlm.model
        has_task = vlm.auxiliary != NONE
        change = GAP
        if has_task and None not in (vlm.base, vlm.capability):
            change = f"{100 * (vlm.capability.value - vlm.base.value):+.1f}"
        grid.append(
            [
                vlm.label if has_task else f"{names.model(vlm.model)}, {names.auxiliary(NONE)}",
                printed_score(vlm.own and vlm.own.before),
                printed_score(vlm.own and vlm.own.after),
                GAP if vlm.own is None else "yes" if vlm.clearly_rose else "no",
                printed_score(vlm.base),
                printed_score(vlm.capability) if has_task else GAP,
                change,
            ]
        )
    header = ["VLM", "own score before, %", "after, %", "clearly rose"]
    header += ["capability before, %", "after, %", "change, points"]
    return Block("The VLM before and after fine-tuning", header, grid, rules[1:])


def printed_score(score: Score | None) -> str:
    """`81.2 [77.0, 84.8]`, in percent."""
    return GAP if score is None else score.percent


def own_score_clause(vlm: FineTuned) -> str:
    """A clause that says how the task's own score changed."""
    score = f"its score on {names.auxiliary(vlm.auxiliary)}"
    if vlm.own is None:
        return f"{score} was not measured"
    before, after = f"{100 * vlm.own.before.value:.1f} %", f"{100 * vlm.own.after.value:.1f} %"
    if vlm.own.chance:
        after += f" (guessing: {100 * vlm.own.chance:.1f} %)"
    if vlm.clearly_rose:
        return f"{score} rose from {before} to {after}"
    return f"{score} did not clearly rise ({before} before fine-tuning, {after} after)"


def not_learnt_sentence(vlms: Sequence[FineTuned]) -> str:
    """The tasks whose own scores did not clearly rise; empty if every score rose."""
    flat = [vlm.label for vlm in vlms if vlm.own is not None and not vlm.clearly_rose]
    if not flat:
        return ""
    return (
        f"The score on the task itself did not clearly rise for {names.joined(flat)}, so these rows do not "
        "show how learning the task affects control. They are not tested."
    )
