"""The columns of tables: of a study's own tables, of its cells, and of the commands that make tables."""

from __future__ import annotations

from vlm4vla.conventions.columns.description import ColumnText, FileKind, below, column, key

_SCORE_UNIT = "that of `metric`"
CELL = (
    column("model", "The backbone, expert VLA, `random` (random actions) or `expert` (the scripted expert)."),
    column("auxiliary", "The auxiliary task on which the backbone was fine-tuned first, or `none`."),
    column("variant", "The key of `variants` in config.yaml: what was frozen, or random initial weights."),
    column("benchmark", "The benchmark: `calvin`, `bridge`, `libero-10` or one of an extension file."),
)
NUMBERS = (
    column(
        "metric",
        "What was measured. `success_rate`: share of episodes that succeed. `average_length`: mean number of "
        "instructions that are solved in a row, of five. `success_at_K`: share of chains with at least K "
        "solved. `pearson_r`, `spearman_rho`, `kendall_tau`: correlations. `rank_reliability`: "
        "rho between two measurements of one ranking. `auxiliary_score_before` and `_after`: "
        "score on the auxiliary task. `capability_SET`: question score.",
    ),
    column(
        "value", "The value of `metric`.", "0 to 1; instructions for `average_length`; none for correlations"
    ),
    column("ci_low", "Lower end of the 95 % interval of `value`.", _SCORE_UNIT),
    column("ci_high", "Upper end of the 95 % interval of `value`.", _SCORE_UNIT),
    column("episodes", "Number of initial states; each training seed was evaluated on all of them.", "count"),
    column("seeds", "Number of training seeds.", "count"),
    column("published", "The same number as the paper printed it, if it did.", _SCORE_UNIT),
    column("seed_sd", "Standard deviation over training seeds; empty for one seed.", _SCORE_UNIT),
    column(
        "agreement",
        "Whether the published number is `within its interval`, `within five points` of the maximum, or "
        "`off`. At scales without real models: `not comparable`.",
    ),
    column("published_note", "A doubt about the published number, from workflow/published/notes.csv."),
    column(
        "stopped",
        "If the rollout ended early: number of initial states that were run, of all. The column is there "
        "only if a rollout of the table ended early.",
        "count of count",
    ),
)
TEST = (
    column("difference", "Mean of the first policy minus mean of the second.", _SCORE_UNIT),
    column("p_value", "Two-sided p value of the test, before correction.", "0 to 1"),
    column("p_adjusted", "p value after the correction for multiple tests.", "0 to 1"),
    column("test", "The test, such as `McNemar` or `sign flip`."),
    column("states", "Number of initial states that both policies were evaluated on.", "count"),
    column("wins", "Number of initial states at which the first policy did better.", "count"),
    column("losses", "Number of initial states at which the first policy did worse.", "count"),
    column(
        "effect_size",
        "Mean difference divided by its standard deviation over initial states (Cohen's d for pairs).",
        "standard deviations",
    ),
    column(
        "needed",
        "Number of initial states at which a difference of this size is found with 80 % power at the "
        "corrected level. Empty for sequential tests.",
        "count",
    ),
    column(
        "outcome",
        "What the test decides: `higher`, `lower`, `equivalent`, `undecided`; not tested: `at the floor`, "
        "`not learnt`, `own score not measured`. For correlations: `positive`, `weak`, `negative`, "
        "`undecided`. For two benchmarks: `carries over`, `does not carry over`, `cannot be told`.",
    ),
)
CONTRAST = (
    column(
        "compared_with", "The second policy of the difference: another variant, auxiliary task or horizon."
    ),
    column("difference_ci_low", "Lower end of the 95 % interval of `difference`.", _SCORE_UNIT),
    column("difference_ci_high", "Upper end of the 95 % interval of `difference`.", _SCORE_UNIT),
    column("adjustment", "The correction for multiple tests: Holm, or Benjamini-Hochberg."),
    column(
        "executed", "Number of actions of a chunk that were executed before the next prediction.", "count"
    ),
    column(
        "share",
        "Score with random initial weights as a share of the score with pre-trained weights.",
        "0 to 1, or above",
    ),
    column("share_ci_low", "Lower end of the 95 % interval of `share`.", "as `share`"),
    column("share_ci_high", "Upper end of the 95 % interval of `share`.", "as `share`"),
)
CORRELATION = (
    column("question_set", "The set of questions whose score is correlated, or `overall`."),
    column("backbones", "Number of backbones in the correlation.", "count"),
    column("p_method", "How the p value was computed: `permutation`, or `t test`."),
    column("verdict", "What the correlation or comparison says, in words, such as `fragile` or `survives`."),
    column("without_one_low", "Smallest coefficient with one backbone left out.", "correlation"),
    column("without_one_high", "Largest coefficient with one backbone left out.", "correlation"),
)
TRANSFER = (
    column("other_benchmark", "The second benchmark of a rank correlation; `benchmark` is the first one."),
    column("other_study", "The study of the second benchmark, if it is another one."),
    column(
        "ceiling",
        "The rho that the noise of both rankings allows on average: the square root of the product of their "
        "reliabilities.",
        "correlation",
    ),
    column(
        "repeats_by",
        "What the reliabilities are from: `training seeds`, or `halves of the initial states`, which know "
        "nothing of other training seeds.",
    ),
    column(
        "single",
        "Mean rho between two training seeds, or between two halves, before the formula of Spearman and "
        "Brown.",
        "correlation",
    ),
)
_LIKELY = (
    column("p_least", "Smallest p value that the printed numbers allow; `p_value` is the largest.", "0 to 1"),
    column("printed", "The number as it was printed."),
    column("reason", "Why a number is impossible, or why it cannot be tested."),
    column("would_fit", "Numbers near the printed one that the stated trials can give.", "as printed"),
)
PUBLISHED = (
    *_LIKELY,
    column("interval", "The kind of the interval."),
    column(
        "widest_low", "Lower end of the widest interval that chains with this mean can have.", _SCORE_UNIT
    ),
    column(
        "widest_high", "Upper end of the widest interval that chains with this mean can have.", _SCORE_UNIT
    ),
    column("flag", "Why the printed number cannot come from the stated trials; empty if it can."),
    column("note", "A remark on the source of the number."),
    column("table", "The paper's table: `main`, `freeze`, `fast_injection` or `auxiliary`."),
    column("question", "The question that the comparison answers, such as one variant against another."),
)
COMPARED = (
    column("first_value", "Value in the first folder (A). The column `value` is B minus A.", _SCORE_UNIT),
    column("first_episodes", "Number of initial states in A.", "count"),
    column("first_seeds", "Number of training seeds in A.", "count"),
    column("second_value", "Value in the second folder (B).", _SCORE_UNIT),
    column("second_episodes", "Number of initial states in B.", "count"),
    column("second_seeds", "Number of training seeds in B.", "count"),
    column("why_unpaired", "Why the two cells could not be paired by initial state; empty if they were."),
    column("same_checkpoint", "Whether both folders evaluated the same checkpoint."),
    column("only_in", "`A` or `B` for a cell that only this folder has."),
)
JUDGED = (
    column("kind", "`number` for a printed number, `comparison` for two of them."),
    column("row", "The row of the printed table."),
    column("column", "The column of the printed table."),
    column("unit", "Unit of `value` as the file states it: percent, fraction, mean length or score."),
    column("value", "The number, or the difference of the two numbers.", "that of `unit`"),
    column("trials", "Number of trials behind a number.", "count"),
    column("seeds", "Number of training seeds that the file states.", "count"),
    column("ci_low", "Lower end of the 95 % interval of `value`.", "that of `unit`"),
    column("ci_high", "Upper end of the 95 % interval of `value`.", "that of `unit`"),
    column("compared_with", "The other row of a comparison."),
    column("compared_value", "The number of the other row.", "that of `unit`"),
    column("test", "The test, or empty if none is possible."),
    column("p_value", "Largest p value that the printed numbers allow.", "0 to 1"),
    column("p_adjusted", "`p_value` after Holm's correction.", "0 to 1"),
    column("p_adjusted_least", "`p_least` after Holm's correction.", "0 to 1"),
    column("verdict", "`survives`, `does not survive`, not decided, or not decidable."),
    column(
        "trials_to_survive", "Trials of each policy at which a difference of this size survives.", "count"
    ),
    *_LIKELY,
)

