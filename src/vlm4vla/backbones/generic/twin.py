"""A tiny twin of any model type: its real classes, small, with a word-level tokenizer and no trained weights.

The tokenizer gets the special tokens that the source of the type's processor names. The numbers of a
processor that have to fit the model (patches, tokens of an image) come from the small configuration, or are
found by running the vision encoder once.
"""

from __future__ import annotations

import importlib
import inspect
import json
import re
from collections.abc import Sequence
from math import isqrt
from typing import Any

import torch
from tokenizers import Regex, Tokenizer, normalizers, pre_tokenizers
from transformers import (
    AutoModelForImageTextToText,
    PreTrainedConfig,
    PreTrainedModel,
    PreTrainedTokenizerBase,
)
from transformers.models.auto.configuration_auto import CONFIG_MAPPING
from transformers.models.auto.image_processing_auto import IMAGE_PROCESSOR_MAPPING
from transformers.models.auto.processing_auto import PROCESSOR_MAPPING, processor_class_from_name
from transformers.processing_utils import ProcessorMixin

from vlm4vla.backbones.adapter import INSTRUCTION, TINY_MEAN, TINY_STD
from vlm4vla.backbones.generic import layout as layouts
from vlm4vla.backbones.generic.forward import image_features
from vlm4vla.backbones.generic.processor import (
    IMAGES,
    TOKENIZER,
    Absent,
    check_reads_images,
    further_packages,
    without_other_parts,
)
from vlm4vla.backbones.generic.refused import check_model, check_processor
from vlm4vla.backbones.generic.shrinking import Shrinking
from vlm4vla.backbones.generic.small_values import CODE_TOKENS, PROCESSOR, TOKENS
from vlm4vla.backbones.generic.small_values import IMAGES as IMAGE_SETTINGS
from vlm4vla.backbones.tiny_sizes import PATCH
from vlm4vla.backbones.tiny_tokenizer import BOS, EOS, PAD, UNKNOWN, tiny_tokenizer
from vlm4vla.config.backbones import TinySize
from vlm4vla.core.errors import UserError

ORDINARY = {"pad_token": PAD, "eos_token": EOS, "bos_token": BOS, "unk_token": UNKNOWN}
LEAST_SOFT_TOKENS = 70  # the least that Gemma 4's image processor accepts
TOKEN_KEY = re.compile(r"(.*?)_?(?:token_)?(?:id|index)")
LENGTH = "image_seq_length"
WAKING = 0.05  # standard deviation of weights that transformers starts at zero
AREA = 2000  # a `shortest_edge` above it is a number of pixels, not a side
# Processors of types that transformers' table of processors lacks; the folders of such models name the class.
UNLISTED = {
    "kosmos-2": "Kosmos2Processor",
    "kosmos-2.5": "Kosmos2_5Processor",
    "glm_ocr": "Glm46VProcessor",
    "glmga": "Glm46VProcessor",
    "cosmos3_omni": "Qwen3VLProcessor",
    "fast_vlm": "LlavaProcessor",
    "qwen2_5_omni_thinker": "Qwen2_5OmniProcessor",
    "qwen3_omni_moe_thinker": "Qwen3OmniMoeProcessor",
}
LOW_LINE = "\u2581"  # with which sentencepiece writes a space
SPARE = tuple(f"<spare{index}>" for index in range(24))
CHAT = (
    "{% for message in messages %}<{{ message['role'] }}>{% for part in message['content'] %}"
    "{% if part['type'] == 'image' %}IMAGE{% else %}{{ part['text'] }}{% endif %}{% endfor %}"
    "{% if message['role'] == 'assistant' %}</s>{% endif %}{% endfor %}"
    "{% if add_generation_prompt %}<assistant>{% endif %}"
)
PLAIN = {"chameleon"}
TEMPLATE_TOKENS = ("<user>", "<assistant>")
# Attributes of the tokenizer: the tokens that a checkpoint's template writes around an image, where the
# processor or the model asks for them.
AROUND = {
    "hunyuan_vl": ("image_start_token", "image_end_token"),
    "qwen2_5_omni_thinker": ("vision_bos_token", "vision_eos_token"),
    "qwen3_omni_moe_thinker": ("vision_bos_token", "vision_eos_token"),
}


