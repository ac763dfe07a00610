#!/bin/bash
# Finding: with HunYuanVL, the positions of a sample depend on how many images stand before it in its batch. The last
# axis of its rotary embedding is the number of the image in the input sequence: 0 for the first image, 1 for the
# second. `get_rope_index` counts it through all rows of the batch and does not begin at 0 again in the next row. So
# the image of the second row gets the positions of a second image, and the logits of the row change. Of a batch with
# one image in each row, only the first row gives the logits that it gives alone. This happens without padding, and
# without a warning or an error.
#
# Version: transformers 5.23.0 with torch 2.13.0 for the CPU, Python 3.11. A tiny model with random weights, a batch of
# three equal rows with one image each. Output:
#
#     row 0: image number 0, logits equal to those of the row alone
#     row 1: image number 1, logits differ from those of the row alone by 0.07
#     row 2: image number 2, logits differ from those of the row alone by 0.13
#     logits from -10.4 to 16.4
#
# A batch of one row does not have the problem. Exits non-zero if this changes.
set -euo pipefail
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
cd "$folder"
"${PYTHON:-python3.11}" -m venv venv
venv/bin/python -m pip install --quiet "${TORCH:-torch==2.13.0}" transformers==5.23.0 tokenizers==0.23.3 \
  safetensors==0.8.0 numpy==2.4.6

cat >batch.py <<'END'
import torch
from transformers import HunYuanVLConfig, HunYuanVLForConditionalGeneration, set_seed

IMAGE, START, END = 5, 6, 7
tiny = {"hidden_size": 32, "intermediate_size": 64, "num_hidden_layers": 2, "num_attention_heads": 2}
axes = {"rope_type": "default", "rope_theta": 1e4, "mrope_section": [2, 2, 2, 2]}
config = HunYuanVLConfig(
    text_config=tiny | {"vocab_size": 16, "head_dim": 16, "rope_parameters": axes, "initializer_range": 1.0},
    vision_config=tiny | {"patch_size": 4, "out_hidden_size": 32, "text_hidden_size": 32},
    image_token_id=IMAGE,
    im_start_id=START,
    im_end_id=END,
    im_newline_id=8,
)
set_seed(0)
model = HunYuanVLForConditionalGeneration(config).eval()

# An image of 4 x 4 patches: 2 x 2 states, one more at the end of each row, and one on each side of the image.
row = torch.tensor([[START, *[IMAGE] * 8, END, 9, 10, 11]])
pixels, grid = torch.randn(16, 3 * 4 * 4), torch.tensor([[1, 4, 4]])


def inputs(rows):
    ids = row.repeat(rows, 1)
    kinds = (ids == IMAGE).long()
    return {"input_ids": ids, "mm_token_type_ids": kinds, "image_grid_thw": grid.repeat(rows, 1)}


def logits(rows):
    with torch.no_grad():
        return model(**inputs(rows), pixel_values=pixels.repeat(rows, 1)).logits


alone, batch = logits(1)[0], logits(3)
positions, _ = model.model.get_rope_index(**inputs(3))
found = []
for number in range(3):
    image, difference = positions[-1, number, 3].item(), (batch[number] - alone).abs().max().item()
    same = difference < 1e-4
    found.append((image, same))
    words = "equal to" if same else "differ from"
    amount = "" if same else f" by {difference:.2f}"
    print(f"row {number}: image number {image}, logits {words} those of the row alone{amount}")
print(f"logits from {alone.min():.1f} to {alone.max():.1f}")
assert found == [(0, True), (1, False), (2, False)], "the behaviour has changed"
END
venv/bin/python batch.py
