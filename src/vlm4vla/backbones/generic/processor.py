"""The processor of a checkpoint: tokenizer, image processor and chat template, without its other parts.

The processors of many models also read videos or sounds, with packages that a study does not need
(torchvision, librosa). Here these parts are left out: `Absent` stands in their place. Images are read with
Pillow, except for the types whose image processor transformers has for torchvision only.
"""

from __future__ import annotations

import functools
import importlib.util
import inspect
import json
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import torch
from torch import Tensor
from transformers import (
    AutoConfig,
    AutoImageProcessor,
    AutoTokenizer,
    PreTrainedConfig,
    PreTrainedTokenizerBase,
    PreTrainedTokenizerFast,
)
from transformers.models.auto.modeling_auto import MODEL_FOR_IMAGE_TEXT_TO_TEXT_MAPPING
from transformers.models.auto.processing_auto import PROCESSOR_MAPPING, processor_class_from_name
from transformers.processing_utils import ProcessorMixin

from vlm4vla.backbones.generic.refused import check_processor
from vlm4vla.core.errors import UserError

OWN_CODE = {"trust_remote_code": False}
PLAIN = ("TokenizersBackend", "PreTrainedTokenizerFast")  # names of the class in versions of transformers
TOKENIZER, IMAGES = "tokenizer", "image_processor"
FUYU_IMAGES = "image_processing_pil_fuyu"  # a module of transformers
FURTHER = ("torchvision", "timm")  # packages that few types need, and that the usual environment lacks


@contextmanager
def further_packages(source: str, model_type: str) -> Iterator[None]:
    """Within the context, a missing package of `FURTHER` is a UserError that begins with `source`."""
    try:
        yield
    except (ImportError, ValueError) as error:  # a ValueError where AutoImageProcessor finds no class
        missing = next((name for name in FURTHER if name in str(error).lower() and not is_there(name)), None)
        if missing is None:
            raise
        raise UserError(
            f"{source}: the model type {model_type!r} needs {missing}: run make env-torchvision, and use "
            "its environment"
        ) from None


def is_there(package: str) -> bool:
    """Whether a package can be imported."""
    return importlib.util.find_spec(package) is not None


class Absent:
    """The place of a processor of videos or sounds. Its settings are None."""

    model_input_names: tuple[str, ...] = ()
    _auto_class = None
    font = ""  # Ernie's processor asks whether this is the name of a file

    def __getattr__(self, name: str) -> None:
        if name.startswith("__"):
            raise AttributeError(name)

    def __call__(self, *args: Any, **options: Any) -> Any:
        raise TypeError("this processor reads images and text only")


def without_other_parts(processor_class: type[ProcessorMixin]) -> type[ProcessorMixin]:
    """A subclass of `processor_class` that has only a tokenizer and an image processor.

    It accepts image processors of any backend: some classes ask for the one of torchvision.
    """

    class ImagesAndText(processor_class):
        def check_argument_for_proper_class(self, argument_name: str, argument: Any) -> Any:
            return type(argument)

        @classmethod
        def get_attributes(cls) -> list[str]:
            return processor_class.get_attributes()

        @classmethod
        def _get_arguments_from_pretrained(
            cls, folder: Any, processor_dict: Any = None, **options: Any
        ) -> list[Any]:
            return [_part(name, folder) for name in cls.get_attributes()]

        def to_dict(self) -> dict[str, Any]:
            absent = [name for name in self.get_attributes() if isinstance(getattr(self, name), Absent)]
            parts = {name: self.__dict__.pop(name) for name in absent}
            try:
                return super().to_dict() | {"processor_class": processor_class.__name__}
            finally:
                self.__dict__.update(parts)

    # SmolVLM's class asks for a package that it uses for prompts with videos only.
    module = inspect.getmodule(processor_class)
    if getattr(module, "num2words", "") is None:
        module.num2words = Absent()
    _cut_tensors(getattr(module, "FuyuProcessor", None))
    ImagesAndText.__name__ = ImagesAndText.__qualname__ = processor_class.__name__
    return ImagesAndText


def _cut_tensors(processor_class: type[ProcessorMixin] | None) -> None:
    """Let Fuyu's image processor of Pillow cut tensors into patches.

    In transformers 5.23, the processor gives it tensors, and the method accepts arrays only.
    """
    if processor_class is None:
        return
    kind = importlib.import_module(f"{processor_class.__module__.rpartition('.')[0]}.{FUYU_IMAGES}")
    kind = kind.FuyuImageProcessorPil
    cut = kind.patchify_image
    if hasattr(cut, "__wrapped__"):  # done before
        return

    @functools.wraps(cut)
    def patchify_image(self: Any, image: Any, patch_size: Any = None) -> Any:
        if not isinstance(image, Tensor):
            return cut(self, image, patch_size)
        return torch.from_numpy(cut(self, image.numpy(), patch_size))

    kind.patchify_image = patchify_image


def _part(name: str, folder: Path) -> Any:
    if name == TOKENIZER:
        return load_tokenizer(folder)
    if name == IMAGES:
        # This is the one of torchvision where there is none of Pillow.
        return AutoImageProcessor.from_pretrained(folder, backend="pil", **OWN_CODE)
    return Absent()


def load_tokenizer(folder: Path) -> PreTrainedTokenizerBase:
    """The tokenizer in `folder`, as its files say.

    For some model types (Qwen3.5), AutoTokenizer takes a class of its own whatever the folder says, and
    builds the splitting of texts anew. A folder whose class is the plain one of tokenizer.json is read with
    that class.
    """
    file = Path(folder) / "tokenizer_config.json"
    stated = json.loads(file.read_text(encoding="utf-8")).get("tokenizer_class") if file.is_file() else None
    kind = PreTrainedTokenizerFast if stated in PLAIN else AutoTokenizer
    return kind.from_pretrained(folder, padding_side="left", **OWN_CODE)


def load_processor(folder: Path) -> ProcessorMixin:
    """The processor in `folder`, with its tokenizer and image processor.

    The class is the one that the folder's files name, or else transformers' own for the model. Raises
    UserError if there is none, or if a package is missing that it needs.
    """
    model_type = AutoConfig.from_pretrained(folder, **OWN_CODE).model_type
    with further_packages(str(folder), model_type):
        kind = _processor_class(folder)
        check_processor(kind, str(folder))
        return without_other_parts(kind).from_pretrained(folder, **OWN_CODE)


def check_reads_images(config: PreTrainedConfig, source: str) -> None:
    """Raise UserError, which begins with `source`, if the model of `config` reads no images.

    Transformers has such models in its table of models of images and texts, too.
    """
    model = MODEL_FOR_IMAGE_TEXT_TO_TEXT_MAPPING.get(type(config), None)
    if model is not None and not {"image", "video"} & set(model.input_modalities):
        raise UserError(
            f"{source}: the model type {config.model_type!r} reads no images: write a checkpoint of a model "
            "with a vision encoder"
        )


def _processor_class(folder: Path) -> type[ProcessorMixin]:
    name = ProcessorMixin.get_processor_dict(folder)[0].get("processor_class")
    found = processor_class_from_name(name) if name else None
    if found is None:
        config = AutoConfig.from_pretrained(folder, **OWN_CODE)
        if type(config) not in PROCESSOR_MAPPING:
            check_reads_images(config, str(folder))
            raise UserError(
                f"{folder}: transformers has no processor for the model type {config.model_type!r}: write a "
                "checkpoint of another model, or register a family of your own (docs/your-own-study.md)"
            )
        found = PROCESSOR_MAPPING[type(config)]
    return found
