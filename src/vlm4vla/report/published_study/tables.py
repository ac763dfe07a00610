"""Tables of the published study: the paper's scores with intervals, its comparisons, and its odd numbers."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import Any

from vlm4vla.report import names
from vlm4vla.report.published_study.comparisons import FALLS, OPEN, SURVIVES, Compared
from vlm4vla.report.published_study.flags import Flag
from vlm4vla.report.published_study.numbers import TRIALS, Number
from vlm4vla.report.rows.cells import Row
from vlm4vla.report.rows.table import GAP, Block, Table

TITLES = {
    "main": ("Backbones as robot policies, as published", "tables 1 and 2"),
    "freeze": ("Frozen modules, as published", "table 3"),
    "fast_injection": ("FAST tokens first, as published", "table 4"),
    "auxiliary": (
        "Auxiliary tasks before control, as published",
        "figure 4, read off to +-0.002 in each rate",
    ),
}
EXTRA = ("auxiliary", "interval", "widest_low", "widest_high", "printed", "flag")
COMPARED = (
    "auxiliary",
    "table",
    "question",
    "compared_with",
    "test",
    "p_value",
    "p_least",
    "p_adjusted",
    "verdict",
)
FLAGGED = ("auxiliary", "table", "printed", "reason", "would_fit")
LISTED = 40  # comparisons that a table of scores shows; more fill a page of their own
_MARK = "*"
_EPISODES = (
    f"CALVIN ABC-D {TRIALS['calvin']} chains, SimplerEnv Bridge {TRIALS['bridge']} trials (4 tasks of 24), "
    f"LIBERO-10 {TRIALS['libero-10']} trials (10 tasks of 50)"
)
_MEANS = (
    "From an average length alone no interval follows: after +- stands the widest that any chains of that "
    "mean could have."
)
_TESTS = (
    "Tests are unpaired and two-sided (success: Boschloo's; average length: normal, with the largest "
    "variance that is possible), Holm's correction over the table; the paper's policies met the same initial "
    "states, which would have made paired tests sharper, but no outcomes by initial state are published. One "
    "training seed: nothing here covers the variance between training runs."
)


def score_table(
    table: str, numbers: Sequence[Number], flags: Sequence[Flag], compared: Sequence[Compared]
) -> Table:
    """One of the paper's tables with intervals and its own comparisons."""
    own = [number for number in numbers if number.table == table]
    mine = [one for one in compared if one.table == table]
    odd = [flag for flag in flags if flag.number.table == table]
    title, source = TITLES[table]
    blocks = [_scores(own, odd)]
    if len(mine) <= LISTED:
        blocks.append(comparison_block("Comparisons", mine))
    caption = [
        f"Published: arXiv 2601.03309, {source}. Episodes as stated: {_EPISODES}.",
        "In brackets: 95 % intervals (Wilson for success; normal with the variance that success at 1 to 5 "
        "imply for average length, widened by the reading error).",
        _MEANS if any(number.interval() is None for number in own) else "",
        _TESTS,
        "" if len(mine) <= LISTED else "Every comparison stands in the table of comparisons.",
        f"{_MARK} not possible as printed, see the table of flagged numbers." if odd else "",
    ]
    return Table(
        name=f"published_{table}",
        title=title,
        caption=" ".join(part for part in caption if part),
        records=[_row(number, odd) for number in own],
        blocks=blocks,
        verdicts=_verdicts(mine) + [_flag_sentence(odd)] * bool(odd),
        gaps=[],
        extra=EXTRA,
    )


def _row(number: Number, flags: Sequence[Flag]) -> Row:
    found = number.interval()
    low, high, kind = found or (None, None, "none follows from a mean alone")
    widest = (None, None) if found else number.chain().interval()
    return {
        "model": number.model,
        "variant": number.variant,
        "benchmark": number.benchmark,
        "metric": number.metric,
        "value": number.value,
        "ci_low": low,
        "ci_high": high,
        "episodes": number.trials,
        "seeds": 1,
        "published": number.value,
        "auxiliary": number.auxiliary,
        "interval": kind,
        "widest_low": widest[0],
        "widest_high": widest[1],
        "printed": number.text,
        "flag": "; ".join(flag.reason for flag in flags if flag.number is number) or None,
    }


