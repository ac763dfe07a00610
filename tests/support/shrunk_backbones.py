"""Released models with everything but their widths: patches, merging, windows, DeepStack, tokens."""

import copy

from tiny_backbones import WORDS
from transformers import AutoConfig, AutoModelForImageTextToText
from transformers.models.clip.image_processing_pil_clip import CLIPImageProcessorPil
from transformers.models.got_ocr2.image_processing_pil_got_ocr2 import GotOcr2ImageProcessorPil
from transformers.models.qwen2_vl.image_processing_pil_qwen2_vl import Qwen2VLImageProcessorPil
from transformers.models.siglip.image_processing_pil_siglip import SiglipImageProcessorPil

from vlm4vla.backbones.loaded import LoadedBackbone
from vlm4vla.backbones.lookup import adapter_class
from vlm4vla.backbones.tiny_tokenizer import BOS, EOS, tiny_tokenizer
from vlm4vla.workflow.estimate.published_configs import PublishedConfig

HIDDEN, HEADS, KEY_VALUE_HEADS, INNER, LAYERS = 32, 4, 2, 48, 3
SIZE = HIDDEN // HEADS


def family_of(published: PublishedConfig) -> str:
    """The key of backbones.FAMILIES."""
    gemma2 = published.config["text_config"].get("model_type") == "gemma2"
    return "paligemma2" if gemma2 else published.config["model_type"]


def text_config(published: PublishedConfig, tokenizer) -> dict:
    text = copy.deepcopy(published.config["text_config"])
    text |= {"vocab_size": len(tokenizer), "pad_token_id": tokenizer.pad_token_id}
    text |= {"bos_token_id": tokenizer.convert_tokens_to_ids(BOS)}
    if "embed_dim" in text:  # Kosmos-2
        sizes = {"embed_dim": HIDDEN, "ffn_dim": INNER, "layers": LAYERS, "attention_heads": HEADS}
        return text | sizes | {"dropout": 0.0, "attention_dropout": 0.0}
    text |= {
        "hidden_size": HIDDEN,
        "intermediate_size": INNER,
        "num_hidden_layers": LAYERS,
        "num_attention_heads": HEADS,
        "num_key_value_heads": min(KEY_VALUE_HEADS, text["num_key_value_heads"]),
    }
    if "head_dim" in text:
        text["head_dim"] = SIZE
    if "num_experts" in text:
        text |= {"moe_intermediate_size": INNER, "num_experts": 6, "num_experts_per_tok": 3}
    if "query_pre_attn_scalar" in text:
        text["query_pre_attn_scalar"] = SIZE
    if "mrope_section" in text.get("rope_parameters", {}):
        text["rope_parameters"]["mrope_section"] = [SIZE // 2 - 2, 1, 1]
    return text


def vision_config(published: PublishedConfig) -> dict:
    vision = copy.deepcopy(published.config["vision_config"])
    vision |= {"hidden_size": HIDDEN, "intermediate_size": INNER}
    layers, heads = (
        ("depth", "num_heads") if "depth" in vision else ("num_hidden_layers", "num_attention_heads")
    )
    vision |= {layers: LAYERS, heads: HEADS}
    for key, value in (
        ("out_hidden_size", HIDDEN),
        ("fullatt_block_indexes", [1]),
        ("deepstack_visual_indexes", [0, 2]),
    ):
        if key in vision:
            vision[key] = value
    return vision


def image_processor(published: PublishedConfig):
    """The image processor of the released model's own class, with its own sizes."""
    size = dict(published.processor)
    vision = published.config["vision_config"]
    match published.config["model_type"]:
        case "paligemma":
            return SiglipImageProcessorPil(size=size)
        case "kosmos-2":
            return CLIPImageProcessorPil(size={"shortest_edge": size["height"]}, crop_size=size)
        case "internvl":
            return GotOcr2ImageProcessorPil(size=size)
    return Qwen2VLImageProcessorPil(
        size=size,
        patch_size=vision["patch_size"],
        temporal_patch_size=vision["temporal_patch_size"],
        merge_size=vision["spatial_merge_size"],
        image_mean=[0.5] * 3,
        image_std=[0.5] * 3,
    )


def save_shrunk(published: PublishedConfig, folder) -> LoadedBackbone:
    """A random model of the released structure, saved as a Hugging Face folder."""
    family = adapter_class(family_of(published))
    tokenizer = tiny_tokenizer(WORDS, family.phrases)
    config = copy.deepcopy(published.config)
    config |= {"text_config": text_config(published, tokenizer), "vision_config": vision_config(published)}
    ids = {
        "image_token_id": getattr(family, "image_token", None),
        "image_token_index": "<image>",
        "video_token_id": "<|video_pad|>",
        "vision_start_token_id": "<|vision_start|>",
        "vision_end_token_id": "<|vision_end|>",
    }
    config |= {key: tokenizer.convert_tokens_to_ids(token) for key, token in ids.items() if key in config}
    for key, value in (("projection_dim", HIDDEN), ("hidden_size", HIDDEN), ("vocab_size", len(tokenizer))):
        if key in config:
            config[key] = value
    config["text_config"]["eos_token_id"] = tokenizer.convert_tokens_to_ids(EOS)
    model_type = config.pop("model_type")
    model = AutoModelForImageTextToText.from_config(
        AutoConfig.for_model(model_type, **config), attn_implementation=family.attention
    )
    processor = image_processor(published)
    adapter = family(model.config, tokenizer, 224)
    loaded = LoadedBackbone(model, tokenizer, processor, adapter)
    loaded.save(folder)
    return loaded
