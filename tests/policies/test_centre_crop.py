"""The centre crop of a policy: closed form, files, and the same actions wherever the policy acts."""

import json
from types import SimpleNamespace

import numpy as np
import pytest
import torch
from PIL import Image
from small_inputs import write_demonstrations
from test_policy import INSTRUCTIONS, make, make_images
from vla_settings import settings

from vlm4vla.config.benchmarks import EvaluationProtocol
from vlm4vla.core.errors import UserError
from vlm4vla.data.pictures.augmentation import centre_cropped
from vlm4vla.evaluation.records import crop_text
from vlm4vla.evaluation.rollouts.actors import PolicyActor
from vlm4vla.evaluation.simulators.served_policies import Query, ServedVla
from vlm4vla.policies.policy import Policy
from vlm4vla.stages.vla import run

AREA = 0.9


def ramp(height, width, axis):
    """A grey image that rises by one level a pixel along one axis."""
    values = np.arange(height)[:, None] if axis == 0 else np.arange(width)[None]
    return np.broadcast_to((values + 20)[..., None], (height, width, 3)).astype(np.uint8)


@pytest.mark.parametrize("axis", [0, 1])
@pytest.mark.parametrize(("height", "width"), [(224, 224), (64, 64), (120, 200)])
@pytest.mark.parametrize("area", [0.9, 0.5, 0.25])
def test_a_ramp_is_stretched_about_its_middle(height, width, axis, area):
    """Pixel i of n has its middle at i + 1/2. The crop maps it to n/2 + sqrt(area) (i + 1/2 - n/2)."""
    cut = centre_cropped(ramp(height, width, axis)[None], area)[0].astype(float)
    assert cut.shape == (height, width, 3)
    size = (height, width)[axis]
    middles = size / 2 + area**0.5 * (np.arange(size) + 0.5 - size / 2)
    expected = 20 + middles - 0.5
    found = cut[:, 0, 0] if axis == 0 else cut[0, :, 0]
    assert np.abs(found - expected).max() <= 0.51  # rounding to whole levels
    assert np.array_equal(cut.max(1 - axis), cut.min(1 - axis))  # constant along the other axis


def test_a_narrow_border_is_cut_off():
    """0.9 of the area cuts 5.7 of 224 pixels from each side; the bicubic filter reaches two pixels more."""
    assert pytest.approx(5.748, abs=1e-3) == 224 * (1 - AREA**0.5) / 2
    image = np.full((1, 224, 224, 3), 90, dtype=np.uint8)
    for border, visible in ((3, False), (8, True)):
        framed = image.copy()
        framed[:, :border] = framed[:, -border:] = framed[:, :, :border] = framed[:, :, -border:] = 250
        assert (centre_cropped(framed, AREA) != 90).any() == visible


def test_a_quarter_of_the_area_is_half_of_each_side():
    """With half the side, the crop lies on whole pixels, so that Pillow's own crop is the same."""
    image = make_images()[:1]
    half = Image.fromarray(np.pad(image[0], ((16, 16), (16, 16), (0, 0)), mode="edge"))
    box = half.resize((96, 96), Image.Resampling.BICUBIC, box=(24, 24, 72, 72))
    assert np.array_equal(centre_cropped(np.asarray(half)[None], 0.25)[0], np.asarray(box))


def cropping():
    policy = make()
    policy.centre_crop = AREA
    return policy


def test_a_policy_acts_on_the_centre():
    actions = cropping().predict(make_images(), INSTRUCTIONS)
    assert np.array_equal(actions, make().predict(centre_cropped(make_images(), AREA), INSTRUCTIONS))
    assert not np.array_equal(actions, make().predict(make_images(), INSTRUCTIONS))
    assert np.array_equal(actions, cropping().predict(torch.from_numpy(make_images()), INSTRUCTIONS))


