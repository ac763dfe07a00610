"""What policy.json says about images and actions, and actions for images of any size."""

import json

import numpy as np
import pytest
from PIL import Image
from tiny_backbones import make

from vlm4vla.actions.normalisation import StateScale, Statistics
from vlm4vla.benchmarks.base import get_benchmark
from vlm4vla.config.policies import FlowHeadSettings, MlpHeadSettings
from vlm4vla.conventions.benchmarks import BENCHMARKS, facts
from vlm4vla.conventions.simulators import KNOWN
from vlm4vla.policies.interface import Interface
from vlm4vla.policies.policy import Policy

TEXT = "pick up the red block"
LOW, HIGH = np.full(6, -2.0, dtype=np.float32), np.full(6, 4.0, dtype=np.float32)


def policy(head=None, state=None):
    head = head or MlpHeadSettings(features=16, hidden=[16], gripper_loss_weight=0.1)
    return Policy.create(
        make("paligemma"), head, 3, "calvin", Statistics("range", "calvin", LOW, HIGH), 0, state
    )


def picture(height, width):
    return np.random.default_rng(0).integers(0, 256, (height, width, 3), dtype=np.uint8)


@pytest.mark.parametrize("name", BENCHMARKS)
def test_embedded_units_are_those_of_the_benchmark(name):
    benchmark = get_benchmark(name)
    assert facts(name).embedded_units == (benchmark.position_unit, benchmark.rotation_unit)
    moved = benchmark.action(np.array([0.01, 0, 0]), np.zeros(3), True)
    assert moved[0] * facts(name).embedded_units[0] == pytest.approx(0.01)


def test_calvins_real_units_are_those_of_its_simulator():
    assert facts("calvin").real_units == (KNOWN["calvin"].metres, KNOWN["calvin"].radians)


def test_policy_json_describes_images_and_actions(tmp_path):
    own = policy()
    own.interface = Interface(64, "observation.images.primary", 10.0, (0.11, 0.6))
    own.save(tmp_path)
    record = json.loads((tmp_path / "policy.json").read_text())["interface"]
    assert record["image"] == {
        "height": 64, "width": 64, "channels": "RGB, uint8", "camera": "observation.images.primary",
    }  # fmt: skip
    assert record["rate_hz"] == 10.0
    action = record["action"]
    assert action["names"] == ["x", "y", "z", "roll", "pitch", "yaw", "gripper"]
    assert action["units"] == ["m", "m", "m", "rad", "rad", "rad", "command"]
    assert action["scale"] == [0.11, 0.11, 0.11, 0.6, 0.6, 0.6, 1.0]
    assert action["gripper"] == {"open": 1.0, "close": -1.0}
    assert Policy.load(tmp_path).interface == own.interface


def test_a_policy_of_an_earlier_version_loads_and_acts(tmp_path):
    own = policy()
    own.save(tmp_path)
    expected = own.act(picture(90, 120), TEXT)
    record = json.loads((tmp_path / "policy.json").read_text())
    del record["interface"]
    (tmp_path / "policy.json").write_text(json.dumps(record))
    for name in (
        "processor_config.json",
        "preprocessor_config.json",
        "tokenizer.json",
        "tokenizer_config.json",
    ):
        (tmp_path / name).unlink()
    again = Policy.load(tmp_path)
    assert again.interface == Interface(64)
    np.testing.assert_allclose(again.act(picture(90, 120), TEXT), expected, atol=1e-6)


@pytest.mark.parametrize(("height", "width"), [(64, 64), (480, 640), (31, 200), (1, 1)])
def test_images_of_any_size_are_resized_as_pillow_does(height, width):
    own = policy()
    image = picture(height, width)
    sized = Image.fromarray(image).resize((64, 64), Image.Resampling.BICUBIC)
    expected = own.predict(np.asarray(sized)[None], [TEXT])[0]
    assert expected.shape == (3, 7)
    np.testing.assert_array_equal(own.act(image, TEXT), expected)
    np.testing.assert_array_equal(own.act(Image.fromarray(image), TEXT), expected)


@pytest.mark.parametrize(
    "image",
    [
        np.zeros((64, 64), np.uint8),
        np.zeros((64, 64, 4), np.uint8),
        np.zeros((3, 64, 64), np.uint8),
        np.zeros((64, 64, 3), np.float32),
        np.zeros((0, 64, 3), np.uint8),
        Image.new("L", (64, 64)),
    ],
)
def test_other_images_are_refused(image):
    with pytest.raises(ValueError, match=r"an image must be \(H, W, 3\) uint8 in RGB, this one is"):
        policy().act(image, TEXT)


def test_a_head_that_samples_and_reads_the_state():
    state = StateScale(np.zeros(8, np.float32), np.ones(8, np.float32))
    own = policy(FlowHeadSettings(kind="flow", width=16, intermediate=16), state)
    image, robot = picture(64, 64), np.arange(8.0)
    same = [own.act(image, TEXT, robot, np.random.default_rng(seed)) for seed in (1, 1, 2)]
    np.testing.assert_array_equal(same[0], same[1])
    assert np.abs(same[0] - same[2]).max() > 1e-4
    assert np.abs(own.act(image, TEXT, robot) - own.act(image, TEXT, robot)).max() > 1e-6
    with pytest.raises(ValueError, match="needs states"):
        own.act(image, TEXT)
