"""EfficientNet-Lite0 written from its published architecture, and small parts of an assembled backbone.

The table of blocks is that of `efficientnet_lite_builder.py` in https://github.com/tensorflow/tpu. Names of
tensors are those of the package efficientnet-lite-pytorch.
"""

from __future__ import annotations

import torch
from tokenizers import Tokenizer, decoders, models, pre_tokenizers, trainers
from torch import Tensor
from torch.nn import functional
from transformers import LlamaConfig, LlamaForCausalLM, PreTrainedTokenizerFast

from vlm4vla.backbones.assembly.assembled import assembled
from vlm4vla.backbones.assembly.language import IMAGE_TOKEN, TEMPLATE, first_layers
from vlm4vla.backbones.assembly.vision import lite_config, vision_encoder
from vlm4vla.backbones.loaded import LoadedBackbone

# repeats, kernel, stride, expansion, channels before, channels after
BLOCKS = (
    (1, 3, 1, 1, 32, 16),
    (2, 3, 2, 6, 16, 24),
    (2, 5, 2, 6, 24, 40),
    (3, 3, 2, 6, 40, 80),
    (3, 5, 1, 6, 80, 112),
    (4, 5, 2, 6, 112, 192),
    (1, 3, 1, 6, 192, 320),
)
EPSILON = 1e-3
WIDTH = 0.1
SPECIAL = ["<|endoftext|>", "<|im_start|>", "<|im_end|>"]
WORDS = (
    "open the drawer move red block to left of large green bowl what action should robotic arm take cupboard"
)


