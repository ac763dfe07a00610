"""A vision encoder, a projector and a language model as one model of transformers, with its processor.

The model type is `fast_vlm` (FastVLM): of the types for images and text, it is the one that reads a map of
features (B, C, H, W), as convolutions make it, and that builds its vision encoder from any configuration. Its
projector has two layers. Transformers has the type, so a folder needs no code of ours.
"""

from __future__ import annotations

import torch
from torch import nn
from transformers import (
    EfficientNetModel,
    FastVlmConfig,
    FastVlmForConditionalGeneration,
    LlamaForCausalLM,
    LlavaProcessor,
    PreTrainedTokenizerBase,
)
from transformers.models.efficientnet.image_processing_pil_efficientnet import EfficientNetImageProcessorPil

from vlm4vla.backbones.assembly.language import IMAGE_TOKEN, TEMPLATE
from vlm4vla.backbones.assembly.vision import STRIDE
from vlm4vla.backbones.generic.family import GenericAdapter
from vlm4vla.backbones.generic.processor import without_other_parts
from vlm4vla.backbones.loaded import LoadedBackbone

OF_THE_FILE = ("quantization_config", "_name_or_path", "_model_name_or_path")  # keys of the language's config
MEAN, DEVIATION = 127.0, 128.0  # of a pixel, as EfficientNet-Lite was trained


def assembled(
    vision: EfficientNetModel, language: LlamaForCausalLM, tokenizer: PreTrainedTokenizerBase, seed: int
) -> LoadedBackbone:
    """The backbone of these parts, which are not copied, with a random projector that depends on `seed`."""
    size = vision.config.image_size
    config = FastVlmConfig(
        vision_config=vision.config.to_dict(),
        text_config={
            key: value for key, value in language.config.to_dict().items() if key not in OF_THE_FILE
        },
        image_token_index=tokenizer.convert_tokens_to_ids(IMAGE_TOKEN),
        image_seq_length=(size // STRIDE) ** 2,
        tie_word_embeddings=True,
    )
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        model = FastVlmForConditionalGeneration(config)
        _scale_projector(model, language)
    model.model.vision_tower = vision
    model.model.language_model = language.model
    model.lm_head.weight = language.model.embed_tokens.weight
    processor = without_other_parts(LlavaProcessor)(
        image_processor(size),
        tokenizer,
        patch_size=STRIDE,
        vision_feature_select_strategy="full",
        chat_template=TEMPLATE,
        image_token=IMAGE_TOKEN,
    )
    adapter = GenericAdapter(model.config, processor, size, "the assembled backbone")
    return LoadedBackbone(model.eval(), tokenizer, processor.image_processor, adapter)


def image_processor(size: int) -> EfficientNetImageProcessorPil:
    """The image processor of EfficientNet-Lite for images of `size` pixels a side."""
    return EfficientNetImageProcessorPil(
        size={"height": size, "width": size},
        crop_size={"height": size, "width": size},
        do_center_crop=False,
        rescale_offset=False,
        include_top=False,
        image_mean=[MEAN / 255] * 3,
        image_std=[DEVIATION / 255] * 3,
    )


@torch.no_grad()
def _scale_projector(model: FastVlmForConditionalGeneration, language: LlamaForCausalLM) -> None:
    """Draw a projector whose image tokens are about as large as the embeddings of words.

    Transformers' own weights would make them a hundred times smaller.
    """
    size = language.model.embed_tokens.weight.std()
    projector = model.model.multi_modal_projector
    for layer, gain in ((projector.linear_1, 1.0), (projector.linear_2, 2.0 * size)):
        nn.init.normal_(layer.weight, std=float(gain) / layer.in_features**0.5)
        nn.init.zeros_(layer.bias)