def test_the_policys_folder_records_the_crop(tmp_path):
    cropping().save(tmp_path / "crop")
    make().save(tmp_path / "whole")
    record = json.loads((tmp_path / "crop" / "policy.json").read_text())
    assert record.pop("centre_crop") == AREA
    assert record == json.loads((tmp_path / "whole" / "policy.json").read_text())
    assert Policy.load(tmp_path / "whole").centre_crop is None
    loaded = Policy.load(tmp_path / "crop").predict(make_images(), INSTRUCTIONS)
    np.testing.assert_allclose(loaded, cropping().predict(make_images(), INSTRUCTIONS), rtol=0, atol=1e-6)


def test_rollouts_and_the_policy_server_give_the_same_actions(tmp_path):
    """Each of them loads the folder, as a user's own program would."""
    cropping().save(tmp_path)
    expected = Policy.load(tmp_path).predict(make_images(), INSTRUCTIONS)
    actor = PolicyActor(tmp_path, 4, 0, AREA)
    tasks = [SimpleNamespace(instruction=text) for text in INSTRUCTIONS]
    np.testing.assert_allclose(actor.plan([None] * 3, tasks, [0, 1, 2], make_images()), expected, atol=1e-6)
    served = ServedVla(tmp_path, "calvin", "range", 0, AREA)
    queries = [
        Query(text, image, text, None) for text, image in zip(INSTRUCTIONS, make_images(), strict=True)
    ]
    np.testing.assert_allclose(np.stack(served.plan(queries)), expected, atol=1e-6)


@pytest.mark.parametrize(("own", "wanted"), [(AREA, None), (None, AREA), (AREA, 0.8)])
def test_a_policy_with_another_crop_is_refused(tmp_path, own, wanted):
    policy = make()
    policy.centre_crop = own
    policy.save(tmp_path)
    with pytest.raises(UserError, match=r"policy.json: .* but evaluation.centre_crop asks for"):
        PolicyActor(tmp_path, 4, 0, wanted)
    with pytest.raises(UserError, match=r"policy.json: .* but evaluation.centre_crop asks for"):
        ServedVla(tmp_path, "calvin", "range", 0, wanted)


def test_the_stage_saves_the_crop_and_trains_the_same_weights(tmp_path, small_backbone):
    """The crop is for the finished policy. Training has its random crop."""
    demonstrations = write_demonstrations(tmp_path / "demonstrations")
    for name, changes in (("whole", {}), ("crop", {"centre_crop": AREA})):
        run(
            settings(**changes),
            backbone=small_backbone,
            demonstrations=demonstrations,
            output=tmp_path / name,
        )
    assert Policy.load(tmp_path / "crop").centre_crop == AREA
    weights = [(tmp_path / name / "policy.safetensors").read_bytes() for name in ("whole", "crop")]
    assert weights[0] == weights[1]
    assert "centre_crop" not in (tmp_path / "whole" / "policy.json").read_text()


@pytest.fixture
def small_backbone(tmp_path):
    make("paligemma").backbone.save(tmp_path / "backbone")
    (tmp_path / "backbone" / "provenance.json").write_text("{}")
    return tmp_path / "backbone"


def test_the_setting_is_absent_by_default():
    protocol = {"episodes": 1, "max_steps": 10, "execution_horizon": 1}
    for whole in ({}, {"centre_crop": None}, {"centre_crop": 1}):
        evaluation = EvaluationProtocol(**protocol, **whole)
        assert "centre_crop" not in evaluation.model_dump(mode="json") and crop_text(evaluation) == ""
    evaluation = EvaluationProtocol(**protocol, centre_crop=AREA)
    assert evaluation.model_dump(mode="json")["centre_crop"] == AREA
    assert crop_text(evaluation) == ", the centre 0.9 of each image seen"
    for wrong in (0, 1.1, -0.5):
        with pytest.raises(ValueError, match="centre_crop"):
            EvaluationProtocol(**protocol, centre_crop=wrong)
