"""Words that a backbone lacks: added to its tokenizer and embeddings, and taken away again.

Not obvious:
- New rows start as the mean of the old ones, so that no new word is likelier than what the model knows.
- Words are added behind all others, so taking them away is cutting rows, and the ids of old words stay.
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path

import torch
from tokenizers import AddedToken
from tokenizers.models import WordLevel
from transformers import AutoTokenizer, PreTrainedTokenizerBase

from vlm4vla.backbones.loaded import LoadedBackbone
from vlm4vla.core.artefacts import write_json

BEFORE = "tokenizer_before"  # subfolder: the tokenizer without words that a policy does not keep


def has_word_tokens(backbone: LoadedBackbone) -> bool:
    """Whether the tokenizer knows whole words only, as tiny backbones' do."""
    return isinstance(backbone.tokenizer.backend_tokenizer.model, WordLevel)


def missing_words(backbone: LoadedBackbone, words: Sequence[str]) -> list[str]:
    """The words, each once and in their order, that are not one known token for this backbone."""
    unknown = backbone.tokenizer.unk_token_id
    found = []
    for word in dict.fromkeys(words):
        ids = backbone.adapter.encode(word)
        if len(ids) != 1 or ids[0] == unknown:
            found.append(word)
    return found


def add_words(backbone: LoadedBackbone, words: Sequence[str]) -> LoadedBackbone:
    """`backbone` with a token for each of `words`; it grows by those that it lacks, and by nothing else.

    The model is changed in place; the backbone that comes back knows the new sizes.
    """
    lacking = missing_words(backbone, words)
    if not lacking:
        return backbone
    model, tokenizer = backbone.model, backbone.tokenizer
    rows = model.get_input_embeddings().weight.shape[0]
    tokenizer.add_tokens([AddedToken(word, single_word=True, normalized=False) for word in lacking])
    if len(tokenizer) > rows:
        model.resize_token_embeddings(len(tokenizer), mean_resizing=False)
        with torch.no_grad():
            layers = (model.get_input_embeddings(), model.get_output_embeddings())
            for weight in {layer.weight for layer in layers if layer is not None}:
                weight[rows:] = weight[:rows].mean(0)
    return LoadedBackbone(model, tokenizer, backbone.image_processor, backbone.adapter)


def keep_words_before(backbone: LoadedBackbone, folder: Path) -> None:
    """Keep in a backbone's `folder` what `without_later_words` needs to take later words away."""
    backbone.tokenizer.save_pretrained(folder / BEFORE)
    rows = backbone.model.get_input_embeddings().weight.shape[0]
    write_json(folder / BEFORE / "rows.json", {"rows": rows})


def without_later_words(backbone: LoadedBackbone, folder: Path) -> LoadedBackbone:
    """`backbone`, loaded from `folder`, without words added after `keep_words_before`, if that was called."""
    kept = folder / BEFORE
    if not kept.is_dir():
        return backbone
    tokenizer = AutoTokenizer.from_pretrained(kept, padding_side="left")
    return with_words_of(backbone, tokenizer, json.loads((kept / "rows.json").read_text())["rows"])


def with_words_of(backbone: LoadedBackbone, tokenizer: PreTrainedTokenizerBase, rows: int) -> LoadedBackbone:
    """`backbone` with an earlier `tokenizer` and `rows` embeddings again: the words added since are gone.

    The model is changed in place. Raises ValueError when it has fewer rows than that.
    """
    have = backbone.model.get_input_embeddings().weight.shape[0]
    if have < rows:
        raise ValueError(f"the backbone has {have} embeddings, fewer than the {rows} to keep")
    if have > rows:
        backbone.model.resize_token_embeddings(rows, mean_resizing=False)
    family = type(backbone.adapter)
    adapter = family(backbone.model.config, tokenizer, backbone.image_size)
    return LoadedBackbone(backbone.model, tokenizer, backbone.image_processor, adapter)
