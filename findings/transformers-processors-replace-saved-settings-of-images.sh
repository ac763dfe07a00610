#!/bin/bash
# Finding: some processors of transformers replace settings of their own image processor by constants, so that the
# saved settings have no effect. The class of the processor holds defaults for images (`images_kwargs`) and passes them
# in every call. They win over what preprocessor_config.json says and what the loaded image processor reports as its
# own. Only arguments of the call win over them. There is no warning or error. The image processor alone, with the same
# image, uses the saved settings.
#
# - Gemma 3: `do_pan_and_scan` is false: a wide image is not cut into further crops.
# - Aria: `max_image_size` is 980: 4 times as many pixels and twice as many image tokens as with 490.
# - Kosmos-2.5: `max_patches` is 4096: 64 times as many patches as with 64.
#
# Version: transformers 5.23.0 with Pillow 13.0.0 and torch 2.13.0 for the CPU, Python 3.11, without torchvision. An
# image of 1200 x 400 pixels, after save_pretrained and AutoProcessor.from_pretrained. Output:
#
#     Gemma3Processor, saved with do_pan_and_scan=True, loaded: True
#       image processor: 4 x 3 x 224 x 224
#       processor:       1 x 3 x 224 x 224
#       processor, do_pan_and_scan=True in the call: 4 x 3 x 224 x 224
#     AriaProcessor, saved with max_image_size=490, loaded: 490
#       image processor: 1 x 3 x 490 x 490
#       processor:       1 x 3 x 980 x 980
#       processor, max_image_size=490 in the call: 1 x 3 x 490 x 490
#     Kosmos2_5Processor, saved with max_patches=64, loaded: 64
#       image processor: 1 x 64 x 770
#       processor:       1 x 4096 x 770
#       processor, max_patches=64 in the call: 1 x 64 x 770
#
# Exits non-zero if this changes.
set -euo pipefail
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
cd "$folder"
"${PYTHON:-python3.11}" -m venv venv
venv/bin/python -m pip install --quiet "${TORCH:-torch==2.13.0}" transformers==5.23.0 tokenizers==0.23.3 \
  pillow==13.0.0 numpy==2.4.6

cat >settings.py <<'END'
import numpy as np
from PIL import Image
from tokenizers import Tokenizer, models, pre_tokenizers
from transformers import AriaProcessor, AutoProcessor, Gemma3Processor, Kosmos2_5Processor, PreTrainedTokenizerFast
from transformers.models.aria.image_processing_pil_aria import AriaImageProcessorPil
from transformers.models.gemma3.image_processing_pil_gemma3 import Gemma3ImageProcessorPil
from transformers.models.kosmos2_5.image_processing_pil_kosmos2_5 import Kosmos2_5ImageProcessorPil

NAMES = ["?", "<pad>", "<s>", "</s>", "<image>", "<start>", "<end>"]
words = Tokenizer(models.WordLevel({name: number for number, name in enumerate(NAMES)}, unk_token="?"))
words.pre_tokenizer = pre_tokenizers.WhitespaceSplit()
tokenizer = PreTrainedTokenizerFast(
    tokenizer_object=words,
    unk_token="?",
    pad_token="<pad>",
    bos_token="<s>",
    eos_token="</s>",
    extra_special_tokens={"boi_token": "<start>", "eoi_token": "<end>", "image_token": "<image>"},
)
image = Image.fromarray(np.zeros((400, 1200, 3), np.uint8))
crops = {"pan_and_scan_min_crop_size": 256, "pan_and_scan_max_num_crops": 4, "pan_and_scan_min_ratio_to_activate": 1.2}
CASES = (
    (Gemma3Processor, Gemma3ImageProcessorPil, crops, "do_pan_and_scan", True, "<start>", "pixel_values"),
    (AriaProcessor, AriaImageProcessorPil, {}, "max_image_size", 490, "<image>", "pixel_values"),
    (Kosmos2_5Processor, Kosmos2_5ImageProcessorPil, {}, "max_patches", 64, "", "flattened_patches"),
)
found = []
for kind, image_kind, others, setting, value, text, key in CASES:
    kind(image_kind(**{setting: value}, **others), tokenizer).save_pretrained(kind.__name__)
    loaded = AutoProcessor.from_pretrained(kind.__name__)
    reported = getattr(loaded.image_processor, setting)
    print(f"{kind.__name__}, saved with {setting}={value}, loaded: {reported}")
    outputs = {
        "image processor:": loaded.image_processor(image, return_tensors="pt"),
        "processor:      ": loaded(images=image, text=text, return_tensors="pt"),
        f"processor, {setting}={value} in the call:": loaded(
            images=image, text=text, return_tensors="pt", images_kwargs={setting: value}
        ),
    }
    for name, output in outputs.items():
        print(f"  {name} {' x '.join(map(str, output[key].shape))}")
    alone, inside, asked = (tuple(output[key].shape) for output in outputs.values())
    found.append((reported == value, alone, inside, asked == alone))
expected = [
    (True, (4, 3, 224, 224), (1, 3, 224, 224), True),
    (True, (1, 3, 490, 490), (1, 3, 980, 980), True),
    (True, (1, 64, 770), (1, 4096, 770), True),
]
assert found == expected, "the behaviour has changed"
END
venv/bin/python settings.py
