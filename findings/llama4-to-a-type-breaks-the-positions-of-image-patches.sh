#!/bin/bash
# Finding: `model.to(dtype)` damages Llama 4's vision encoder, even if the model has this type already. The rotary
# positions of its patches are a complex buffer, `freqs_ci`. torch's `to` casts complex tensors as well as real ones, so
# the buffer loses its imaginary part, and a rotation becomes a factor between -1 and 1. The model still runs, but gives
# other logits for an image. Another cast does not repair it; loading the model again does. torch warns once that a cast
# discards an imaginary part, without a name; transformers does not warn. `float()`, `half()` and `bfloat16()` leave the
# buffer as it is, and so does the argument `dtype` of `from_pretrained`.
#
# Version: transformers 5.23.0 with torch 2.13.0 for the CPU, Python 3.11. A tiny float32 model with random weights, and
# the greatest difference between its logits for one image before and after. Output:
#
#     float(): positions complex64, difference 0.00
#     to("cpu"): positions complex64, difference 0.00
#     to(torch.float32): positions float32, difference 5.41
#     bfloat16(), then float(): positions complex64, difference 0.07
#     to(torch.bfloat16), then float(): positions float32, difference 5.42
#     from_pretrained in bfloat16, then float(): positions complex64, difference 0.07
#     logits of up to 6.5
#
# Exits non-zero if this changes.
set -euo pipefail
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
cd "$folder"
"${PYTHON:-python3.11}" -m venv venv
venv/bin/python -m pip install --quiet "${TORCH:-torch==2.13.0}" transformers==5.23.0 tokenizers==0.23.3 \
  safetensors==0.8.0 numpy==2.4.6

cat >cast.py <<'END'
import torch
from transformers import Llama4Config, Llama4ForConditionalGeneration, set_seed
from transformers.utils import logging

logging.disable_progress_bar()
IMAGE = 5
tiny = {"hidden_size": 32, "num_hidden_layers": 1, "num_attention_heads": 2, "initializer_range": 0.5}
words = {"vocab_size": 16, "head_dim": 16, "num_key_value_heads": 2, "num_local_experts": 2, "pad_token_id": 0}
patches = {"image_size": 56, "patch_size": 14, "intermediate_size": 128, "pixel_shuffle_ratio": 0.5}
widths = {"vision_output_dim": 32, "projector_input_dim": 32, "projector_output_dim": 32}
config = Llama4Config(
    text_config=tiny | words | {"intermediate_size": 64, "intermediate_size_mlp": 64},
    vision_config=tiny | patches | widths,
    image_token_index=IMAGE,
)
set_seed(0)
Llama4ForConditionalGeneration(config).save_pretrained("model")
pixels, ids = torch.randn(1, 3, 56, 56), torch.tensor([[1, *[IMAGE] * 4, 2]])  # 4 x 4 patches make 4 tokens


def load(dtype=torch.float32):
    return Llama4ForConditionalGeneration.from_pretrained("model", dtype=dtype).eval()


def logits(model):
    with torch.no_grad():
        return model(input_ids=ids, pixel_values=pixels).logits


reference = logits(load())
cases = {
    "float()": lambda: load().float(),
    'to("cpu")': lambda: load().to("cpu"),
    "to(torch.float32)": lambda: load().to(torch.float32),
    "bfloat16(), then float()": lambda: load().bfloat16().float(),
    "to(torch.bfloat16), then float()": lambda: load().to(torch.bfloat16).float(),
    "from_pretrained in bfloat16, then float()": lambda: load(torch.bfloat16).float(),
}
found = []
for name, make in cases.items():
    model = make()
    (kind,) = {str(buffer.dtype) for key, buffer in model.named_buffers() if key.endswith("freqs_ci")}
    difference = (logits(model) - reference).abs().max().item()
    print(f"{name}: positions {kind.removeprefix('torch.')}, difference {difference:.2f}")
    found.append((kind, difference < 0.5))
print(f"logits of up to {reference.abs().max():.1f}")
good, bad = ("torch.complex64", True), ("torch.float32", False)
assert found == [good, good, bad, good, bad, good], "the behaviour has changed"
END
venv/bin/python cast.py
