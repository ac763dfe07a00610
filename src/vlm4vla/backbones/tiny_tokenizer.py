"""A word-level tokenizer for a tiny backbone: one token a word, one token a template phrase.

Fewer tokens are the largest lever on speed, so what every prompt repeats (the system turn, the question
around an instruction) is a single token. Text is lower-cased; phrases keep their case.
"""

from __future__ import annotations

from collections.abc import Sequence

from tokenizers import AddedToken, Tokenizer
from tokenizers.models import WordLevel
from tokenizers.normalizers import Lowercase
from tokenizers.pre_tokenizers import WhitespaceSplit
from transformers import PreTrainedTokenizerFast

BOS, PAD, EOS, UNKNOWN = "<s>", "<pad>", "</s>", "<unk>"


def tiny_tokenizer(words: Sequence[str], phrases: Sequence[str]) -> PreTrainedTokenizerFast:
    """Ids: the four special tokens, then `phrases` in order, then the sorted distinct words.

    The order of the first four is that of Kosmos-2, which takes the ids after the unknown token's as image
    placeholders. A longer phrase wins over one that it starts with.
    """
    special = list(dict.fromkeys([BOS, PAD, EOS, UNKNOWN, *phrases]))
    plain = sorted({word.lower() for word in words} - set(special))
    vocabulary = {word: index for index, word in enumerate(special + plain)}
    tokenizer = Tokenizer(WordLevel(vocabulary, unk_token=UNKNOWN))
    tokenizer.normalizer = Lowercase()
    tokenizer.pre_tokenizer = WhitespaceSplit()
    added = [AddedToken(text, special=True, normalized=False) for text in special]
    tokenizer.add_special_tokens(added)
    return PreTrainedTokenizerFast(
        tokenizer_object=tokenizer,
        bos_token=BOS,
        pad_token=PAD,
        eos_token=EOS,
        unk_token=UNKNOWN,
        padding_side="left",
        model_input_names=["input_ids", "attention_mask"],
    )
