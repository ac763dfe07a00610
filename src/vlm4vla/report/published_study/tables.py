"""Tables of the published study: the paper's scores with intervals, its comparisons, and flagged numbers."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import Any

from vlm4vla.conventions.benchmarks import AVERAGE_LENGTH, BRIDGE, CALVIN, LIBERO_10, facts
from vlm4vla.report import marks, names
from vlm4vla.report.published_study.comparisons import SURVIVES, UNDECIDED, PublishedComparison
from vlm4vla.report.published_study.flags import Flag
from vlm4vla.report.published_study.numbers import READING_ERROR, SOURCES, PublishedNumber
from vlm4vla.report.rows.cells import Row
from vlm4vla.report.rows.paper_numbers import notes_sentence
from vlm4vla.report.rows.table import GAP, Block, Table

TITLES = {
    "main": "Backbones as robot policies, as published",
    "freeze": "Frozen modules, as published",
    "fast_injection": "FAST tokens first, as published",
    "auxiliary": "Auxiliary tasks before control, as published",
}
EXTRA = ("auxiliary", "interval", "widest_low", "widest_high", "printed", "flag", "note")
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
    "note",
)
FLAGGED = ("auxiliary", "table", "printed", "reason", "would_fit")
LISTED = 40  # a table of scores shows its comparisons if there are at most this many
_EPISODES = (
    f"{CALVIN.paper_title} {CALVIN.paper_trials} chains, {BRIDGE.paper_title} {BRIDGE.paper_trials} trials "
    f"({BRIDGE.tasks} tasks of {BRIDGE.paper_trials // BRIDGE.tasks}), {LIBERO_10.paper_title} "
    f"{LIBERO_10.paper_trials} trials "
    f"({LIBERO_10.tasks} tasks of {LIBERO_10.paper_trials // LIBERO_10.tasks})"
)
_MEANS = (
    "An average length alone does not determine an interval. The value after ± is the widest interval that "
    "any chains with this mean could have."
)
_TESTS = (
    "Tests are unpaired and two-sided (success: Boschloo's test; average length: normal test with the "
    "largest possible variance), with Holm's correction over the table. The paper's policies were evaluated "
    "on the same initial states, so paired tests would have more power, but the paper does not publish "
    "outcomes by initial state. One training seed: nothing here covers the variance between training runs."
)


def score_table(
    table: str,
    numbers: Sequence[PublishedNumber],
    flags: Sequence[Flag],
    compared: Sequence[PublishedComparison],
) -> Table:
    """One of the paper's tables with intervals and with the comparisons within the table."""
    own = [number for number in numbers if number.table == table]
    comparisons = [each for each in compared if each.table == table]
    flagged = [flag for flag in flags if flag.number.table == table]
    read_off = f", from which each rate was read to ±{READING_ERROR}" if table == "auxiliary" else ""
    blocks = [_score_block(own, flagged)]
    if len(comparisons) <= LISTED:
        blocks.append(comparison_block("Comparisons", comparisons))
    caption = [
        f"Published: arXiv 2601.03309, {SOURCES[table]}{read_off}. Episodes as stated: {_EPISODES}.",
        "In brackets: 95 % intervals (success: Wilson; average length: normal, with the variance that "
        "follows from success at 1 to 5, widened by the reading error).",
        _MEANS if any(number.interval() is None for number in own) else "",
        _TESTS,
        "" if len(comparisons) <= LISTED else "The table of comparisons has every comparison.",
        f"{marks.FLAGGED} Not possible as printed: see the table of flagged numbers." if flagged else "",
        notes_sentence(number.doubt for number in own),
        *(
            f"{marks.ELSEWHERE} Not in the paper: {note}."
            for note in dict.fromkeys(n.note for n in own)
            if note
        ),
    ]
    return Table(
        name=f"published_{table}",
        title=TITLES[table],
        caption=" ".join(part for part in caption if part),
        records=[_record(number, flagged) for number in own],
        blocks=blocks,
        verdicts=_verdicts(comparisons) + [_flag_sentence(flagged)] * bool(flagged),
        gaps=[],
        extra=EXTRA,
    )


def _record(number: PublishedNumber, flags: Sequence[Flag]) -> Row:
    found = number.interval()
    low, high, kind = found or (None, None, "none: a mean alone does not determine it")
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
        "note": "; ".join(text for text in (number.note, number.doubt) if text) or None,
    }