def processor_class(config: PreTrainedConfig) -> type[ProcessorMixin]:
    """The class of the processor of a model type. Raises UserError if transformers has none."""
    name = UNLISTED.get(config.model_type)
    if name is None and type(config) not in PROCESSOR_MAPPING:
        check_reads_images(config, config.model_type)
        raise UserError(f"{config.model_type}: transformers has no processor for it")
    found = processor_class_from_name(name) if name else PROCESSOR_MAPPING[type(config)]
    check_processor(found, config.model_type)
    # Without torchvision, transformers puts a placeholder in the place of some classes.
    return getattr(importlib.import_module(found.__module__), found.__name__)


def image_processor_class(config: PreTrainedConfig) -> type:
    """The class of the image processor, of Pillow if there is one. Raises UserError if transformers has none,
    or has it for torchvision, which is not installed."""
    kind = processor_class(config).__name__
    # A type without an entry of its own uses the image processor of a type with the same processor.
    same = [key for key in PROCESSOR_MAPPING if PROCESSOR_MAPPING[key].__name__ == kind]
    found = next(
        (IMAGE_PROCESSOR_MAPPING[key] for key in (type(config), *same) if key in IMAGE_PROCESSOR_MAPPING),
        None,
    )
    if found is None:
        raise UserError(f"{config.model_type}: transformers has no image processor for it")
    if isinstance(found, dict):
        found = found.get("pil") or found["torchvision"]
    return found


def special_tokens(processor: type[ProcessorMixin]) -> tuple[dict[str, str], list[str]]:
    """Special tokens that the processor's source names: attributes of its tokenizer with texts, and texts."""
    source = inspect.getsource(inspect.getmodule(processor) or processor)
    names = set(re.findall(r"tokenizer\.(\w+_token)(?:_id)?\b", source))
    names |= set(re.findall(r"tokenizer, \"(\w+_token)\"", source))
    texts = set(re.findall(r"(?<=[\"'}])(<[^\"'<>\s{}]+>)(?=[\"'{])", source))
    texts |= set(re.findall(r"<[A-Z_]+>", source))
    # Some have other brackets: `image_token="[IMG]"`, `IMAGE_TOKEN = "]<]image[>["`.
    texts |= set(re.findall(r"(?i)\b\w+_token(?:: str)? ?= ?[\"']([^\"'\s{}\w][^\"'{}]+)[\"']", source))
    names = {name for name in names if not name.startswith("add_")} - set(ORDINARY)
    fixed = dict(re.findall(r"self\.(\w+_token) = [\"'](<[^\"'\s]+>)[\"']\n", source))
    if "self.image_token.content" in source:  # its class adds the token to a tokenizer without one
        names.discard("image_token")
    named = {name: fixed.get(name, f"<{name.removesuffix('_token')}>") for name in sorted(names)}
    return named, sorted(texts)


def tokenizer_for(
    processor: type[ProcessorMixin], words: Sequence[str], more: Sequence[str] = ()
) -> PreTrainedTokenizerBase:
    """A word-level tokenizer with the special tokens of `processor`, and `more` tokens."""
    named, texts = special_tokens(processor)
    words = [*words, *layouts.SHORT.split(), *layouts.LONG.split(), layouts.ANSWER]
    source = inspect.getsource(inspect.getmodule(processor) or processor)
    barred = sorted(set(re.findall(r"vocab\[\"(\|[A-Z]+\|)\"\]", source)))
    texts = [text for text in texts if text not in barred]
    phrases = [INSTRUCTION, *named.values(), *texts, *more, *TEMPLATE_TOKENS, *SPARE]
    if not barred:
        return tiny_tokenizer(words, phrases, named)
    tokenizer = tiny_tokenizer([*words, *map(str.lower, barred), LOW_LINE], phrases, named)
    return with_capitals(tokenizer, barred)


def with_capitals(tokenizer: PreTrainedTokenizerBase, barred: Sequence[str]) -> PreTrainedTokenizerBase:
    """A tokenizer with the words `barred`, which stand without spaces between them, in capitals.

    As sentencepiece does, it writes the token of a low line before a text that begins with such a word.
    Fuyu's processor expects that, and drops the token.
    """
    state = json.loads(tokenizer.backend_tokenizer.to_str())
    vocabulary = state["model"]["vocab"]
    for word in barred:
        vocabulary[word] = vocabulary.pop(word.lower())
    backend = Tokenizer.from_str(json.dumps(state))
    words = "|".join(map(re.escape, barred))
    capitals = [normalizers.Replace(word.lower(), word) for word in barred]
    before = [normalizers.Replace(Regex(rf"^{re.escape(word)}"), f"{LOW_LINE} {word}") for word in barred]
    backend.normalizer = normalizers.Sequence([normalizers.Lowercase(), *capitals, *before])
    backend.pre_tokenizer = pre_tokenizers.Sequence(
        [pre_tokenizers.Split(Regex(words), "isolated"), pre_tokenizers.WhitespaceSplit()]
    )
    tokenizer._tokenizer = backend
    return tokenizer