def channels(count: int, width: float) -> int:
    """The published rule for scaled widths: multiples of 8 that are not more than a tenth smaller."""
    scaled = count * width
    rounded = max(8, int(scaled + 4) // 8 * 8)
    return rounded + 8 if rounded < 0.9 * scaled else rounded


def blocks(width: float) -> list[tuple[int, int, int, int, int, bool]]:
    """Kernel, stride, expansion, channels before and after, and whether the input is added: for 16 blocks."""
    found = []
    for repeats, kernel, stride, expansion, before, after in BLOCKS:
        before, after = channels(before, width), channels(after, width)
        found.append((kernel, stride, expansion, before, after, False))
        found += [(kernel, 1, expansion, after, after, True)] * (repeats - 1)
    return found


def lite_tensors(width: float = WIDTH, seed: int = 0) -> dict[str, Tensor]:
    """Random tensors of the network. Means, variances, scales and shifts all differ from 0 and 1."""
    generator = torch.Generator().manual_seed(seed)
    found: dict[str, Tensor] = {}

    def convolution(name: str, outputs: int, inputs: int, kernel: int) -> None:
        weights = torch.randn(outputs, inputs, kernel, kernel, generator=generator)
        found[f"{name}.weight"] = weights * (2 / (inputs * kernel**2)) ** 0.5

    def normalisation(name: str, size: int) -> None:
        draw = lambda: torch.rand(size, generator=generator)  # noqa: E731
        found[f"{name}.weight"], found[f"{name}.bias"] = 0.5 + draw(), draw() - 0.3
        found[f"{name}.running_mean"], found[f"{name}.running_var"] = draw() - 0.5, 0.5 + draw()
        found[f"{name}.num_batches_tracked"] = torch.tensor(7)

    convolution("_conv_stem", channels(32, width), 3, 3)
    normalisation("_bn0", channels(32, width))
    for number, (kernel, _, expansion, before, after, _) in enumerate(blocks(width)):
        inner = before * expansion
        if expansion != 1:
            convolution(f"_blocks.{number}._expand_conv", inner, before, 1)
            normalisation(f"_blocks.{number}._bn0", inner)
        convolution(f"_blocks.{number}._depthwise_conv", inner, 1, kernel)
        normalisation(f"_blocks.{number}._bn1", inner)
        convolution(f"_blocks.{number}._project_conv", after, inner, 1)
        normalisation(f"_blocks.{number}._bn2", after)
    convolution("_conv_head", channels(1280, width), channels(320, width), 1)
    normalisation("_bn1", channels(1280, width))
    found["_fc.weight"] = torch.zeros(10, channels(1280, width))
    found["_fc.bias"] = torch.zeros(10)
    return found


def lite_features(tensors: dict[str, Tensor], images: Tensor, width: float = 1.0) -> Tensor:
    """The map of features (B, C, H / 32, W / 32) of normalised images (B, 3, H, W), in their type."""
    weights = {name: tensor.to(images.dtype) for name, tensor in tensors.items()}

    def convolved(x: Tensor, name: str, stride: int = 1, groups: int = 1) -> Tensor:
        kernel = weights[f"{name}.weight"]
        size = kernel.shape[-1]
        pads = []
        for side in (x.shape[3], x.shape[2]):  # TensorFlow's padding SAME
            total = max((-(-side // stride) - 1) * stride + size - side, 0)
            pads += [total // 2, total - total // 2]
        return functional.conv2d(functional.pad(x, pads), kernel, stride=stride, groups=groups)

    def normalised(x: Tensor, name: str) -> Tensor:
        scale, shift, mean, variance = (
            weights[f"{name}.{part}"][:, None, None]
            for part in ("weight", "bias", "running_mean", "running_var")
        )
        return (x - mean) / (variance + EPSILON).sqrt() * scale + shift

    def active(x: Tensor) -> Tensor:
        return x.clamp(0, 6)

    x = active(normalised(convolved(images, "_conv_stem", 2), "_bn0"))
    for number, (_, stride, expansion, before, _, is_added) in enumerate(blocks(width)):
        start, name = x, f"_blocks.{number}"
        if expansion != 1:
            x = active(normalised(convolved(x, f"{name}._expand_conv"), f"{name}._bn0"))
        deep = convolved(x, f"{name}._depthwise_conv", stride, groups=before * expansion)
        x = active(normalised(deep, f"{name}._bn1"))
        x = normalised(convolved(x, f"{name}._project_conv"), f"{name}._bn2")
        x = x + start if is_added else x
    return active(normalised(convolved(x, "_conv_head"), "_bn1"))


def small_tokenizer() -> PreTrainedTokenizerFast:
    """Byte-level BPE with the special tokens of SmolLM2."""
    raw = Tokenizer(models.BPE())
    raw.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    raw.decoder = decoders.ByteLevel()
    alphabet = pre_tokenizers.ByteLevel.alphabet()
    raw.train_from_iterator(
        [WORDS], trainers.BpeTrainer(vocab_size=300, special_tokens=SPECIAL, initial_alphabet=alphabet)
    )
    names = {
        "unk_token": SPECIAL[0],
        "bos_token": SPECIAL[1],
        "eos_token": SPECIAL[2],
        "pad_token": SPECIAL[2],
    }
    tokenizer = PreTrainedTokenizerFast(tokenizer_object=raw, padding_side="left", **names)
    tokenizer.add_special_tokens({"additional_special_tokens": [IMAGE_TOKEN]})
    tokenizer.chat_template = TEMPLATE
    return tokenizer


def small_language(words: int, layers: int = 5, seed: int = 0) -> LlamaForCausalLM:
    """A Llama of random weights with a tied word embedding."""
    config = LlamaConfig(
        vocab_size=words,
        hidden_size=48,
        intermediate_size=64,
        num_hidden_layers=layers,
        num_attention_heads=3,
        num_key_value_heads=1,
        head_dim=16,
        bos_token_id=1,
        eos_token_id=2,
        pad_token_id=2,
        tie_word_embeddings=True,
        initializer_range=0.1,
    )
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        model = LlamaForCausalLM(config).eval()
        for norm in (model.model.norm, *(layer.input_layernorm for layer in model.model.layers)):
            torch.nn.init.uniform_(norm.weight, 0.5, 1.5)
        return model


def small_backbone(image_size: int = 64, layers: int = 2, seed: int = 0) -> LoadedBackbone:
    """A backbone of the structure that `vlm4vla assemble-backbone` writes, in which everything is small."""
    tokenizer = small_tokenizer()
    language = first_layers(small_language(len(tokenizer) - 1, seed=seed), layers, len(tokenizer))
    vision = vision_encoder(lite_tensors(seed=seed), lite_config(image_size, WIDTH))
    return assembled(vision, language, tokenizer, seed)