def _score_block(numbers: Sequence[PublishedNumber], flags: Sequence[Flag]) -> Block:
    flagged = {id(flag.number) for flag in flags}
    policies = list(dict.fromkeys((n.model, n.auxiliary, n.variant) for n in numbers))
    columns = list(dict.fromkeys((n.benchmark, n.metric) for n in numbers))
    variants = len({variant for _, _, variant in policies}) > 1
    tasks = {auxiliary for _, auxiliary, _ in policies} != {"none"}
    grid = []
    for model, auxiliary, variant in policies:
        label = names.model(model)
        label += marks.ELSEWHERE * any(n.note for n in numbers if n.model == model)
        label += f", {names.auxiliary(auxiliary)}" if tasks else ""
        line = [label + (f", {names.variant(variant)}" if variants else "")]
        for benchmark, metric in columns:
            cell = (model, variant, auxiliary, benchmark, metric)
            found = next((n for n in numbers if n.cell == cell), None)
            if found is None:
                line.append(GAP)
                continue
            flag = marks.FLAGGED * (id(found) in flagged)
            line.append(_printed(found) + flag + marks.DOUBT * bool(found.doubt))
        grid.append(line)
    several = len({benchmark for benchmark, _ in columns}) < len(columns)
    header = ["model"] + [
        (f"{names.metric(benchmark, metric)}{'' if metric == AVERAGE_LENGTH else ', %'}")
        if several
        else f"{facts(benchmark).paper_title}: {names.unit(benchmark)}"
        for benchmark, metric in columns
    ]
    rules = [i for i in range(1, len(policies)) if policies[i][0] != policies[i - 1][0]]
    return Block("Scores", header, grid, rules if variants or tasks else [])


def _printed(number: PublishedNumber) -> str:
    value = names.published(number.metric, number.value)
    found = number.interval()
    if found is None:
        low, high = number.chain().interval()
        return f"{value} (±{max(high - number.value, number.value - low):.2f})"
    low, high = (names.number(number.metric, bound) for bound in found[:2])
    return f"{value} [{low}, {high}]"


def comparison_block(title: str, comparisons: Sequence[PublishedComparison]) -> Block:
    """A grid with one row per comparison. Policies whose number is in doubt have a mark."""
    grid = []
    for each in comparisons:
        metric = each.first.metric
        numbers = (each.difference, each.ci_low, each.ci_high)
        value, low, high = (names.number(metric, number, signed=True) for number in numbers)
        grid.append(
            [
                " minus ".join(_policy(n) + marks.DOUBT * bool(n.doubt) for n in (each.first, each.second)),
                facts(each.first.benchmark).paper_title,
                f"{value} [{low}, {high}]",
                printed_p(each.p_value, each.p_least),
                printed_p(each.adjusted, each.adjusted_least),
                each.verdict,
            ]
        )
    header = ["comparison", "benchmark", "difference", "p", "p after Holm", "verdict"]
    return Block(title, header, grid)


def printed_p(most: float, least: float) -> str:
    """`p = 0.012`, or `p = 0.012 at most` if the published numbers allow smaller values."""
    p = names.p_value(most)
    return p if names.p_value(least) == p or most > 0.9995 else f"{p} at most"


def _policy(number: PublishedNumber) -> str:
    """`Kosmos-2, vision encoder frozen`, with the auxiliary task if there is one.

    The variant is left out in tables that have one variant only.
    """
    after = "" if number.auxiliary == "none" else f" after {names.auxiliary(number.auxiliary)}"
    one_variant = number.table in ("main", "auxiliary")
    return names.model(number.model) + after + ("" if one_variant else f", {names.variant(number.variant)}")


def _verdicts(comparisons: Sequence[PublishedComparison]) -> list[str]:
    """How many differences of each kind survive the correction on each benchmark."""
    sentences = []
    kinds = dict.fromkeys((each.first.benchmark, each.question) for each in comparisons)
    for benchmark, question in kinds:
        own = [each for each in comparisons if (each.first.benchmark, each.question) == (benchmark, question)]
        surviving = [each for each in own if each.verdict == SURVIVES]
        undecided = sum(each.verdict == UNDECIDED for each in own)
        first, _, second = question.partition(" against ")
        sentence = (
            f"{facts(benchmark).paper_title}, {names.variant(first)} against {second}: {len(surviving)} of "
            f"{len(own)} differences survive"
        )
        if surviving and question != "backbone against backbone":  # a pair of backbones has no order
            sentence += f" (the first is higher in {sum(each.difference > 0 for each in surviving)})"
        if undecided:
            sentence += f", and the published numbers do not decide {undecided}"
        sentences.append(sentence + ".")
    return sentences


