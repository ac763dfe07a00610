"""Targets that no rule makes: one line that says what to write instead."""

from __future__ import annotations

import pytest

from vlm4vla.core.errors import UserError
from vlm4vla.workflow.targets import check_target


@pytest.mark.parametrize(
    ("path", "message"),
    [
        ("vla/kosmos-2/none/full/bridge/seed0", "did you mean '{root}/vla/.*/seed0/provenance.json'"),
        (
            "vla/kosmos-2/none/full/bridge/seed0/train.jsonl",
            r"of the form {root}/vla/{{vlm}}/.*/provenance.json",
        ),
        ("vla/kosmos-2/none", r"of the form {root}/vla/"),
        ("vla/kosmos-9/none", "unknown backbone 'kosmos-9': did you mean 'kosmos-2'"),
        ("vla/random/none/full/bridge/seed0/provenance.json", "unknown backbone 'random'"),
        ("cells/kosmos-2/none/full/bridge.pdf", "unknown benchmark 'bridge.pdf': did you mean 'bridge'"),
        ("capability/kosmos-2/none", "did you mean '{root}/capability/kosmos-2/none.json'"),
        ("auxiliary_data/fast-freeze-vision/provenance.json", "unknown task 'fast-freeze-vision'"),
        ("tables/main.xlsx", "unknown table 'main.xlsx': did you mean 'main'"),
        ("figures/mian.png", "no rule makes this file: did you mean '{root}/figures/main.png'"),
        ("sumary.md", "unknown stage 'sumary.md': did you mean 'summary.md'"),
        ("logs/questions.log", "unknown stage 'logs'"),
    ],
)
def test_a_path_that_no_rule_makes(study, path, message):
    with pytest.raises(UserError, match=message.format(root=study.root)) as error:
        check_target(study, f"{study.root}/{path}")
    assert "\n" not in str(error.value)


def test_every_declared_artefact_is_a_target(study):
    for path in study.declared():
        check_target(study, path)
    for path in (*study.published_study(), f"{study.root}/cells/pi0/none/full/bridge.tex"):
        check_target(study, path)
