"""Measured rates: similar kinds replace a kind that was not measured."""

import json

import pytest

from vlm4vla.core.artefacts import write_json
from vlm4vla.core.errors import UserError
from vlm4vla.workflow.estimate.rates import Rate, Rates, rates_json, read_rates

RATES = Rates(
    [
        Rate("vla", "paligemma/mlp/none", "sample", 0.002, start=4, megabytes=2, jobs=3),
        Rate("vla", "paligemma/flow/none", "sample", 0.004, start=6, megabytes=4, jobs=1),
        Rate("vla", "kosmos-2/mlp/none", "sample", 0.01),
        Rate("vla", "lab/model", "sample", 0.02, device="h100"),
    ]
)


def test_a_measured_kind():
    found = RATES.find("vla", "kosmos-2/mlp/none")
    assert found.exact and found.rate.seconds == 0.01


def test_mean_of_similar_kinds_is_weighted_by_jobs():
    found = RATES.find("vla", "paligemma/tokens/none")
    assert not found.exact
    assert found.rate.seconds == pytest.approx((3 * 0.002 + 0.004) / 4)
    assert (found.rate.start, found.rate.megabytes, found.rate.jobs) == (4.5, 2.5, 4)
    assert RATES.find("vla", "qwen3_vl/mlp/none").rate.seconds == pytest.approx(
        (3 * 0.002 + 0.004 + 0.01) / 5
    )


def test_other_stages_and_devices_do_not_count():
    assert RATES.find("rollout", "bridge/random") is None
    assert RATES.find("vla", "lab/model", "h100").exact
    assert RATES.find("vla", "lab/other", "h100") is None
    assert RATES.find("vla", "lab/model", "a100") is None


def test_round_trip(tmp_path):
    path = tmp_path / "rates.json"
    write_json(path, rates_json(RATES.rates, machine="two cores"))
    again = read_rates(path)
    assert again.rates == RATES.rates and (again.machine, again.source) == ("two cores", str(path))


def test_a_missing_file_has_no_rates(tmp_path):
    assert read_rates(tmp_path / "none.json").rates == []


@pytest.mark.parametrize("text", ["", "[]", json.dumps({"rates": [{"stage": "vla"}]})])
def test_another_kind_of_file_is_refused(tmp_path, text):
    path = tmp_path / "rates.json"
    path.write_text(text)
    with pytest.raises(UserError, match="not a file of rates"):
        read_rates(path)
