"""Whether a Hugging Face folder has everything that a backbone needs; loads neither the weights nor torch.

transformers itself builds an empty tokenizer if the tokenizer's files are missing: every instruction is then
the same prompt, and nothing fails.
"""

from __future__ import annotations

import math
from collections.abc import Collection
from pathlib import Path
from typing import Any

from tokenizers import Tokenizer
from tokenizers.models import WordLevel

from vlm4vla.backbones.folder_files import (
    AGAIN,
    COPY,
    LONGEST_REASON,
    MissingFileError,
    check_no_pointer,
    check_no_pointers,
    read_json,
)
from vlm4vla.backbones.weights import INDEX, WHOLE, embedding_rows, family_of, read_config, weight_facts
from vlm4vla.core.errors import UserError, one_line

CONFIG, TOKENIZER, TOKENIZER_CONFIG = "config.json", "tokenizer.json", "tokenizer_config.json"
PROCESSORS = ("preprocessor_config.json", "processor_config.json")  # one of them has the image processor
SPELLED = ("vocab.json", "merges.txt")  # tokenizer files from which transformers builds Qwen's tokenizer
# Files that transformers reads if they are there.
OPTIONAL = ("generation_config.json", "special_tokens_map.json", "added_tokens.json", "chat_template.json")
PROBES = ("open the drawer", "move the red block to the left")  # two instructions with different words
# The tokens that each family's prompt needs; the first one marks the image.
TOKENS = {
    **dict.fromkeys(
        ("qwen2_5_vl", "qwen3_vl", "qwen3_vl_moe"),
        ("<|image_pad|>", "<|vision_start|>", "<|vision_end|>", "<|im_end|>"),
    ),
    "internvl": ("<IMG_CONTEXT>", "<img>", "<|im_end|>"),
    "paligemma": ("<image>",),
    "paligemma2": ("<image>",),
    "kosmos-2": ("<image>", "</image>"),
}
CHAT = ("qwen2_5_vl", "qwen3_vl", "qwen3_vl_moe", "internvl")  # families with a chat template
IMAGE_IDS = ("image_token_id", "image_token_index")  # keys of config.json for the image's token


def check_complete(folder: Path, *, generic: bool = False) -> None:
    """Raise UserError, with the file at fault, if the folder lacks a file or a file is not what it should be.

    Checked are the weights and their index, the tokenizer with its special tokens and size, the image
    processor, and that no file is a Git LFS pointer. `generic`: the prompts come from the folder's processor,
    so that no special token of a built-in family is needed.
    """
    read_config(folder)
    check_no_pointers(folder)
    for name in OPTIONAL:
        if (folder / name).is_file():
            read_json(folder / name, "")
    weight_facts(folder)
    check_tokenizer(folder, generic=generic)
    check_image_processor(folder)


def check_chat_template(folder: Path) -> None:
    """Raise UserError if the folder of a chat family has no chat template, which lmms-eval needs."""
    if family_of(folder) not in CHAT:
        return
    if any((folder / name).is_file() for name in ("chat_template.jinja", "chat_template.json")):
        return
    for name in (TOKENIZER_CONFIG, *PROCESSORS):
        if (folder / name).is_file() and read_json(folder / name, "").get("chat_template"):
            return
    raise UserError(
        f"{folder}: chat_template.jinja is missing, which lmms-eval needs: copy it from the checkpoint that "
        "this one was made from"
    )


def check_names(names: Collection[str], source: str) -> None:
    """Raise UserError if the names of a model's files show that one is missing; `source` names the model."""
    needed = [(CONFIG,), (WHOLE, INDEX), (TOKENIZER, SPELLED[0]), (TOKENIZER_CONFIG,), PROCESSORS]
    for alternatives in needed:
        if not any(name in names for name in alternatives):
            raise MissingFileError(
                f"{source}: has no {' or '.join(alternatives)}: write a model for transformers, with weights "
                "as safetensors"
            )


def check_image_processor(folder: Path) -> None:
    """Raise UserError if no file configures an image processor, or if its numbers cannot be."""
    found = [name for name in PROCESSORS if (folder / name).is_file() or (folder / name).is_symlink()]
    for name in found:
        settings = read_json(folder / name, "the image processor")
        own = settings.get("image_processor")
        for each in (settings, own if isinstance(own, dict) else {}):
            if "image_processor_type" in each or "feature_extractor_type" in each or "size" in each:
                _check_pixel_values(folder / name, each)
                return
    if not found:
        raise MissingFileError(
            f"{folder}: {PROCESSORS[0]} is missing (the image processor): {AGAIN}, or copy the file from the "
            "checkpoint that this one was made from"
        )
    raise UserError(f"{folder / found[0]}: no image_processor_type: {AGAIN}")


