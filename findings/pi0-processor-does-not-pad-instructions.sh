#!/bin/bash
# Finding: the PI0Processor of transformers does not pad instructions, although its default is `padding="max_length"`.
# Its maximal length, 48, is the one that pi0 has for the text alone. The processor puts the tokens of the images, 256
# each, in front of the text before it pads. Every prompt is then longer than 48, nothing is padded, and nothing is
# truncated either, without a warning. A batch of two instructions of different lengths ends in an error, and batches of
# one instruction have as many shapes as there are lengths. `padding=True`, or a `max_length` that counts the images,
# gives a padded batch.
#
# Version: transformers 5.23.0 with torch 2.13.0 for the CPU, Python 3.11. Without torchvision, so the images are
# prepared by the Pillow version of SigLIP's image processor, with 256 tokens for an image as in PI0ImageProcessor.
# Output:
#
#     PI0Processor.text_kwargs: padding max_length, max_length 48
#     "open": 258 ids, 0 of them padding
#     "open the drawer": 260 ids, 0 of them padding
#     both: ValueError: Unable to convert output 'input_ids' (type: list) to tensor: expected sequence of length 258 at
#       dim 1 (got 260)
#     both, padding=True: 260 ids, 2 of them padding
#     both, max_length=304: 304 ids, 90 of them padding
#
# Exits non-zero if this changes.
set -euo pipefail
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
cd "$folder"
"${PYTHON:-python3.11}" -m venv venv
venv/bin/python -m pip install --quiet "${TORCH:-torch==2.13.0}" transformers==5.23.0 tokenizers==0.23.3 \
  pillow==13.0.0 numpy==2.4.6

cat >pad.py <<'END'
import warnings

import numpy as np
from PIL import Image
from tokenizers import Tokenizer, models, pre_tokenizers
from transformers import PI0Processor, PreTrainedTokenizerFast
from transformers.models.siglip.image_processing_pil_siglip import SiglipImageProcessorPil

warnings.simplefilter("ignore")  # with padding=True, max_length has no effect
NAMES = ["?", "<pad>", "<bos>", "<eos>", "open", "the", "drawer"]
words = Tokenizer(models.WordLevel({name: number for number, name in enumerate(NAMES)}, unk_token="?"))
words.pre_tokenizer = pre_tokenizers.WhitespaceSplit()
tokenizer = PreTrainedTokenizerFast(
    tokenizer_object=words, unk_token="?", pad_token="<pad>", bos_token="<bos>", eos_token="<eos>"
)
image_processor = SiglipImageProcessorPil(size={"height": 224, "width": 224})
image_processor.image_seq_length = 256
processor = PI0Processor(image_processor, tokenizer)
image = Image.fromarray(np.zeros((224, 224, 3), np.uint8))


def attempt(*texts, **settings):
    try:
        made = processor(images=[[image]] * len(texts), text=list(texts), **settings)
    except ValueError as error:
        return f"ValueError: {str(error).splitlines()[0]}"
    return f"{made['input_ids'].shape[1]} ids, {int((made['attention_mask'] == 0).sum())} of them padding"


short, long = "open", "open the drawer"
defaults = PI0Processor.text_kwargs
print(f"PI0Processor.text_kwargs: padding {defaults['padding']}, max_length {defaults['max_length']}")
found = {
    f'"{short}"': attempt(short),
    f'"{long}"': attempt(long),
    "both": attempt(short, long),
    "both, padding=True": attempt(short, long, padding=True),
    "both, max_length=304": attempt(short, long, max_length=256 + 48),
}
for name, text in found.items():
    print(f"{name}: {text}")
assert (defaults["padding"], defaults["max_length"]) == ("max_length", 48), "the behaviour has changed"
expected = ["258 ids, 0 ", "260 ids, 0 ", "ValueError: ", "260 ids, 2 ", "304 ids, 90 "]
assert all(text.startswith(part) for text, part in zip(found.values(), expected, strict=True)), (
    "the behaviour has changed"
)
END
venv/bin/python pad.py