def _flag_sentence(flags: Sequence[Flag]) -> str:
    count = len({id(flag.number) for flag in flags})
    return f"{count} of the printed numbers contradict the paper's description of them (flagged)."


def comparisons_table(comparisons: Sequence[PublishedComparison]) -> Table:
    """All comparisons of all tables, with one tidy row each."""
    records = [
        {
            "model": each.first.model,
            "variant": each.first.variant,
            "benchmark": each.first.benchmark,
            "metric": f"difference in {each.first.metric}",
            "value": each.difference,
            "ci_low": each.ci_low,
            "ci_high": each.ci_high,
            "episodes": each.first.trials,
            "seeds": 1,
            "published": each.difference,
            "auxiliary": each.first.auxiliary,
            "table": each.table,
            "question": each.question,
            "compared_with": "/".join((each.second.model, each.second.auxiliary, each.second.variant)),
            "test": each.test,
            "p_value": each.p_value,
            "p_least": each.p_least,
            "p_adjusted": each.adjusted,
            "verdict": each.verdict,
            "note": "; ".join(dict.fromkeys(n.doubt for n in (each.first, each.second) if n.doubt)) or None,
        }
        for each in comparisons
    ]
    by_verdict = {
        verdict: [each for each in comparisons if each.verdict == verdict]
        for verdict in (SURVIVES, UNDECIDED)
    }
    doubts = notes_sentence(n.doubt for each in comparisons for n in (each.first, each.second))
    blocks = []
    for verdict, chosen in by_verdict.items():
        for benchmark in dict.fromkeys(each.first.benchmark for each in comparisons):
            rows = [each for each in chosen if each.first.benchmark == benchmark]
            if rows:
                blocks.append(comparison_block(f"{facts(benchmark).paper_title}: {verdict}", rows))
    return Table(
        name="published_comparisons",
        title="Which of the published differences survive",
        caption=" ".join(
            part
            for part in (
                f"The CSV has all {len(comparisons)} comparisons. Episodes: {_EPISODES}.",
                _TESTS,
                doubts,
            )
            if part
        ),
        records=records,
        blocks=blocks,
        verdicts=[
            f"{len(by_verdict[SURVIVES])} of {len(comparisons)} differences survive. The published numbers "
            f"do not decide {len(by_verdict[UNDECIDED])}."
        ],
        gaps=[],
        extra=COMPARED,
    )


def latex_floats(table: Table) -> str:
    """The LaTeX of a table that fills several pages: one float per block, the caption under the first."""
    floats = []
    for number, block in enumerate(table.blocks):
        changes = {} if number == 0 else {"caption": "Continued.", "verdicts": []}
        floats.append(replace(table, name=f"{table.name}_{number + 1}", blocks=[block], **changes).latex())
    return "\n".join(floats)


def flagged_table(numbers: Sequence[PublishedNumber], flags: Sequence[Flag]) -> Table:
    """The numbers that contradict the paper's description of them, with possible explanations."""
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
            f"{SOURCES[flag.number.table].capitalize()}: {flag.number.label}",
            flag.number.text,
            flag.reason,
            "; ".join(flag.fits) or GAP,
        ]
        for flag in flags
    ]
    flagged = len({id(flag.number) for flag in flags})
    reasons = "" if flagged == len(flags) else f", for {len(flags)} reasons"
    return Table(
        name="published_flagged",
        title="Published numbers that do not fit the stated trials",
        caption=(
            f"A success rate fits if a whole number of the stated trials ({_EPISODES}) rounds to its printed "
            "decimals. If none does, two and three repetitions of all trials, truncated decimals, and means "
            "of the tasks' whole percentages are tried as well. The tables show flagged numbers as printed. "
            "Tests use the neighbouring whole number that supports a difference least."
        ),
        records=records,
        blocks=[Block("Flagged", ["number", "printed", "problem", "what would fit"], grid)],
        verdicts=[f"{flagged} of {len(numbers)} numbers are flagged{reasons}."],
        gaps=[],
        extra=FLAGGED,
    )
