"""EfficientNet-Lite0 as transformers' EfficientNet.

Lite differs from EfficientNet-B0 in its activation, which is ReLU6, and has no squeeze-excitation
(https://github.com/tensorflow/tpu/tree/master/models/official/efficientnet/lite). transformers' class always
has one, which multiplies each channel by a sigmoid. Here that sigmoid is exactly 1, and its gradients are
exactly 0 (`open_squeeze_excitation`). So the results are those of the original network.
"""

from __future__ import annotations

import pickle
import re
from collections.abc import Mapping
from pathlib import Path

import torch
from torch import Tensor
from transformers import EfficientNetConfig, EfficientNetModel

from vlm4vla.backbones.generic.convolutions import open_squeeze_excitation
from vlm4vla.core.errors import UserError, one_line

STRIDE = 32  # pixels a side that become one token
HEAD = 1280  # channels of the last layer at width 1
_MODULES = {  # of the published network, and of transformers'
    r"_conv_stem\.weight": r"embeddings.convolution.weight",
    r"_bn0\.(\w+)": r"embeddings.batchnorm.\1",
    r"_conv_head\.weight": r"encoder.top_conv.weight",
    r"_bn1\.(\w+)": r"encoder.top_bn.\1",
    r"_blocks\.(\d+)\._expand_conv\.weight": r"encoder.blocks.\1.expansion.expand_conv.weight",
    r"_blocks\.(\d+)\._bn0\.(\w+)": r"encoder.blocks.\1.expansion.expand_bn.\2",
    r"_blocks\.(\d+)\._depthwise_conv\.weight": r"encoder.blocks.\1.depthwise_conv.depthwise_conv.weight",
    r"_blocks\.(\d+)\._bn1\.(\w+)": r"encoder.blocks.\1.depthwise_conv.depthwise_norm.\2",
    r"_blocks\.(\d+)\._project_conv\.weight": r"encoder.blocks.\1.projection.project_conv.weight",
    r"_blocks\.(\d+)\._bn2\.(\w+)": r"encoder.blocks.\1.projection.project_bn.\2",
}
_CLASSIFIER = "_fc."


def lite_config(image_size: int, width: float = 1.0) -> EfficientNetConfig:
    """The configuration of Lite0 for images of `image_size` pixels a side.

    `width`: multiplies all channels, for small networks in tests.
    """
    head = max(8, round(HEAD * width / 8) * 8)
    return EfficientNetConfig(
        image_size=image_size,
        width_coefficient=width,
        depth_coefficient=1.0,
        hidden_act="relu6",
        hidden_dim=head,
        hidden_size=head,  # which the projector of a vision-language model reads
        squeeze_expansion_ratio=0.0,  # none
        batch_norm_momentum=0.01,  # torch's: the original's 0.99 is its complement
        dropout_rate=0.0,
        drop_connect_rate=0.0,
    )


def transformers_names(tensors: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """The tensors of the published network by the names of transformers, without the classifier.

    Raises UserError for a name that the network does not have.
    """
    found = {}
    for name, tensor in tensors.items():
        if name.startswith(_CLASSIFIER):
            continue
        new = [re.sub(old, new, name) for old, new in _MODULES.items() if re.fullmatch(old, name)]
        if not new:
            raise UserError(
                f"the vision encoder has a tensor {name!r}, which EfficientNet-Lite0 does not have"
            )
        found[new[0]] = tensor
    return found


def vision_encoder(tensors: Mapping[str, Tensor], config: EfficientNetConfig) -> EfficientNetModel:
    """transformers' EfficientNet with the tensors of the published network, in evaluation mode.

    Raises UserError if a tensor is missing, is left over, or has another shape.
    """
    model = EfficientNetModel(config).eval()
    given = transformers_names(tensors)
    own = model.state_dict()
    for name, tensor in given.items():
        if name not in own or own[name].shape != tensor.shape:
            raise UserError(
                f"the vision encoder has a tensor for {name}, {tuple(tensor.shape)}, which does not fit"
            )
    missing = sorted(name for name in own.keys() - given.keys() if ".squeeze_excite." not in name)
    if missing:
        raise UserError(f"the vision encoder has no tensor for {missing[0]} and {len(missing) - 1} others")
    model.load_state_dict(given, strict=False)
    open_squeeze_excitation(model)
    return model


def read_weights(file: Path) -> dict[str, Tensor]:
    """The tensors of a `.pth` file. Nothing but tensors is unpickled.

    Raises UserError for a file that torch does not read with `weights_only`, and for one without tensors.
    """
    try:
        found = torch.load(file, map_location="cpu", weights_only=True)
    except (pickle.UnpicklingError, RuntimeError, EOFError, ValueError) as error:
        raise UserError(f"{file}: not a file of tensors ({one_line(str(error))[:100]})") from None
    if not isinstance(found, dict) or not all(isinstance(each, Tensor) for each in found.values()):
        raise UserError(f"{file}: not a file of tensors by name")
    return found
