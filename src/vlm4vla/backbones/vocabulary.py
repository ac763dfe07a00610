"""Adding missing words to a backbone's tokenizer and embeddings, and removing them again.

Not obvious:
- The embeddings of new words start as the mean of the old embeddings, so that no new word is likelier than
  the words that the model knows.
- New words are added at the end of the vocabulary. Removing them cuts off the last rows, and the ids of the
  old words do not change.
- A new word is found only as a whole word: with white space, a special token or the end of the text on both
  sides. A text without new words keeps its ids. See whole_words.py.
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path

import torch
from tokenizers import AddedToken
from tokenizers.models import WordLevel
from tokenizers.pre_tokenizers import WhitespaceSplit
from transformers import AutoTokenizer, PreTrainedTokenizerBase

from vlm4vla.backbones.generic.parts import output_layer
from vlm4vla.backbones.loaded import LoadedBackbone
from vlm4vla.backbones.whole_words import WholeWords, stored_word
from vlm4vla.core.artefacts import write_json
from vlm4vla.core.errors import UserError

ORIGINAL = "tokenizer_before"  # subfolder: the tokenizer without the words that a policy does not keep


def has_word_tokens(backbone: LoadedBackbone) -> bool:
    """Whether the tokenizer has only whole words, like those of tiny backbones."""
    return isinstance(backbone.tokenizer.backend_tokenizer.model, WordLevel)


def missing_words(backbone: LoadedBackbone, words: Sequence[str]) -> list[str]:
    """The distinct words, in their order, that the tokenizer does not encode as one known token."""
    unknown = backbone.tokenizer.unk_token_id
    found = []
    for word in dict.fromkeys(words):
        ids = backbone.adapter.encode(word)
        if len(ids) != 1 or ids[0] == unknown:
            found.append(word)
    return found


def add_words(backbone: LoadedBackbone, words: Sequence[str]) -> LoadedBackbone:
    """Add the missing ones of `words` to the vocabulary; each of `words` is then one token.

    The model is changed in place. Use the returned backbone, which has the new sizes. Raises UserError for a
    word that cannot be one token: one with white space or a special token in it.
    """
    missing = missing_words(backbone, words)
    if not missing:
        return backbone
    _refuse([word for word in missing if word.split() != [word]])
    model, tokenizer = backbone.model, backbone.tokenizer
    rows = model.get_input_embeddings().weight.shape[0]
    if has_word_tokens(backbone) and isinstance(tokenizer.backend_tokenizer.pre_tokenizer, WhitespaceSplit):
        _extend_word_level(tokenizer, missing)
    else:
        stored = [stored_word(word) for word in missing]
        tokenizer.add_tokens([AddedToken(word, single_word=True, normalized=False) for word in stored])
    backbone.adapter.whole_words = WholeWords(tokenizer)
    if len(tokenizer) > rows:
        model.resize_token_embeddings(len(tokenizer), mean_resizing=False)
        with torch.no_grad():
            layers = (model.get_input_embeddings(), output_layer(model))
            for weight in {layer.weight for layer in layers if layer is not None}:
                weight[rows:] = weight[:rows].mean(0)
    grown = LoadedBackbone(model, tokenizer, backbone.image_processor, backbone.adapter)
    _refuse(missing_words(grown, missing))
    return grown


def _refuse(words: Sequence[str]) -> None:
    if words:
        raise UserError(
            f"{words[0]!r} cannot be one word of the vocabulary, because it contains white space or a "
            "special token of the backbone: write it without them"
        )


def _extend_word_level(tokenizer: PreTrainedTokenizerBase, words: Sequence[str]) -> None:
    """Give `words` the ids after the last one, in the vocabulary of a word-level tokenizer itself.

    Such a tokenizer looks up whole words only, so no known word can be cut.
    """
    backend = tokenizer.backend_tokenizer
    vocabulary = json.loads(backend.to_str())["model"]["vocab"]
    normalise = backend.normalizer.normalize_str if backend.normalizer is not None else str
    new = dict.fromkeys(normalise(word) for word in words)
    vocabulary |= {word: len(tokenizer) + index for index, word in enumerate(new)}
    backend.model = WordLevel(vocabulary, unk_token=backend.model.unk_token)


def save_original_vocabulary(backbone: LoadedBackbone, folder: Path) -> None:
    """Save the present vocabulary to a backbone's `folder`, for `restore_original_vocabulary`."""
    backbone.tokenizer.save_pretrained(folder / ORIGINAL)
    rows = backbone.model.get_input_embeddings().weight.shape[0]
    write_json(folder / ORIGINAL / "rows.json", {"rows": rows})


def restore_original_vocabulary(backbone: LoadedBackbone, folder: Path) -> LoadedBackbone:
    """Remove the words that `backbone`, loaded from `folder`, gained after `save_original_vocabulary`.

    Returns `backbone` unchanged if `folder` has no saved vocabulary.
    """
    original = folder / ORIGINAL
    if not original.is_dir():
        return backbone
    tokenizer = AutoTokenizer.from_pretrained(original, padding_side="left", trust_remote_code=False)
    return remove_added_words(backbone, tokenizer, json.loads((original / "rows.json").read_text())["rows"])


def remove_added_words(
    backbone: LoadedBackbone, tokenizer: PreTrainedTokenizerBase, rows: int
) -> LoadedBackbone:
    """Return `backbone` to an earlier `tokenizer` and its number of embeddings, `rows`.

    The model is changed in place. Raises ValueError if the model has fewer than `rows` embeddings.
    """
    present = backbone.model.get_input_embeddings().weight.shape[0]
    if present < rows:
        raise ValueError(f"the backbone has {present} embeddings, but the earlier tokenizer needs {rows}")
    if present > rows:
        backbone.model.resize_token_embeddings(rows, mean_resizing=False)
    adapter = backbone.adapter.with_tokenizer(backbone.model.config, tokenizer)
    return LoadedBackbone(backbone.model, tokenizer, backbone.image_processor, adapter)
