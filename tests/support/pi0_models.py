"""Tiny models of transformers' model type pi0, with random weights."""

import copy
import json

import numpy as np
import torch
from expert_policies import make
from transformers import AutoTokenizer, PI0Config, PI0ForConditionalGeneration, PI0Processor

from vlm4vla.backbones.generic.processor import without_other_parts

EXPERT = {"hidden_size": 24, "intermediate_size": 40}


def pi0_like(paligemma, *, chunk, state_size, action_size, dtype=torch.float32, seed=0):
    """A PI0 model whose VLM has the sizes of the config `paligemma`, and whose expert is narrower."""
    vlm = copy.deepcopy(paligemma).to_dict()
    text = vlm["text_config"]
    heads = ("num_hidden_layers", "num_attention_heads", "num_key_value_heads", "head_dim")
    config = PI0Config(
        vlm_config=vlm,
        dit_config={"model_type": "gemma", **EXPERT, **{key: text[key] for key in heads}},
        chunk_size=chunk,
        max_state_dim=state_size,
        max_action_dim=action_size,
    )
    model = PI0ForConditionalGeneration(config).to(dtype)
    randomise(model, seed)
    return model.eval()


def randomise(model, seed):
    """Weights so large that every part of the model changes the result, norms and biases included."""
    generator = torch.Generator().manual_seed(seed)
    with torch.no_grad():
        for name, weight in model.named_parameters():
            noise = torch.randn(weight.shape, generator=generator).to(weight)
            if weight.ndim < 2:
                weight.add_(0.2 * noise)
            else:
                weight.copy_(noise * (0.5 if "embed" in name else 1.2 * weight[0].numel() ** -0.5))


STATISTICS = {
    "state_mean": [0.3, -0.1, 0.2, 0.0, 0.1, 1.0, 0.5, 0.4],
    "state_std": [0.2, 0.1, 0.3, 0.5, 0.0, 0.7, 0.5, 0.5],
    "actions_mean": [0.1, 0.0, -0.1, 0.02, 0.0, 0.0, 0.4],
    "actions_std": [0.3, 0.4, 0.2, 0.1, 0.0, 0.1, 0.5],
}


def write_pi0(folder, *, chunk=4, action_size=9, statistics=STATISTICS, dtype=torch.float32):
    """A folder as transformers writes it for a small pi0: model, tokenizer and processor."""
    backbone = make("flow").backbone
    side = backbone.image_size
    model = pi0_like(backbone.model.config, chunk=chunk, state_size=10, action_size=action_size, dtype=dtype)
    model.save_pretrained(folder)
    backbone.tokenizer.save_pretrained(folder)
    processor = {
        "processor_class": "PI0Processor",
        "image_processor": {
            "image_processor_type": "PI0ImageProcessor",
            "size": {"max_height": side, "max_width": side},
            "pad_size": {"height": side, "width": side},
            "image_seq_length": backbone.adapter.image_tokens,
        },
        **(statistics or {}),
    }
    (folder / "processor_config.json").write_text(json.dumps(processor))
    return folder


def own_actions(folder, images, instructions, states, noise, statistics=STATISTICS):
    """The un-normalised actions of transformers' own processor and model. `images`: of the model's size."""
    model = PI0ForConditionalGeneration.from_pretrained(folder).eval()
    settings = json.loads((folder / "processor_config.json").read_text())["image_processor"]
    processor = without_other_parts(PI0Processor)(
        image_processor=AsStated(settings["image_seq_length"]),
        tokenizer=AutoTokenizer.from_pretrained(folder),
        max_state_dim=model.config.max_state_dim,
        **statistics,
    )
    inputs = processor(images=[[image] for image in images], text=list(instructions), state=states)
    found = model.sample_actions(**inputs, noise=torch.as_tensor(noise, dtype=torch.float32)).numpy()
    mean, std = (np.array(statistics[f"actions_{name}"]) for name in ("mean", "std"))
    return found[..., : len(mean)] * (std + 1e-8) + mean


class AsStated:
    """An image processor that does what pi0's does with images of the model's own size."""

    model_input_names = ("pixel_values",)

    def __init__(self, image_seq_length):
        self.image_seq_length = image_seq_length

    def __call__(self, images, return_tensors):
        pixels = torch.from_numpy(np.stack(images)).permute(0, 3, 1, 2).float()
        return {"pixel_values": (pixels / 255 - 0.5) / 0.5}