_ROW = (*CELL, *NUMBERS, *TEST, *CONTRAST, *CORRELATION, *TRANSFER)


def _some(columns: tuple[ColumnText, ...], *names: str) -> tuple[ColumnText, ...]:
    """The columns with these names. Raises KeyError for a name that is not there."""
    found = {each.name: each for each in columns}
    return tuple(found[name] for name in names)


# Keys that the JSON of a table has beyond the columns of the CSV
_SEVERAL_SEEDS = (
    column(
        "hinges_on_seeds", "Whether the test decides for these trained policies, but not over training seeds."
    ),
    column("shared_seeds", "Number of training seeds that both policies have.", "count"),
)
_MEASURED = (
    column("interval", "The kind of the interval."),
    column(
        "new_tasks_ci",
        "95 % interval that also resamples tasks; null for one seed and for chains.",
        _SCORE_UNIT,
    ),
    column("stop_against", "The policy whose comparison could end the rollout early."),
    column("stop_looks", "Number of looks at the outcomes.", "count"),
    column("stop_states", "Number of initial states that were run, for each training seed.", "count"),
    column("stop_planned", "Number of all initial states.", "count"),
)
# Of the paired test of two policies, whose interval is that of the difference
_PAIRED = (
    *_some(NUMBERS, "metric"),
    *_some(TEST, "difference"),
    column("ci_low", "Lower end of the 95 % interval of `difference`.", _SCORE_UNIT),
    column("ci_high", "Upper end of the 95 % interval of `difference`.", _SCORE_UNIT),
    *_some(TEST, "p_value", "p_adjusted", "test", "states", "wins", "losses", "effect_size"),
    column("seeds", "Number of training seeds that both policies have.", "count"),
    column("states_p_value", "p value over initial states alone, for these trained policies.", "0 to 1"),
    column("binary", "Whether each initial state has one success or failure of each policy."),
)
_POLICIES = (
    column("first", "The first policy."),
    column("first_variant", "The variant of the first policy."),
    column("second", "The second policy."),
    column("second_variant", "The variant of the second policy."),
)
_INTERACTION = (
    *CELL,
    *(
        column(f"other_{each.name}", f"The same of the second of the two differences: {each.meaning}")
        for each in CELL
    ),
    *_some(NUMBERS, "metric"),
    column("difference", "The first difference minus the second one.", _SCORE_UNIT),
    *_some(CONTRAST, "difference_ci_low", "difference_ci_high", "adjustment"),
    *_some(TEST, "p_value", "p_adjusted", "test", "states"),
    column("wins", "Number of initial states at which the first difference is larger.", "count"),
    column("losses", "Number of initial states at which the first difference is smaller.", "count"),
    *_some(TEST, "outcome"),
    *_some(_SEVERAL_SEEDS, "shared_seeds"),
)
_HINGE = (
    *_some(CELL, "auxiliary", "variant", "benchmark"),
    column("model", "The backbone; `all` for the mean over several. Pairs have `first` and `second`."),
    *_POLICIES,
    *_some(NUMBERS, "metric"),
    *_some(CONTRAST, "executed"),
    column("kind", "Where the difference lies: `task`, `seed` or `backbone`."),
    column("name", "The task, seed or backbone."),
    column("parts", "Number of tasks, seeds or backbones.", "count"),
    column("difference", "Mean difference in this part.", _SCORE_UNIT),
    column("rest", "Mean difference in all other parts.", _SCORE_UNIT),
    column("rest_low", "Lower end of its 95 % interval.", _SCORE_UNIT),
    column("rest_high", "Upper end of its 95 % interval.", _SCORE_UNIT),
    column("p_value", "p value that both means are equal, after Holm's correction over the parts.", "0 to 1"),
)
_LEFT_OUT = (
    column("low", "Smallest r with one backbone or family left out.", "correlation"),
    column("high", "Largest r with one backbone or family left out.", "correlation"),
    column("low_without", "What is left out at the smallest r."),
    column("high_without", "What is left out at the largest r."),
    column("flips", "Names without which r has the other sign."),
    column("loses", "Names without which p is 5 % or more, or r is not defined."),
    column("undefined", "Names without which r is not defined."),
)
_SENSITIVITY = (
    *_some(CELL, "benchmark"),
    *_some(TEST, "outcome"),
    *_some(CORRELATION, "verdict"),
    *_some(TRANSFER, "other_benchmark", "other_study"),
    key("label", "The first benchmark as the table names it."),
    key("other_label", "The second benchmark as the table names it."),
    key("real", "Whether a real simulator was used, for the first and the second benchmark."),
    key("families", "The correlation of family means; null with too few families."),
    key("families.ci", "95 % interval of r of the family means.", "correlation"),
    key("families.pearson", "r of the family means.", "correlation"),
    key("families.p_value", "p value of this r.", "0 to 1"),
    key("families.families", "Number of families.", "count"),
    key("families.without", "r with each family left out."),
    *below("families.without", _LEFT_OUT),
    key("leave_one_out", "r with each backbone left out; null with too few backbones."),
    *below("leave_one_out", _LEFT_OUT),
    key("group", "The groups of backbones that carry the correlation, in words."),
    key("groups", "Groupings of the backbones that were tried."),
    key("groups[].by", "How the backbones were grouped."),
    key("groups[].carries", "Whether r is seen between the groups and not within them."),
    key("groups[].member", "The group of each backbone, in order."),
    key("groups[].members", "The group of each backbone, by name.", whole=True),
    key("groups[].sizes", "Number of backbones of each group.", "count"),
    key("groups[].within", "r within the groups.", "correlation"),
    key("groups[].p_value", "p value of r within the groups.", "0 to 1"),
    key("rollouts_ci", "95 % range of r when the rollouts are resampled.", "correlation"),
)
_STANDING = (
    key("benchmarks", "The benchmarks over which the backbones are ranked."),
    key("thresholds", "Scores at which the performance profiles are given.", "share of the maximum"),
    key(
        "improvement",
        "Probability of improvement of each policy (row) over each other one (column).",
        "0 to 1",
    ),
    key("policies", "One record per policy that was measured on every benchmark."),
    *below(
        "policies[]",
        (
            *_some(CELL, "model", "variant"),
            column("rank", "Mean rank over the benchmarks; 1 is best.", "rank"),
            column("rank_ci", "Confidence set of the mean rank.", "rank"),
            column("best", "Share of resamples in which the policy is the best one.", "0 to 1"),
            column(
                "iqm",
                "Interquartile mean of the scores of all training runs on all tasks.",
                "share of the maximum",
            ),
            column("iqm_ci", "95 % interval of `iqm`.", "share of the maximum"),
            column(
                "improvement",
                "Probability that an episode scores higher than one of another policy, on average.",
                "0 to 1",
            ),
            column("improvement_ci", "95 % interval of `improvement`.", "0 to 1"),
            column(
                "profile",
                "Share of the scores of all training runs on all tasks that are above each threshold.",
                "0 to 1",
            ),
            column("profile_low", "Lower end of the 95 % band of `profile`.", "0 to 1"),
            column("profile_high", "Upper end of the 95 % band of `profile`.", "0 to 1"),
        ),
    ),
)
_ANALYSIS: tuple[ColumnText, ...] = (
    key("table", "Name of the table."),
    key("settings", "The settings of the table: names and values of config.yaml.", whole=True),
    key("caption", "The caption: what was measured and how."),
    key("verdicts", "Sentences about what the numbers show."),
    key("gaps", "Cells and scores that were not measured."),
    key("records", "The rows of the CSV, with the keys below."),
    *below("records[]", (*_ROW, *PUBLISHED, *_SEVERAL_SEEDS, *_MEASURED)),
    key("policies", "The policies' scores that a correlation uses."),
    *below("policies[]", (*CELL, *NUMBERS, *_MEASURED, *_some(TRANSFER, "other_study"))),
    key("seed_values", "The value of each training seed."),
    *below(
        "seed_values[]", (*CELL, *_some(NUMBERS, "metric", "value"), column("seed", "The training seed."))
    ),
    key("pairs", "Paired tests of all pairs of policies on each benchmark."),
    *below(
        "pairs[]",
        (
            *_some(CELL, "benchmark"),
            *_POLICIES,
            *_PAIRED,
            column("decided", "Whether the corrected p value is below 5 %."),
            *_some(_SEVERAL_SEEDS, "hinges_on_seeds"),
            *_some(TEST, "needed"),
        ),
    ),
    key("against_floor", "Paired tests of each policy against random actions."),
    *below(
        "against_floor[]",
        (*_some(CELL, "model", "variant", "benchmark"), *_PAIRED, *_some(TEST, "outcome")),
    ),
    key("interactions", "Tests of whether two differences of the table differ."),
    *below("interactions[]", _INTERACTION),
    key("hinges", "Differences that are seen in one task, training seed or backbone alone."),
    *below("hinges[]", _HINGE),
    key("ranks", "The rank of each policy on each benchmark."),
    *below(
        "ranks[]",
        (
            *_some(CELL, "model", "variant", "benchmark"),
            column(
                "place", "Rank by the measured score; 1 is best. Ties share the mean of their places.", "rank"
            ),
            column("ci_low", "Best rank in the confidence set.", "rank"),
            column("ci_high", "Worst rank in the confidence set.", "rank"),
            column("best", "Share of resamples in which the policy is the best one.", "0 to 1"),
        ),
    ),
    key("image_tokens", "For each backbone: tokens of an image in the prompt.", "tokens", whole=True),
    key(
        "by_task",
        "Success of each policy on each task, and its difference to the mean of the other policies.",
    ),
    *below(
        "by_task[]",
        (
            *_some(CELL, "benchmark"),
            column("model", "The policy; with its variant if the table has several."),
            column("task", "The task."),
            *_some(NUMBERS, "value", "ci_low", "ci_high", "episodes", "seeds"),
            column("difference", "Success of the policy minus the mean of the other policies.", "0 to 1"),
            column("p_value", "p value of `difference`; null if it could not be tested.", "0 to 1"),
            column("p_adjusted", "`p_value` after Benjamini and Hochberg's correction.", "0 to 1"),
        ),
    ),
    key("tasks", "For each policy and task: how often it was tried and solved, over all training seeds."),
    *below(
        "tasks[]",
        (
            *_some(CELL, "model", "variant", "benchmark"),
            column("task", "The task, or one of the tasks of chains."),
            column(
                "tried", "Number of attempts. A chain tries an instruction if it solved all before.", "count"
            ),
            column("solved", "Number of attempts that succeeded.", "count"),
        ),
    ),
    key("standing", "Rankings over all benchmarks."),
    *below("standing", _STANDING),
    key(
        "other_studies",
        "For each other study: SHA-256 of the hashes of the episode files that were read, in lines by path.",
        whole=True,
    ),
    key("sensitivity", "How the correlation depends on single backbones, families and rollouts."),
    *below("sensitivity[]", _SENSITIVITY),
    key("scores", "The question score of each backbone, from the user's file.", "as in the file", whole=True),
    key("fast", "The report on the FAST tokens (auxiliary_data/fast/report.json).", whole=True),
)

TABLE_KINDS = (
    FileKind(
        "Tables",
        ("tables/*.csv", "cells/*.csv"),
        "One row per cell and metric. A table has those of these columns that it needs. Numbers are in plain "
        "units: rates from 0 to 1, not percent. An empty field means not measured or not applicable.",
        _ROW,
    ),
    FileKind(
        "Numbers behind a table",
        ("analysis/*.json", "published/analysis/*.json"),
        "The table as JSON, with tests that the CSV does not have. Units are those of the columns of tables.",
        _ANALYSIS,
    ),
    FileKind(
        "Judged tables (`vlm4vla judge`)",
        ("published/tables/judged_*.csv", "judged/*.csv"),
        "One row per printed number and per comparison of two of them. docs/judge.md explains the words.",
        JUDGED,
    ),
    FileKind(
        "The paper's own numbers (`published`)",
        ("published/tables/*.csv",),
        "One row per printed number, comparison, correlation or flagged number.",
        (*_ROW, *PUBLISHED),
    ),
    FileKind(
        "Comparison of two studies (`vlm4vla compare`)",
        ("compared/*.csv",),
        "One row per cell of either folder. The file is where `--output` says.",
        (*CELL, *NUMBERS, *TEST, *COMPARED),
    ),
)