def _scores(numbers: Sequence[Number], flags: Sequence[Flag]) -> Block:
    odd = {id(flag.number) for flag in flags}
    policies = list(dict.fromkeys((n.model, n.auxiliary, n.variant) for n in numbers))
    columns = list(dict.fromkeys((n.benchmark, n.metric) for n in numbers))
    variants = len({variant for _, _, variant in policies}) > 1
    tasks = {auxiliary for _, auxiliary, _ in policies} != {"none"}
    grid = []
    for model, auxiliary, variant in policies:
        label = names.model(model)
        label += f", {names.auxiliary(auxiliary)}" if tasks else ""
        line = [label + (f", {names.variant(variant)}" if variants else "")]
        for benchmark, metric in columns:
            cell = (model, variant, auxiliary, benchmark, metric)
            found = next((n for n in numbers if n.cell == cell), None)
            line.append(GAP if found is None else _printed(found) + _MARK * (id(found) in odd))
        grid.append(line)
    several = len({benchmark for benchmark, _ in columns}) < len(columns)
    header = ["model"] + [
        (f"{names.METRICS[metric]}{'' if metric == 'average_length' else ', %'}")
        if several
        else f"{names.PAPER_BENCHMARKS[benchmark]}: {names.unit(metric)}"
        for benchmark, metric in columns
    ]
    rules = [i for i in range(1, len(policies)) if policies[i][0] != policies[i - 1][0]]
    return Block("Scores", header, grid, rules if variants or tasks else [])


def _printed(number: Number) -> str:
    shown = names.published(number.metric, number.value)
    found = number.interval()
    if found is None:
        low, high = number.chain().interval()
        return f"{shown} (+-{max(high - number.value, number.value - low):.2f})"
    low, high = (names.number(number.metric, value) for value in found[:2])
    return f"{shown} [{low}, {high}]"


def comparison_block(title: str, compared: Sequence[Compared]) -> Block:
    """One line a comparison."""
    grid = []
    for one in compared:
        metric = one.first.metric
        numbers = (one.difference, one.ci_low, one.ci_high)
        value, low, high = (names.number(metric, number, signed=True) for number in numbers)
        grid.append(
            [
                f"{_policy(one.first)} minus {_policy(one.second)}",
                names.PAPER_BENCHMARKS[one.first.benchmark],
                f"{value} [{low}, {high}]",
                _p(one.p_value, one.p_least),
                _p(one.adjusted, one.adjusted_least),
                one.verdict,
            ]
        )
    header = ["comparison", "benchmark", "difference", "p", "p after Holm", "verdict"]
    return Block(title, header, grid)


def _p(most: float, least: float) -> str:
    told = names.p_value(most)
    return told if names.p_value(least) == told or most > 0.9995 else f"{told} at most"


def _policy(number: Number) -> str:
    """`Kosmos-2, all trained`, with the auxiliary task where there was one."""
    after = "" if number.auxiliary == "none" else f" after {names.auxiliary(number.auxiliary)}"
    alone = number.table in ("main", "auxiliary")
    return names.model(number.model) + after + ("" if alone else f", {names.variant(number.variant)}")


def _verdicts(compared: Sequence[Compared]) -> list[str]:
    """How many comparisons of each kind survive on each benchmark."""
    sentences = []
    kinds = dict.fromkeys((one.first.benchmark, one.question) for one in compared)
    for benchmark, question in kinds:
        mine = [one for one in compared if (one.first.benchmark, one.question) == (benchmark, question)]
        counts = {verdict: sum(one.verdict == verdict for one in mine) for verdict in (SURVIVES, FALLS, OPEN)}
        higher = sum(one.verdict == SURVIVES and one.favours == "higher" for one in mine)
        sides = f" (the first higher in {higher})" if counts[SURVIVES] and not _symmetric(question) else ""
        sentence = (
            f"{names.PAPER_BENCHMARKS[benchmark]}, {question}: {counts[SURVIVES]} of {len(mine)} differences "
            f"survive{sides}"
        )
        if counts[OPEN]:
            sentence += f", {counts[OPEN]} cannot be decided from what is published"
        sentences.append(sentence + ".")
    return sentences


