"""Tiny models of transformers' model type pi0, with random weights."""

import copy

import torch
from transformers import PI0Config, PI0ForConditionalGeneration

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