def fill_ids(config: PreTrainedConfig, tokenizer: PreTrainedTokenizerBase, processor: ProcessorMixin) -> None:
    """Give each `..._token_id` of a configuration the id of that token, or else of one that no text has."""
    spare = iter(SPARE)
    parts = [
        config,
        *(getattr(config, name) for name in config.sub_configs if getattr(config, name, None) is not None),
    ]
    for part in parts:
        for key, value in part.to_dict().items():
            match = TOKEN_KEY.fullmatch(key)
            if match is None or "token" not in key or not (value is None or isinstance(value, int)):
                continue
            name = f"{match.group(1)}_token"
            if not hasattr(tokenizer, name):  # some tokenizers have other words for the same token
                name = name.replace("vision_start", "vision_bos").replace("vision_end", "vision_eos")
            if name == "image_token" and hasattr(processor, layouts.PATCH_TOKEN):
                name = layouts.PATCH_TOKEN  # the token whose places the states of an image take
            known = [getattr(owner, f"{name}_id", None) for owner in (tokenizer, processor)]
            if name in ORDINARY:
                found = getattr(tokenizer, f"{name}_id")
            elif any(isinstance(each, int) for each in known):
                found = next(each for each in known if isinstance(each, int))
            else:
                text = getattr(tokenizer, name, None) or getattr(processor, name, None)
                if not isinstance(text, str):
                    text = next(spare)
                found = tokenizer.convert_tokens_to_ids(text)
            setattr(part, key, found)
    for key, text in TOKENS.get(config.model_type, {}).items():
        setattr(config, key, tokenizer.convert_tokens_to_ids(text))
    if config.model_type in CODE_TOKENS:
        names = (processor.image_token, *CODE_TOKENS[config.model_type])
        config.vocabulary_map = {name: tokenizer.convert_tokens_to_ids(name) for name in names}


