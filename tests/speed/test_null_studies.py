"""speed/null_studies.py through the real report code, and what it counts as a false finding."""

import json
import subprocess
import sys
from pathlib import Path

import pytest

SPEED = Path(__file__).parents[2] / "speed"


@pytest.fixture(autouse=True)
def programs(monkeypatch):
    monkeypatch.syspath_prepend(str(SPEED))


@pytest.mark.exhaustive  # six tables of three studies
def test_tiny_studies_pass_through_every_table():
    command = [sys.executable, "null_studies.py", "--tiny", "--studies", "1", "--seeds", "1", "2"]
    done = subprocess.run(command, cwd=SPEED, capture_output=True, text=True, timeout=850)
    assert done.returncode == 0, done.stderr
    one, two = json.loads(done.stdout)
    assert (one["training_seeds"], two["training_seeds"]) == (1, 2)
    assert set(one["tables"]) >= {"main", "freeze", "scratch", "auxiliary", "fast_injection", "summary"}
    assert all(each["ci"][1] == 0.975 or each["studies"] for each in one["tables"].values())
    assert "main" in done.stderr and "2 seed(s)" in done.stderr


def test_every_kind_of_false_finding_is_counted():
    import null_studies

    settings = {"scale": "embedded", "seeds": [0]}
    analyses = {
        "main": {
            "settings": settings,
            "records": [],
            "pairs": [{"decided": True}, {"decided": False}],
            "by_task": [{"p_adjusted": 0.01}, {"p_adjusted": None}],
        },
        "fast_injection": {
            "settings": settings,
            "records": [],
            "interactions": [{"outcome": "lower"}, {"outcome": "undecided"}],
        },
        "correlation": {
            "settings": settings,
            "records": [
                {"metric": "kendall_tau", "model": "all", "value": 0.5, "verdict": words}
                for words in (
                    "positive",
                    "negative, fragile: hinges on x",
                    "positive, but weak",
                    "weak",
                    None,
                )
            ],
        },
    }
    assert null_studies.false_findings(analyses) == {
        ("main", "pairs"): 1,
        ("main", "successes by task"): 1,
        ("fast_injection", "interactions"): 1,
        ("correlation", "correlations"): 2,
    }


def test_a_finding_of_the_summary_is_false():
    import null_studies

    row = {
        "model": "kosmos-2",
        "variant": "freeze-vision",
        "benchmark": "bridge",
        "metric": "success_rate",
        "value": 0.2,
        "difference": -0.5,
        "difference_ci_low": -0.6,
        "difference_ci_high": -0.4,
        "p_adjusted": 0.001,
        "outcome": "lower",
        "states": 96,
        "shared_seeds": 1,
    }
    analyses = {"freeze": {"settings": {"scale": "embedded", "seeds": [0]}, "records": [row]}}
    found = null_studies.false_findings(analyses)
    assert found == {("freeze", "differences"): 1, ("summary", "Freezing the vision encoder hurts"): 1}


@pytest.mark.parametrize(("seeds", "alike"), [(1, True), (3, False)])
def test_policies_are_alike_and_methods_differ_by_their_seeds_only(seeds, alike):
    import null_studies

    study = null_studies.Study(0, range(seeds), 0.8, null_studies.TINY)
    keys = [("kosmos-2", "none", variant, "bridge") for variant in ("full", "scratch")]
    skills = [study.skill(key) for key in keys]
    assert all(len(each) == seeds for each in skills)
    assert (skills[0] == skills[1]) == alike
    assert study.policy(keys[0], 4) is study.policy(keys[0], 4)
