#!/bin/bash
# Finding: without torchvision, transformers cannot make the processor of Qwen2.5-VL for still pictures, although its
# signature has `video_processor=None` and AutoImageProcessor has a Pillow version of the image processor. Both ways
# end in an error: AutoProcessor always loads the video processor, and a processor made by hand asks the placeholder
# class of the video processors for `_extra_content`, which placeholders do not have.
#
# Version: transformers 5.23.0 with Pillow 13.0.0, Python 3.11, without torch and torchvision. Output:
#
#     AutoImageProcessor: Qwen2VLImageProcessorPil
#     AutoTokenizer: 3 ids
#     AutoProcessor: ImportError: Qwen2VLVideoProcessor requires the Torchvision library
#     AutoProcessor, backend="pil": ImportError: Video processor cannot be loaded - requested pil backend is not
#       available.
#     Qwen2_5_VLProcessor(image_processor, tokenizer): AttributeError: type object 'VIDEO_PROCESSOR_MAPPING' has no
#       attribute '_extra_content'
#
# Exits non-zero if this changes.
set -euo pipefail
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
cd "$folder"
"${PYTHON:-python3.11}" -m venv venv
venv/bin/python -m pip install --quiet transformers==5.23.0 pillow==13.0.0 numpy==2.4.6

cat >load.py <<'END'
import json
from pathlib import Path

from tokenizers import Tokenizer, models, pre_tokenizers
from transformers import AutoImageProcessor, AutoProcessor, AutoTokenizer, Qwen2_5_VLProcessor

tokenizer = Tokenizer(models.WordLevel({"a": 0, "red": 1, "block": 2, "<|image_pad|>": 3, "?": 4}, unk_token="?"))
tokenizer.pre_tokenizer = pre_tokenizers.WhitespaceSplit()
tokenizer.save("tokenizer.json")
Path("tokenizer_config.json").write_text(json.dumps({"tokenizer_class": "PreTrainedTokenizerFast"}))
Path("preprocessor_config.json").write_text(json.dumps({"image_processor_type": "Qwen2VLImageProcessor"}))
Path("processor_config.json").write_text(json.dumps({"processor_class": "Qwen2_5_VLProcessor"}))


def attempt(make):
    try:
        return type(make()).__name__
    except Exception as error:
        return f"{type(error).__name__}: {' '.join(str(error).split())}"


image_processor, words = AutoImageProcessor.from_pretrained("."), AutoTokenizer.from_pretrained(".")
found = {
    "AutoImageProcessor": type(image_processor).__name__,
    "AutoTokenizer": f"{len(words('a red block')['input_ids'])} ids",
    "AutoProcessor": attempt(lambda: AutoProcessor.from_pretrained(".")),
    'AutoProcessor, backend="pil"': attempt(lambda: AutoProcessor.from_pretrained(".", backend="pil")),
    "Qwen2_5_VLProcessor(image_processor, tokenizer)": attempt(lambda: Qwen2_5_VLProcessor(image_processor, words)),
}
for name, text in found.items():
    print(f"{name}: {text[:200]}")
expected = [
    "Qwen2VLImageProcessorPil",
    "3 ids",
    "requires the Torchvision library",
    "requested pil backend",
    "_extra_content",
]
assert all(part in text for part, text in zip(expected, found.values(), strict=True)), "the behaviour has changed"
END
venv/bin/python load.py
