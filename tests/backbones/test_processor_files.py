"""The processor at the top of a policy's folder, as transformers' own AutoProcessor loads and uses it.

The classes of Qwen and InternVL load a video processor, so their tests need torchvision.
"""

import json

import numpy as np
import pytest
import torch
from tiny_backbones import make
from transformers import AutoImageProcessor, AutoProcessor, AutoTokenizer
from transformers.utils import is_torchvision_available

from vlm4vla.backbones.processor_files import write_processor_files
from vlm4vla.core.registry import FAMILIES

TEXT = "pick up the red block"
CLASSES = {
    "qwen2_5_vl": "Qwen2_5_VLProcessor",
    "qwen3_vl": "Qwen3VLProcessor",
    "qwen3_vl_moe": "Qwen3VLProcessor",
    "paligemma": "PaliGemmaProcessor",
    "paligemma2": "PaliGemmaProcessor",
    "kosmos-2": "Kosmos2Processor",
    "internvl": "InternVLProcessor",
}
WITHOUT_VIDEO = ("paligemma", "paligemma2", "kosmos-2")


def saved(family, folder):
    backbone = make(family)
    backbone.save(folder / "backbone")
    write_processor_files(backbone.adapter, folder / "backbone", folder)
    return backbone


@pytest.mark.parametrize("family", FAMILIES)
def test_the_files_name_the_class(family, tmp_path):
    saved(family, tmp_path)
    record = json.loads((tmp_path / "processor_config.json").read_text())
    assert record["processor_class"] == CLASSES[family]
    assert not (tmp_path / "config.json").exists()  # the folder has no weights of a transformers model


@pytest.mark.parametrize("family", FAMILIES)
def test_autoprocessor_gives_the_ids_and_pixels_of_a_policy(family, tmp_path):
    """Each processor repeats the placeholder of the image; some also write the tags around it."""
    if family not in WITHOUT_VIDEO and not is_torchvision_available():
        pytest.skip("transformers' video processors need torchvision")
    backbone = saved(family, tmp_path)
    processor = AutoProcessor.from_pretrained(tmp_path)
    assert type(processor).__name__ == CLASSES[family]
    adapter = backbone.adapter
    text, options = adapter.after_image(adapter.instruction(TEXT)), {}
    if family == "kosmos-2":
        options = {"num_image_tokens": adapter.image_tokens}
        text = text.removeprefix("</image>")
    elif family.startswith("paligemma"):
        text = text.removesuffix("\n").removeprefix("<s>")  # the processor writes both itself
        text = f"<image>{text}"
    elif family == "internvl":
        before, after = adapter.before_image.removesuffix("<img>"), text.removeprefix("</img>")
        text = f"{before}{adapter.image_token}{after}"
    else:
        text = f"{adapter.before_image}{adapter.image_token}{text}"
    image = np.random.default_rng(0).integers(0, 256, (64, 64, 3), dtype=np.uint8)
    found = processor(text=[text], images=[image], return_tensors="pt", **options)
    assert found["input_ids"][0].tolist() == backbone.prompt_ids(TEXT)
    expected = backbone.encode_images(image[None])["pixel_values"]
    torch.testing.assert_close(found["pixel_values"].reshape(expected.shape), expected, rtol=0, atol=1e-5)


@pytest.mark.parametrize("family", FAMILIES)
def test_the_two_parts_load_without_torchvision(family, tmp_path):
    backbone = saved(family, tmp_path)
    image_processor, tokenizer = (
        AutoImageProcessor.from_pretrained(tmp_path),
        AutoTokenizer.from_pretrained(tmp_path),
    )
    assert tokenizer(TEXT)["input_ids"] == backbone.tokenizer(TEXT)["input_ids"]
    image = np.random.default_rng(0).integers(0, 256, (64, 64, 3), dtype=np.uint8)
    found = image_processor(images=[image], return_tensors="pt")["pixel_values"]
    expected = backbone.encode_images(image[None])["pixel_values"]
    torch.testing.assert_close(found.reshape(expected.shape), expected, rtol=0, atol=1e-5)


@pytest.mark.skipif(is_torchvision_available(), reason="torchvision is installed")
@pytest.mark.parametrize("family", [name for name in FAMILIES if name not in WITHOUT_VIDEO])
def test_without_torchvision_the_message_is_the_one_of_the_page(family, tmp_path):
    """docs/use-a-policy.md says so. If this fails, transformers has changed: change the page."""
    saved(family, tmp_path)
    with pytest.raises(ImportError, match="VideoProcessor requires the Torchvision library"):
        AutoProcessor.from_pretrained(tmp_path)


def test_keys_that_are_there_stay(tmp_path):
    """A released InternVL tokenizer knows its own tokens, and the image processor its own length."""
    backbone = make("paligemma")
    backbone.save(tmp_path / "backbone")
    file = tmp_path / "backbone" / "preprocessor_config.json"
    file.write_text(json.dumps(json.loads(file.read_text()) | {"image_seq_length": 7}))
    write_processor_files(backbone.adapter, tmp_path / "backbone", tmp_path)
    assert json.loads((tmp_path / file.name).read_text())["image_seq_length"] == 7


def test_the_tokenizer_is_the_backbones(tmp_path):
    saved("kosmos-2", tmp_path)
    top, own = (AutoTokenizer.from_pretrained(folder) for folder in (tmp_path, tmp_path / "backbone"))
    assert top.get_vocab() == own.get_vocab()
    assert top("pick up the red block")["input_ids"] == own("pick up the red block")["input_ids"]