def _symmetric(question: str) -> bool:
    return question == "backbone against backbone"


def _flag_sentence(flags: Sequence[Flag]) -> str:
    count = len({id(flag.number) for flag in flags})
    return f"{count} of the printed numbers cannot be what they are said to be (flagged)."


def comparisons_table(compared: Sequence[Compared]) -> Table:
    """Every comparison of every table, one tidy row each."""
    records = [
        {
            "model": one.first.model,
            "variant": one.first.variant,
            "benchmark": one.first.benchmark,
            "metric": f"difference in {one.first.metric}",
            "value": one.difference,
            "ci_low": one.ci_low,
            "ci_high": one.ci_high,
            "episodes": one.first.trials,
            "seeds": 1,
            "published": one.difference,
            "auxiliary": one.first.auxiliary,
            "table": one.table,
            "question": one.question,
            "compared_with": "/".join((one.second.model, one.second.auxiliary, one.second.variant)),
            "test": one.test,
            "p_value": one.p_value,
            "p_least": one.p_least,
            "p_adjusted": one.adjusted,
            "verdict": one.verdict,
        }
        for one in compared
    ]
    surviving = [one for one in compared if one.verdict == SURVIVES]
    undecided = [one for one in compared if one.verdict == OPEN]
    blocks = []
    for verdict in (SURVIVES, OPEN):
        for benchmark in dict.fromkeys(one.first.benchmark for one in compared):
            here = [one for one in compared if (one.verdict, one.first.benchmark) == (verdict, benchmark)]
            if here:
                title = f"{names.PAPER_BENCHMARKS[benchmark]}: {verdict}"
                blocks.append(comparison_block(title, here))
    return Table(
        name="published_comparisons",
        title="Which of the published differences survive",
        caption=f"All {len(compared)} comparisons stand in the CSV. Episodes: {_EPISODES}. {_TESTS}",
        records=records,
        blocks=blocks,
        verdicts=[
            f"{len(surviving)} of {len(compared)} differences survive, {len(undecided)} cannot be decided "
            "from what is published."
        ],
        gaps=[],
        extra=COMPARED,
    )


def pages(table: Table) -> str:
    """LaTeX of a table whose blocks fill more than one page: a float each, the caption under the first."""
    floats = []
    for number, block in enumerate(table.blocks):
        first = {} if number == 0 else {"caption": "Continued.", "verdicts": []}
        floats.append(replace(table, name=f"{table.name}_{number + 1}", blocks=[block], **first).latex())
    return "\n".join(floats)


def flagged_table(numbers: Sequence[Number], flags: Sequence[Flag]) -> Table:
    """Every number that does not fit what is said of it."""
    records: list[dict[str, Any]] = [
        {
            "model": flag.number.model,
            "variant": flag.number.variant,
            "benchmark": flag.number.benchmark,
            "metric": flag.number.metric,
            "value": flag.number.value,
            "episodes": flag.number.trials,
            "published": flag.number.value,
            "auxiliary": flag.number.auxiliary,
            "table": flag.number.table,
            "printed": flag.number.text,
            "reason": flag.reason,
            "would_fit": "; ".join(flag.fits) or None,
        }
        for flag in flags
    ]
    grid = [
        [
            f"{flag.number.table}: {flag.number.label}",
            flag.number.text,
            flag.reason,
            "; ".join(flag.fits) or GAP,
        ]
        for flag in flags
    ]
    odd = len({id(flag.number) for flag in flags})
    return Table(
        name="published_flagged",
        title="Published numbers that do not fit",
        caption=(
            f"A success rate fits when a whole number of the stated trials ({_EPISODES}) rounds to its "
            "printed decimals; two and three repetitions of all trials, cut-off decimals, and means of "
            "tasks' whole percentages are tried where none does. Flagged numbers stay in the tables as they "
            "are printed; tests take the whole number beside them that is least in favour of a difference."
        ),
        records=records,
        blocks=[Block("Flagged", ["number", "printed", "what does not fit", "what would fit"], grid)],
        verdicts=[f"{odd} of {len(numbers)} numbers are flagged."],
        gaps=[],
        extra=FLAGGED,
    )
