"""Checks of a Hugging Face folder's weights and family that load neither the weights nor torch."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any, Literal, NamedTuple

from safetensors import SafetensorError, safe_open

from vlm4vla.backbones.folder_files import AGAIN, MissingFileError, check_no_pointer, read_json
from vlm4vla.core.artefacts import parse_json
from vlm4vla.core.errors import UserError
from vlm4vla.core.inside import LONGEST_NAME, outside

WHOLE, INDEX = "model.safetensors", "model.safetensors.index.json"
PICKLED = ("*.bin", "*.pt", "*.pth", "*.ckpt")
FLOAT_TYPES = {"F64": "float64", "F32": "float32", "BF16": "bfloat16", "F16": "float16"}
BUFFER_TYPES = ("I64", "I32", "BOOL")  # of tensors that are no weights, such as position ids
QUANTISATION = ("quantization_config", "quantization", "compression_config")  # keys of config.json
QUANTISATION_FILES = ("quantize_config.json", "quant_config.json", "hf_quant_config.json")
Dtype = Literal["float32", "bfloat16"]
LAYERS = ("num_hidden_layers", "num_layers", "layers", "depth")  # keys of config.json
SHARD = re.compile(r"(.*)-(\d+)-of-(\d+)\.safetensors")


class TensorFacts(NamedTuple):
    """A tensor's type in safetensors (such as BF16) and its shape."""

    type: str
    shape: tuple[int, ...]


def read_config(folder: Path) -> dict[str, Any]:
    """The config.json of a folder; UserError if it is missing, is not JSON or has no model_type."""
    config = _config(folder)
    if not isinstance(config.get("model_type"), str):
        raise UserError(
            f"{folder}: config.json has no model_type: write the folder of a vision-language model"
        )
    return config


def _config(folder: Path) -> dict[str, Any]:
    file = folder / "config.json"
    if not file.is_file() and not file.is_symlink():
        raise MissingFileError(
            f"{folder}: no config.json: write a Hugging Face folder of a vision-language model"
        )
    return read_json(file, "the model's structure")


def family_of(folder: Path) -> str:
    """The family (a key of `registry.FAMILIES`) of a folder's config.json; for other models, the model type.

    Raises UserError if config.json is missing or has no model_type.
    """
    config = read_config(folder)
    # PaliGemma 2 shares PaliGemma's model type.
    text = config.get("text_config")
    gemma2 = isinstance(text, dict) and text.get("model_type") == "gemma2"
    return "paligemma2" if config["model_type"] == "paligemma" and gemma2 else config["model_type"]


def weight_files(folder: Path) -> list[Path]:
    """The folder's safetensors files; UserError if one is missing, truncated or otherwise unreadable."""
    return list(weight_facts(folder))


def weight_facts(folder: Path) -> dict[Path, dict[str, TensorFacts]]:
    """The tensors of each safetensors file of a folder, by name.

    Only the headers are read, because the header of a safetensors file states the length of the file. Raises
    UserError if a file is missing or damaged, if the index does not match the files, or if the weights are
    quantised.
    """
    _check_not_quantised(folder, _config(folder))
    index = folder / INDEX
    if index.is_file() or index.is_symlink():
        places = _read_index(index)
        files = [folder / name for name in sorted(set(places.values()))]
    else:
        places, files = None, [folder / WHOLE]
    found = {file: _tensors(file) for file in files}
    _check_layers(folder, _config(folder), sum(map(len, found.values())))
    if places is not None:
        _check_index(index, places, found)
    for file, tensors in found.items():
        for name, (kind, _) in tensors.items():
            if kind not in FLOAT_TYPES and (kind not in BUFFER_TYPES or name.endswith("weight")):
                raise UserError(
                    f"{file}: the tensor {name} has the type {kind}, so the checkpoint is quantised: "
                    + _use_floats()
                )
    return found


def stored_types(folder: Path) -> list[str]:
    """The distinct types of the folder's floating-point weights, such as ["bfloat16", "float32"]."""
    facts = weight_facts(folder).values()
    return sorted({FLOAT_TYPES[t.type] for file in facts for t in file.values() if t.type in FLOAT_TYPES})


def stored_dtype(folder: Path) -> Dtype:
    """The type in which a folder's weights can be computed as they are stored: bfloat16 or float32.

    It is bfloat16 if all weights are. float16 is no type for inference here: activations of these models can
    be larger than its largest number. Such weights, and weights of several types, become float32.
    """
    return "bfloat16" if stored_types(folder) == ["bfloat16"] else "float32"


def embedding_rows(folder: Path) -> int | None:
    """The rows of the folder's word embedding; None if its name is unknown or not unique."""
    facts = weight_facts(folder).values()
    tensors = {name: fact for file in facts for name, fact in file.items()}
    shapes = {fact.shape for name, fact in tensors.items() if name.endswith("embed_tokens.weight")}
    shape = shapes.pop() if len(shapes) == 1 else ()
    return shape[0] if shape else None


