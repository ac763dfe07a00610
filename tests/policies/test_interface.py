"""What policy.json says about images and actions, and actions for images of any size."""

import json

import numpy as np
import pytest
import torch
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


GREY, COLOUR = np.full((40, 30), 90, np.uint8), picture(40, 30)
REFUSED = {  # the image, what the message says to write, and the result of that
    "grey": (GREY, "np.stack([image] * 3, axis=-1)", lambda image: np.stack([image] * 3, axis=-1)),
    "grey (H, W, 1)": (
        GREY[..., None], "np.repeat(image, 3, axis=-1)", lambda image: np.repeat(image, 3, axis=-1),
    ),
    "alpha": (np.dstack([COLOUR, GREY]), "image[..., :3]", lambda image: image[..., :3]),
    "channels first": (
        np.moveaxis(COLOUR, -1, 0), "np.moveaxis(image, 0, -1)", lambda image: np.moveaxis(image, 0, -1),
    ),
    "tensor": (
        torch.from_numpy(COLOUR).permute(2, 0, 1),
        "image.permute(1, 2, 0)",
        lambda image: image.permute(1, 2, 0),
    ),
    "floats": (
        COLOUR / 255,
        "(255 * image).round().astype(np.uint8) if 1 is white",
        lambda image: (255 * image).round().astype(np.uint8),
    ),
    "a batch": (COLOUR[None], "images[0]", lambda images: images[0]),
    "Pillow grey": (Image.fromarray(GREY), "image.convert('RGB')", lambda image: image.convert("RGB")),
    "Pillow alpha": (
        Image.fromarray(COLOUR).convert("RGBA"), "image.convert('RGB')", lambda image: image.convert("RGB"),
    ),
    "Pillow palette": (
        Image.fromarray(GREY).convert("P"), "image.convert('RGB')", lambda image: image.convert("RGB"),
    ),
}  # fmt: skip


@pytest.mark.parametrize("case", REFUSED)
def test_other_images_are_refused_with_what_to_write(case):
    image, wanted, write = REFUSED[case]
    own, sized = policy(), np.asarray(Image.fromarray(COLOUR).resize((64, 64), Image.Resampling.BICUBIC))
    with pytest.raises(ValueError, match="an image must be") as caught:
        own.act(image, TEXT)
    assert wanted in str(caught.value) and "\n" not in str(caught.value)
    found = own.interface.fit(write(image))
    assert found.shape == (64, 64, 3) and found.dtype == np.uint8
    if "grey" not in case and "palette" not in case:
        np.testing.assert_array_equal(found, sized)


@pytest.mark.parametrize(
    "image", [None, "picture.png", np.zeros((0, 64, 3), np.uint8), np.zeros(3), [[1], [2, 3]]]
)
def test_what_is_no_image_is_refused_in_one_line(image):
    with pytest.raises(ValueError, match="an image must be") as caught:
        Interface(64).fit(image)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize("instruction", [None, "", "  ", 3, ["open the drawer"]])
def test_an_instruction_is_text(instruction):
    with pytest.raises(ValueError, match="the instruction must be text"):
        policy().act(COLOUR, instruction)


def test_a_head_that_samples_and_reads_the_state():
    state = StateScale(np.zeros(8, np.float32), np.ones(8, np.float32))
    own = policy(FlowHeadSettings(kind="flow", width=16, intermediate=16), state)
    image, robot = picture(64, 64), np.arange(8.0)
    same = [own.act(image, TEXT, robot, np.random.default_rng(seed)) for seed in (1, 1, 2)]
    np.testing.assert_array_equal(same[0], same[1])
    assert np.abs(same[0] - same[2]).max() > 1e-4
    assert np.abs(own.act(image, TEXT, robot) - own.act(image, TEXT, robot)).max() > 1e-6
    with pytest.raises(ValueError, match="needs states: pass the robot's state, 8 numbers"):
        own.act(image, TEXT)
    with pytest.raises(ValueError, match=r"8 numbers, as the third argument, not the shape \(7,\)"):
        own.act(image, TEXT, robot[:7])