def small_image_processor(kind: type, config: PreTrainedConfig, image_size: int) -> Any:
    """An image processor that leaves images of `image_size` pixels whole and unresized."""
    processor = kind()
    vision = getattr(config, "vision_config", None)
    if isinstance(getattr(vision, "image_size", None), int):
        image_size = max(image_size, vision.image_size)
    if hasattr(processor, "image_size"):
        processor.image_size = image_size
    # Some count an image as the frames of a short video.
    resize = getattr(inspect.getmodule(kind), "smart_resize", None)
    of_video = resize is not None and "num_frames" in inspect.signature(resize).parameters
    area = image_size**2 * (processor.temporal_patch_size if of_video else 1)
    for name in ("size", "crop_size", "high_res_size"):
        size = getattr(processor, name, None)
        if size is None:
            continue
        sides = {
            key: area if key.endswith("edge") and value and value > AREA else image_size
            for key, value in dict(size).items()
            if value is not None
        }
        setattr(processor, name, type(size)(**sides) if not isinstance(size, dict) else sides)
    if hasattr(processor, "max_soft_tokens"):
        processor.max_soft_tokens = LEAST_SOFT_TOKENS
        processor.pooling_kernel_size = vision.pooling_kernel_size
    if getattr(processor, "max_image_size", None) is not None:  # of a tile
        processor.max_image_size = (
            image_size
            if isinstance(processor.max_image_size, int)
            else type(processor.max_image_size)(longest_edge=image_size)
        )
    for name, value in (("image_mean", TINY_MEAN), ("image_std", TINY_STD)):
        if getattr(processor, name, None) is not None and getattr(processor, "do_normalize", True):
            setattr(processor, name, value)
    sizes = {"min_pixels": image_size**2, "max_pixels": image_size**2, "scale_resolution": image_size}
    for name, value in sizes.items():
        if getattr(processor, name, None) is not None:
            setattr(processor, name, value)
    for name in ("patch_size", "temporal_patch_size", "merge_size"):
        own = getattr(processor, name, None)
        if own is None:
            continue
        value = getattr(vision, "spatial_merge_size" if name == "merge_size" else name, None)
        if value is None and name in ("patch_size", "temporal_patch_size"):
            # A model of images alone does not repeat them.
            value = PATCH if name == "patch_size" else getattr(vision, "patch_temporal", 1)
        if isinstance(value, (list, tuple)):
            value = value[0]
        if value is not None:
            setattr(
                processor,
                name,
                value if isinstance(own, int) else type(own)(**{key: value for key in dict(own)}),
            )
    if hasattr(processor, "image_seq_length") or kind.__name__.startswith("Siglip"):
        processor.image_seq_length = (image_size // PATCH) ** 2
    if getattr(processor, "image_grid_pinpoints", None) is not None:
        processor.image_grid_pinpoints = [[image_size, image_size]]
    for name in ("do_image_splitting", "crop_to_patches", "do_pan_and_scan", "do_convert_rgb"):
        if hasattr(processor, name):
            setattr(processor, name, False)
    for name, value in IMAGE_SETTINGS.get(config.model_type, {}).items():
        value = value(config) if callable(value) else value
        setattr(processor, name, type(processor.size)(**value) if name == "size" else value)
    return processor


def small_processor(
    kind: type[ProcessorMixin],
    config: PreTrainedConfig,
    tokenizer: PreTrainedTokenizerBase,
    image_size: int,
    **fixed: int,
) -> ProcessorMixin:
    """A processor of class `kind` with `tokenizer`, for images of `image_size` pixels, with `fixed`
    settings."""
    images = small_image_processor(image_processor_class(config), config, image_size)
    kind = without_other_parts(kind)
    parts = {name: Absent() for name in kind.get_attributes()} | {TOKENIZER: tokenizer, IMAGES: images}
    options = {
        name: _setting(name, config, parameter.default)
        for name, parameter in inspect.signature(kind.__init__).parameters.items()
        if name not in (*parts, "self", "args", "kwargs", "chat_template")
    }
    options = {name: value for name, value in options.items() if value is not inspect.Parameter.empty}
    options |= {"img_size": image_size} if "img_size" in options else {}
    if "num_image_tokens" in options and options["num_image_tokens"] is None:
        options["num_image_tokens"] = (image_size // PATCH) ** 2
    if "num_image_tokens" in options and hasattr(config, "latent_query_num"):
        options["num_image_tokens"] = config.latent_query_num
    if LENGTH in fixed and LENGTH not in options:  # Florence-2 reads the image processor's
        images.image_seq_length = fixed.pop(LENGTH)
    options |= PROCESSOR.get(config.model_type, {}) | fixed
    processor = kind(**parts, **options)
    if config.is_encoder_decoder or config.model_type in PLAIN:  # released ones have no template
        return processor
    start, end = [getattr(tokenizer, name) for name in AROUND.get(config.model_type, ())] or ("", "")
    placeholder = layouts.plain_placeholder(processor)
    processor.chat_template = CHAT.replace("IMAGE", start + placeholder + end if placeholder else "")
    return processor


def _setting(name: str, config: PreTrainedConfig, default: Any) -> Any:
    """The value of a processor's parameter by the configuration."""
    for part in (getattr(config, "vision_config", None), config, config.get_text_config()):
        value = getattr(part, name, None)
        if value is not None:
            return value[0] if isinstance(value, (list, tuple)) and name == "patch_size" else value
    return default


def build_twin(model_type: str, size: TinySize, words: Sequence[str], image_size: int, seed: int) -> tuple[
    PreTrainedModel, ProcessorMixin
]:  # fmt: skip
    """The model with random weights, and its processor. Raises UserError if a package is missing for it."""
    with further_packages(model_type, model_type):
        return _build(model_type, size, words, image_size, seed)


def _build(model_type: str, size: TinySize, words: Sequence[str], image_size: int, seed: int) -> tuple[
    PreTrainedModel, ProcessorMixin
]:  # fmt: skip
    check_model(CONFIG_MAPPING[model_type](), model_type)
    kind = processor_class(CONFIG_MAPPING[model_type]())
    tokenizer = tokenizer_for(kind, words, CODE_TOKENS.get(model_type, ()))
    config = Shrinking(size, len(tokenizer), image_size).config(model_type)
    processor = small_processor(kind, config, tokenizer, image_size)
    # Some processors add tokens to their tokenizer.
    config = Shrinking(size, len(tokenizer), image_size).config(model_type)
    fill_ids(config, tokenizer, processor)
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        model = AutoModelForImageTextToText.from_config(config).eval()
    wake(model)
    fixed = fitted(model, processor, image_size)
    if fixed:
        processor = small_processor(kind, config, tokenizer, image_size, **fixed)
    write_image_tokens(model, processor, image_size)
    return model, processor


def write_image_tokens(model: PreTrainedModel, processor: ProcessorMixin, image_size: int) -> None:
    """Let the chat template write the tokens of an image, if the processor does not."""
    marks = layouts.image_ids_of_model(model.config)
    if layouts.plain_placeholder(processor) or not marks:
        return
    prompt = layouts.rendered(processor, [layouts.SHORT])
    ids = layouts.ids_of(layouts.ask(processor, [prompt], layouts.random_images(1, image_size)))
    if not marks & set(ids):
        count = features(model, processor, image_size) or 0
        token = processor.tokenizer.convert_ids_to_tokens(min(marks))
        processor.chat_template = CHAT.replace("IMAGE", token * count)


def needed_packages(model: PreTrainedModel, processor: ProcessorMixin) -> tuple[str, ...]:
    """The packages beside the usual environment that the classes of a model and its processor need."""
    ancestors = type(processor.image_processor).__mro__
    stated = getattr(type(processor), "__backends", ())  # by transformers' decorator `requires`
    of_torchvision = "torchvision" in stated or any(
        each.__name__ == "TorchvisionBackend" for each in ancestors
    )
    of_timm = any(type(each).__name__ == "TimmWrapperModel" for each in model.modules())
    return ("torchvision",) * of_torchvision + ("timm",) * of_timm


@torch.no_grad()
def wake(model: PreTrainedModel) -> None:
    """Give small values to weights that start as zeros and would hide the image: gates and projections."""
    for name, parameter in model.named_parameters():
        if not name.endswith("bias") and not parameter.any():
            parameter.normal_(std=WAKING) if parameter.numel() > 1 else parameter.fill_(0.5)


def fitted(model: PreTrainedModel, processor: ProcessorMixin, image_size: int) -> dict[str, int]:
    """The setting of `processor` that gives an image as many ids as the model makes tokens of it."""
    found = features(model, processor, image_size)
    if found is None:
        return {}
    prompt = layouts.rendered(processor, [layouts.SHORT])
    ids = layouts.ids_of(layouts.ask(processor, [prompt], layouts.random_images(1, image_size)))
    marks = layouts.image_ids_of_model(model.config) or layouts.image_token_ids_of(processor)
    count = sum(token in marks for token in ids)
    if count == found:
        return {}
    settings = inspect.signature(type(processor).__init__).parameters
    for name in settings:
        if re.search(r"tokens|seq_len", name) and getattr(processor, name, None) == count:
            return {name: found}
    if getattr(processor.image_processor, LENGTH, None) == count:
        return {LENGTH: found}
    if "downsample_ratio" in settings:  # a square of image tokens and a separator behind them
        patches = image_size // processor.patch_size
        return {"downsample_ratio": patches / isqrt(found)}
    if "num_additional_image_tokens" in settings:
        return {"num_additional_image_tokens": processor.num_additional_image_tokens + found - count}
    return {}


@torch.no_grad()
def features(model: PreTrainedModel, processor: ProcessorMixin, image_size: int) -> int | None:
    """The number of tokens that the model makes of one image, or None if transformers has no method for
    it."""
    owners = (model.base_model, model)  # either method may pass on arguments without naming them
    ways = [owner.get_image_features for owner in owners if hasattr(owner, "get_image_features")]
    if not ways:
        return None
    prompt = layouts.rendered(processor, [layouts.SHORT])
    asked = layouts.ask(processor, [prompt], layouts.random_images(1, image_size))
    known = {name: each for see in ways for name, each in inspect.signature(see).parameters.items()}
    given = {
        name: value
        for name, value in asked.items()
        if name in known and name not in (layouts.IDS, layouts.MASK)
    }
    needed = {
        name
        for name, each in known.items()
        if each.default is each.empty and each.kind is each.POSITIONAL_OR_KEYWORD
    }
    if needed - set(given):
        return None
    return image_features(ways[0](**given)).shape[:-1].numel()