def _use_floats() -> str:
    return "write a checkpoint whose weights are bfloat16, float16 or float32"


def _check_not_quantised(folder: Path, config: dict[str, Any]) -> None:
    parts = {"": config} | {f"{name}.": part for name, part in config.items() if isinstance(part, dict)}
    for where, part in parts.items():
        for key in QUANTISATION:
            if part.get(key):
                method = part[key].get("quant_method") if isinstance(part[key], dict) else None
                raise UserError(
                    f"{folder / 'config.json'}: {where}{key} ({method or 'no method named'}): a quantised "
                    "checkpoint cannot be trained here: " + _use_floats()
                )
    for name in QUANTISATION_FILES:
        if (folder / name).is_file():
            raise UserError(
                f"{folder / name}: a quantised checkpoint cannot be trained here: " + _use_floats()
            )


def _check_layers(folder: Path, config: dict[str, Any], tensors: int) -> None:
    """Raise UserError if config.json states more layers than the weights have `tensors`.

    transformers would build all of them before it compares, which can take any time.
    """
    parts = {"": config} | {f"{name}.": part for name, part in config.items() if isinstance(part, dict)}
    for where, part in parts.items():
        for key in LAYERS:
            count = part.get(key)
            if isinstance(count, (int, float)) and count > tensors:
                raise UserError(
                    f"{folder / 'config.json'}: {where}{key} is {str(count)[:20]}, but the weights have "
                    f"{tensors} tensors: {AGAIN}"
                )


def _read_index(index: Path) -> dict[str, str]:
    """The file of each tensor."""
    places = read_json(index, "the index of the weights", unique=True).get("weight_map")
    if not isinstance(places, dict) or not places or not all(isinstance(p, str) for p in places.values()):
        raise UserError(f"{index}: no weight_map with the file of each tensor: {AGAIN}")
    for name in sorted(set(places.values())):
        problem = outside(index.parent, name)
        if problem is not None or "/" in name or not name.endswith(".safetensors"):
            raise UserError(
                f"{index}: weight_map names {name[:LONGEST_NAME]!r}, not a safetensors file of the folder: "
                f"{AGAIN}"
            )
    return places


def _tensors(file: Path) -> dict[str, TensorFacts]:
    if not file.is_file():
        raise MissingFileError(f"{file.parent}: {file.name} is missing: " + _instead(file.parent))
    if file.stat().st_size:
        check_no_pointer(file)
    try:
        with safe_open(file, framework="numpy") as tensors:
            tensors.keys()
        with file.open("rb") as opened:
            header = parse_json(opened.read(int.from_bytes(opened.read(8), "little")))
    except (SafetensorError, OSError, ValueError) as error:
        raise UserError(
            f"{file}: not a complete safetensors file ({error}): download or pre-train the backbone again"
        ) from None
    header.pop("__metadata__", None)
    return {name: TensorFacts(each["dtype"], tuple(each["shape"])) for name, each in header.items()}


def _instead(folder: Path) -> str:
    """What to do if the weights are missing."""
    pickled = [file.name for pattern in PICKLED for file in sorted(folder.glob(pattern))]
    if pickled and not any(folder.glob("*.safetensors")):
        return (
            f"the folder has {pickled[0]}, and pickled files are not opened, because they can run code: "
            "write the checkpoint as safetensors (`save_pretrained` of transformers does)"
        )
    if (folder / "adapter_config.json").is_file():
        return "the folder has an adapter only: merge it into its base model and save the whole model"
    return "download or pre-train the backbone again"


def _check_index(index: Path, places: dict[str, str], found: dict[Path, dict[str, TensorFacts]]) -> None:
    """Raise UserError if the index leaves a file out, or a tensor is not in its file or is in two files."""
    whole = index.parent / WHOLE
    if whole.is_file() and WHOLE not in places.values():
        raise UserError(
            f"{index}: does not name {WHOLE}, which is in the folder too: remove the one of the two that is "
            "not of this checkpoint"
        )
    for name in sorted(set(places.values())):
        shard = SHARD.fullmatch(name)
        for number in range(1, int(shard[3]) + 1) if shard else ():
            needed = f"{shard[1]}-{number:0{len(shard[2])}}-of-{shard[3]}.safetensors"
            if needed not in places.values():
                raise UserError(f"{index}: weight_map has no tensor of {needed}: {AGAIN}")
    first: dict[str, str] = {}
    for file, tensors in found.items():
        for name in tensors:
            if name in first:
                raise UserError(f"{file}: the tensor {name} is in {first[name]} too: {AGAIN}")
            first[name] = file.name
    for name, file_name in places.items():
        if first.get(name) != file_name:
            raise UserError(f"{index.parent / file_name}: no tensor {name}, which the index names: {AGAIN}")
