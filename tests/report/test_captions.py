"""The caption of each table names the kinds of interval that the table has, with one and with three seeds."""

import json

import pytest
import synthetic_study as made
from scipy import stats

from vlm4vla.analysis.estimates import CHAINS, TWO_LEVEL, WILSON
from vlm4vla.config.stages import ExpertSummary
from vlm4vla.conventions.tables import TABLES
from vlm4vla.report import captions, names
from vlm4vla.stages.table import run

pytestmark = pytest.mark.usefixtures("undrawn")

WORDS = {
    WILSON: "Wilson for success rates",
    CHAINS: "bounded mean over chains (Gaffke) for average length",
    TWO_LEVEL: "over training seeds and initial states",
}
MODELS = ["qwen2.5-vl-7b", "paligemma-1", "kosmos-2", "internvl3.5-4b"]
FEW = MODELS[:2]  # enough for each table but the correlation
VARIANTS = {"freeze": ["full", "freeze-vision"], "scratch": ["full", "scratch"]}
TASKS = {"auxiliary": ["none", "vqa-mix"], "fast_injection": ["none", "fast-unfreeze-vision"]}
HORIZONS = {"calvin": [10, 5], "bridge": [2, 1]}


def models(table):
    return MODELS if table == "correlation" else FEW


def records(root, table, seeds):
    """Write few episodes of each cell of `table`, with `seeds`; random actions have one. Return the files."""
    paths = []
    for benchmark, steps in HORIZONS.items():
        paths.append(made.write_episodes(root, made.episodes("random", "full", benchmark, 0.1, count=24)))
        for place, model in enumerate(models(table)):
            for variant in VARIANTS.get(table, ["full"]):
                for task in TASKS.get(table, ["none"]):
                    for seed in seeds:
                        name = f"{model}-{task}-{variant}-{benchmark}-{seed}"
                        own = {"seed": seed, "count": 24, "auxiliary": task, "checkpoint": name}
                        frame = made.episodes(model, variant, benchmark, 0.4 + 0.1 * place, **own)
                        path = made.write_episodes(root, frame)
                        paths.append(path)
                        if table == "executed_steps":
                            other = path.parent.with_name(f"{path.parent.name}-executed{steps[1]}")
                            other.mkdir(exist_ok=True)
                            frame.assign(execution_horizon=steps[1]).to_parquet(other / path.name)
                            paths.append(other / path.name)
    return paths


def built(root, table, seeds):
    """The JSON of `table`."""
    tasks = TASKS.get(table, ["none"])
    cells = {
        "backbones": models(table),
        "benchmarks": list(HORIZONS),
        "variants": VARIANTS.get(table, ["full"]),
        "auxiliaries": dict.fromkeys(models(table), tasks),
    }
    own = {"horizons": HORIZONS} if table == "executed_steps" else {}
    settings = made.settings(table, cells, seeds=list(seeds), **own)
    capability, scores = [], []
    for model in models(table):
        for task in tasks:
            folder = root / "auxiliary" / model / task
            folder.mkdir(parents=True)
            entry = {"score": 0.5, "ci_low": 0.4, "ci_high": 0.6, "questions": 90}
            (folder / "score.json").write_text(json.dumps({"before": entry, "after": entry}))
            scores += [folder] if task != "none" else []
            correct = 40 + 7 * MODELS.index(model)
            entry = {"score": correct / 100, "correct": correct, "questions": 100}
            path = root / "capability" / model / f"{task}.json"
            path.parent.mkdir(parents=True, exist_ok=True)
            whole = {"sets": {"where": entry}, "overall": entry, "provenance": made.record("capability")}
            path.write_text(json.dumps(whole))
            capability.append(path)
    run(
        settings,
        episodes=records(root, table, seeds),
        published=made.PUBLISHED,
        output=root,
        capability=capability if tasks != ["none"] or table == "correlation" else [],
        auxiliary=scores,
    )
    return json.loads((root / "analysis" / f"{table}.json").read_text())


