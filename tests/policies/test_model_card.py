"""The model card, read by huggingface_hub's own parser."""

import json

import pytest
from huggingface_hub import ModelCard
from small_inputs import write_demonstrations
from training_fixtures import backbone, backbone_settings, questions  # noqa: F401
from vla_settings import settings

from vlm4vla.core.artefacts import write_json
from vlm4vla.policies.interface import Interface
from vlm4vla.policies.model_card import CardScore, Sources, policy_card, read_sources
from vlm4vla.stages.vla import run

RECORDED = {"settings": {"demonstrations": {"episodes": 40, "noise": 0.25, "seed": 0}}}
TINY = {"stage": "backbone", "settings": {"backbone": {"checkpoint": None}}}
RELEASED = {"stage": "backbone", "settings": {"backbone": {"checkpoint": "lab/vlm-3b", "revision": "c0ffee"}}}
POLICY = {
    "benchmark": "bridge",
    "chunk": 4,
    "state": None,
    "interface": Interface(64, "primary", 5.0, (1.0, 1.0)).to_json("bridge"),
}
PROVENANCE = {"settings": settings(benchmark="bridge").model_dump(mode="json")}
SCORE = CardScore("success_rate", 0.52, 0.42, 0.61, 96, 1, "embedded")


def card(origin=TINY, demonstrations=RECORDED, **options):
    return ModelCard(policy_card(POLICY, PROVENANCE, Sources(origin, demonstrations), **options))


def test_the_metadata_block_is_valid():
    data = card(scores=[SCORE]).data
    assert data.license == "apache-2.0" and data.pipeline_tag == "robotics" and data.library_name == "vlm4vla"
    (result,) = data.eval_results
    assert (result.metric_type, result.metric_value, result.dataset_name) == (
        "success_rate", 0.52, "Bridge (embedded)",
    )  # fmt: skip
    assert result.metric_args == {"ci_low": 0.42, "ci_high": 0.61, "episodes": 96}


def test_the_text_says_data_training_scores_and_units():
    text = card(scores=[SCORE]).text
    assert "40 episodes of a scripted expert" in text and "| updates | 6 |" in text
    assert "| success_rate | 52.0 % | 42.0 % to 61.0 % | 96 |" in text
    assert "the gripper opens at 1 and closes at 0" in text and "Rate: 5 actions per second" in text
    assert "1 is 1 m of motion and 1 rad of rotation" in text
    assert "licence `apache-2.0`" in text


def test_without_scores_the_card_says_so():
    without = card()
    assert without.data.eval_results is None and "its scores are not known" in without.text


def test_scores_of_several_seeds_and_of_the_smoke_scale():
    text = card(scores=[CardScore("average_length", 2.345, None, None, 10, 3, "smoke")]).text
    assert "| average_length | 2.35 | - | 10 |" in text or "| average_length | 2.34 | - | 10 |" in text
    assert "the mean over 3 policies" in text and "say nothing about the policy" in text


def test_the_licence_of_released_weights_stays_theirs():
    derived = card(RELEASED)
    assert derived.data.license == "other" and derived.data.base_model == "lab/vlm-3b"
    assert "The licence of lab/vlm-3b applies" in derived.text
    assert card(RELEASED, licence="mit").data.license == "mit"
    assert card({}, {}).data.license == "other"  # nothing is known about the backbone


@pytest.mark.parametrize("dataset", ["lab/demos", "/data/secret/place/demos"])
def test_a_dataset_is_named_without_the_path_of_the_machine(dataset):
    record = {"frames": 1234, "settings": {"demonstrations": {"dataset": dataset, "revision": "main"}}}
    found = card(demonstrations=record)
    assert found.data.datasets == (["lab/demos"] if dataset == "lab/demos" else None)
    assert "demos" in found.text and "secret" not in str(found) and "1234 frames" in found.text


def test_a_fine_tuned_backbone_leads_to_the_checkpoint_that_it_was_made_from(tmp_path):
    write_json(tmp_path / "backbone.json", RELEASED)
    tuned = {
        "stage": "auxiliary",
        "settings": {},
        "inputs": {"backbone": {"path": str(tmp_path / "backbone.json")}},
    }
    write_json(tmp_path / "tuned.json", tuned)
    provenance = {
        "inputs": {"backbone": {"path": str(tmp_path / "tuned.json")}, "demonstrations": {"path": "/none"}}
    }
    sources = read_sources(provenance)
    assert sources.hub_name == "lab/vlm-3b" and sources.demonstrations == {}
    write_json(tmp_path / "tuned.json", tuned | {"settings": {"checkpoint": "lab/tuned"}})
    assert read_sources(provenance).hub_name == "lab/tuned"


def test_the_stage_writes_the_card_and_the_interface(tmp_path, backbone):  # noqa: F811
    demonstrations = write_demonstrations(tmp_path / "demonstrations")
    write_json(demonstrations / "provenance.json", RECORDED | {"stage": "demonstrations"})
    run(settings(), backbone=backbone, demonstrations=demonstrations, output=tmp_path / "vla")
    found = ModelCard.load(tmp_path / "vla" / "README.md")
    assert found.data.license == "apache-2.0" and "40 episodes of a scripted expert" in found.text
    assert str(tmp_path) not in str(found)
    record = json.loads((tmp_path / "vla" / "policy.json").read_text())["interface"]
    assert record["rate_hz"] == 5 and record["image"]["camera"] == "observation.images.primary"
    assert record["action"]["scale"][0] == 0.11
