"""The query's state as transformers alone computes it."""

import torch
from transformers import AutoModelForImageTextToText


def own_forward(backbone, folder, ids, image, query):
    """The query's last hidden state by transformers alone, for one sample without padding.

    The whole model class runs from saved files, with position ids, placeholders and attention of its own;
    the query is the embedding of a word that no prompt uses.
    """
    gemma = backbone.adapter.family.startswith("paligemma")
    attention = {"text_config": "eager", "vision_config": "sdpa"} if gemma else "sdpa"
    model = AutoModelForImageTextToText.from_pretrained(folder, attn_implementation=attention)
    reserved = backbone.tokenizer.unk_token_id
    assert reserved not in ids
    table = model.get_input_embeddings()
    with torch.no_grad():
        table.weight[reserved] = query / float(getattr(table, "embed_scale", 1.0))
    inputs = dict(backbone.image_processor(images=[image], return_tensors="pt"))
    inputs.pop("num_patches", None)
    tokens = torch.tensor([[*ids, reserved]])
    start, length = backbone.adapter.image_start, backbone.adapter.image_tokens
    is_image = torch.zeros_like(tokens)
    is_image[:, start : start + length] = 1
    kind = model.config.model_type
    if kind.startswith("qwen"):
        inputs["mm_token_type_ids"] = is_image
    elif kind == "paligemma":
        inputs["token_type_ids"] = 1 - is_image
    elif kind == "kosmos-2":
        inputs["image_embeds_position_mask"] = is_image
    mask = torch.ones_like(tokens)
    with torch.no_grad():
        output = model(input_ids=tokens, attention_mask=mask, output_hidden_states=True, **inputs)
    return output.hidden_states[-1][0, -1]
