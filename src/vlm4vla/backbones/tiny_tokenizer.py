"""A word-level tokenizer for tiny backbones: one token for each word and each phrase of a prompt template.

The number of tokens affects the speed most. Text that every prompt repeats (the system turn, the question
around an instruction) is therefore a single token. Words are lower-cased; phrases keep their case.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from tokenizers import AddedToken, Tokenizer
from tokenizers.models import WordLevel
from tokenizers.normalizers import Lowercase
from tokenizers.pre_tokenizers import WhitespaceSplit
from transformers import PreTrainedTokenizerFast

BOS, PAD, EOS, UNKNOWN = "<s>", "<pad>", "</s>", "<unk>"


def tiny_tokenizer(
    words: Sequence[str], phrases: Sequence[str], named: Mapping[str, str] | None = None
) -> PreTrainedTokenizerFast:
    """Build the tokenizer. Ids: the four special tokens, `phrases` in their order, then the sorted words.

    The special tokens have the same order as in Kosmos-2, whose image placeholders are the ids after the
    unknown token. If one phrase begins with another, the longer phrase has priority. `named`: those of
    `phrases` that the tokenizer has as attributes, such as `image_token`.
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
        **({"extra_special_tokens": dict(named)} if named else {}),
        model_input_names=["input_ids", "attention_mask"],
    )