def _check_pixel_values(file: Path, settings: dict[str, Any]) -> None:
    """Raise UserError for a normalisation that gives no numbers, and for patches of no pixel."""

    def is_number(value: Any) -> bool:
        return isinstance(value, (int, float)) and not isinstance(value, bool) and math.isfinite(value)

    for key in ("image_mean", "image_std"):
        values = settings.get(key)
        three = isinstance(values, list) and len(values) == 3 and all(map(is_number, values))
        if values is not None and not (three and (key == "image_mean" or min(values) > 0)):
            above = " above 0" if key == "image_std" else ""
            raise UserError(f"{file}: {key} is {_short(values)}, not three numbers{above}: {AGAIN}")
    for key in ("rescale_factor", "patch_size", "merge_size", "temporal_patch_size"):
        value = settings.get(key)
        if isinstance(value, dict):  # some processors write patches as height and width
            continue
        if value is not None and not (is_number(value) and value > 0):
            raise UserError(f"{file}: {key} is {_short(value)}, not a number above 0: {AGAIN}")


def _short(value: Any) -> str:
    """A value as words for a message."""
    text = one_line(repr(value))
    return text if len(text) <= LONGEST_REASON else text[:LONGEST_REASON] + "..."


def check_tokenizer(folder: Path, *, generic: bool = False) -> None:
    """Raise UserError if the tokenizer is missing or empty, or does not fit the model.

    It has to have the family's special tokens, the id of the image's token in config.json, and no id beyond
    the word embedding. Two instructions have to become two prompts.
    """
    read_json(folder / TOKENIZER_CONFIG, "the tokenizer's special tokens")
    file = folder / TOKENIZER
    if not file.is_file():
        if all((folder / name).is_file() for name in SPELLED):
            return  # transformers builds the tokenizer from them; `load` checks the result
        raise MissingFileError(f"{folder}: {TOKENIZER} is missing{_have(folder)}: {AGAIN}, or {COPY}")
    check_no_pointer(file)
    try:
        tokenizer = Tokenizer.from_file(str(file))
    except Exception as error:  # the package raises nothing more special
        reason = str(error).splitlines()[0]
        raise UserError(f"{file}: not a tokenizer ({reason}): {AGAIN}") from None
    ids = tokenizer.get_vocab(with_added_tokens=True)
    _check_words(file, tokenizer, ids)
    if not generic:
        _check_special(folder, ids)
    rows = embedding_rows(folder)
    if rows is not None and max(ids.values()) >= rows:
        word = max(ids, key=ids.__getitem__)
        raise UserError(
            f"{file}: {word!r} has the id {ids[word]}, but the word embedding has {rows} rows: the "
            f"tokenizer is of another checkpoint; {COPY}"
        )


def _have(folder: Path) -> str:
    """The other files of a tokenizer in the folder, for the message."""
    names = [name for name in ("tokenizer.model", *SPELLED) if (folder / name).is_file()]
    return f" (there is {' and '.join(names)} only)" if names else ""


def _check_words(file: Path, tokenizer: Tokenizer, ids: dict[str, int]) -> None:
    special = {token.content for token in tokenizer.get_added_tokens_decoder().values()}
    ordinary = len(ids.keys() - special)
    prompts = [tokenizer.encode(text, add_special_tokens=False).ids for text in PROBES]
    # A tokenizer of whole words may not know the words; they are added before a training.
    are_distinct = isinstance(tokenizer.model, WordLevel) or (prompts[0] != prompts[1] and all(prompts))
    if ordinary < 2 or not are_distinct:
        raise UserError(
            f"{file}: the tokenizer has {ordinary} words or parts of words, so two instructions would be one "
            f"prompt: {AGAIN}, or {COPY}"
        )


def _check_special(folder: Path, ids: dict[str, int]) -> None:
    config: dict[str, Any] = read_config(folder)
    needed = TOKENS.get(family_of(folder), ())
    for token in needed:
        if token not in ids:
            raise UserError(
                f"{folder / TOKENIZER}: has no token {token}, which the prompts of {config['model_type']} "
                f"need: {COPY}"
            )
    stated = [config[key] for key in IMAGE_IDS if isinstance(config.get(key), int)]
    if needed and stated and ids[needed[0]] not in stated:
        raise UserError(
            f"{folder / TOKENIZER}: the token {needed[0]} has the id {ids[needed[0]]}, but config.json says "
            f"{stated[0]}: {COPY}"
        )