@pytest.mark.parametrize("seeds", [(0,), (0, 1, 2)], ids=["one seed", "three seeds"])
@pytest.mark.parametrize("table", TABLES)
def test_the_caption_names_the_intervals_of_the_records(tmp_path, table, seeds):
    found = built(tmp_path, table, seeds)
    rows = [row for row in [*found["records"], *found.get("policies", [])] if row.get("interval")]
    kinds = {row["interval"] for row in rows}
    for kind, words in WORDS.items():
        assert (words in found["caption"]) == (kind in kinds), kind
    several = len(seeds) > 1
    assert (TWO_LEVEL in kinds) == several
    assert ("Training seeds 0, 1, 2" in found["caption"]) == several
    assert ("these trained policies" in found["caption"]) or several
    # The label of an interval is true: only Wilson's intervals are what scipy calls Wilson's.
    for row in rows:
        if row["metric"] == "average_length":
            assert row["interval"] == (CHAINS if row["seeds"] == 1 else TWO_LEVEL)
            continue
        successes = row["value"] * row["episodes"]
        if row["interval"] == WILSON:
            wilson = stats.binomtest(round(successes), row["episodes"]).proportion_ci(method="wilson")
            assert (row["ci_low"], row["ci_high"]) == pytest.approx((wilson.low, wilson.high))
        assert (row["interval"] == WILSON) == (row["seeds"] == 1)
    # Paired tests over seeds are named, too.
    tests = {row["test"] for row in found["records"] if row.get("test")}
    if tests:
        assert ("seeds and states" in tests) == several
        assert "exact" in found["caption"]
        assert not several or "over seeds and states" in found["caption"]


@pytest.mark.parametrize(
    ("executed", "words"),
    [
        ("1 of 1 predicted actions", "executes 1 of 1 predicted actions"),
        (
            "5 of 10/2 of 4/2 of 4 predicted actions",
            "executes 5 of 10, 2 of 4 and 2 of 4 predicted actions (in the order of the benchmarks)",
        ),
    ],
)
def test_the_executed_actions_of_experts_are_words(executed, words):
    own = ExpertSummary(backbone="kosmos-2", steps=6, executed=executed)
    assert f"6 training steps, {words}." in captions.experts_sentence({"pi0": own})


@pytest.mark.parametrize(
    ("tokens", "sentence"),
    [
        ({}, ""),
        ({"A": 16, "B": 16}, "Each backbone reads an image as 16 tokens."),
        (
            {"A": 16, "B": 64, "C": 16, "D": 36},
            "Backbones read an image as 16 tokens, B as 64 and D as 36.",
        ),
    ],
)
def test_how_many_tokens_an_image_has(tokens, sentence):
    assert captions.image_tokens_sentence(tokens) == sentence


def test_released_policies_are_named_in_place_of_the_training():
    both = ExpertSummary(
        backbone="kosmos-2", steps=6, executed="1 of 2 predicted actions", released={"libero-10": "a/pi0@c"}
    )
    only = both.model_copy(update={"executed": ""})
    sentence = captions.experts_sentence({"pi0": both, "openvla": only})
    assert (
        "6 training steps, executes 1 of 2 predicted actions (the released a/pi0@c on LIBERO-10);" in sentence
    )
    assert f"; {names.model('openvla')} is the released a/pi0@c on LIBERO-10." in sentence


def carried(tmp_path, *pairs):
    """The sentence for pairs of (first is real, second is real, rho, outcome)."""
    checks = [
        {"label": f"A{n}", "other_label": "B", "real": [one, other], "outcome": outcome}
        for n, (one, other, _, outcome) in enumerate(pairs)
    ]
    row = {"model": "all backbones", "benchmark": "bridge", "metric": "spearman_rho", "backbones": 9}
    rows = [row | {"value": value} for *_, value, _ in pairs]
    written = {"settings": {}, "records": rows, "sensitivity": checks}
    (tmp_path / "analysis").mkdir(exist_ok=True)
    (tmp_path / "analysis" / "transfer.json").write_text(json.dumps(written))
    return captions.carry_over_sentence(tmp_path)


def test_what_does_not_carry_over_is_said(tmp_path):
    assert carried(tmp_path, (False, True, 0.9, "carries over")) == ""
    assert carried(tmp_path, (False, False, 0.1, "cannot be told"), (True, True, 0.1, "cannot be told")) == ""
    found = carried(
        tmp_path,
        (False, True, 0.25, "cannot be told"),
        (True, False, None, "cannot be told"),
        (False, True, -0.9, "does not carry over"),
        (False, True, 0.5, "cannot be told"),
    )
    assert found == (
        "Whether the ranking of the backbones on A0 (rho = 0.25) or A3 (rho = 0.50) carries over to B cannot "
        "be told with 9 backbones (table transfer). Whether the ranking of the backbones on B carries over "
        "to A1 cannot be told with 9 backbones (table transfer). The ranking of the backbones on A2 (rho = "
        "-0.90) does not carry over to B (table transfer)."
    )
