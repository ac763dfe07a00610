"""Small tokenizers of the kinds that released models have, trained on a few words, on a tiny backbone."""

import copy
import functools
import json
import random

from tiny_backbones import make
from tokenizers import AddedToken, Regex, Tokenizer, decoders, normalizers, pre_tokenizers, trainers
from tokenizers.models import BPE, Unigram
from transformers import GemmaTokenizer, PreTrainedTokenizerFast, Qwen2Tokenizer

from vlm4vla.backbones.adapter import Adapter
from vlm4vla.backbones.loaded import LoadedBackbone

SENTENCE = (
    "move the left-hand drawer 0.12 metres to right_side of <fast_12> <loc0312> don't open it's 12.5 x-axis "
    "leftover half-left block, (red) 120 l2 <x12> 5%12 wide-left! unleft left_12"
)
OLD = SENTENCE.split()
SPECIAL = ["<pad>", "<s>", "</s>", "<unk>", "<image>", "\n"]
LOCATIONS = [f"<loc{number:04d}>" for number in (0, 12, 312)]


def texts(words, count, seed=0):
    """Random texts out of `words`, some with line breaks and double spaces."""
    draw = random.Random(seed)
    return [
        "".join(draw.choice(words) + draw.choice((" ", " ", " ", "  ", "\n")) for _ in range(8)).rstrip()
        for _ in range(count)
    ]


def corpus():
    return texts([*OLD, *"abcdefghijklmnopqrstuvwxyz0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZ"], 400)


def byte_level():
    """Byte-level BPE in the class of Qwen's tokenizer, which rebuilds itself from its vocabulary."""
    raw = Tokenizer(BPE())
    raw.pre_tokenizer = pre_tokenizers.Sequence(
        [
            pre_tokenizers.Split(Regex(r"\p{N}|[^\r\n\p{L}\p{N}]?\p{L}+| ?[^\s\p{L}\p{N}]+|\s+"), "isolated"),
            pre_tokenizers.ByteLevel(add_prefix_space=False, use_regex=False),
        ]
    )
    alphabet = pre_tokenizers.ByteLevel.alphabet()
    raw.train_from_iterator(corpus(), trainers.BpeTrainer(vocab_size=330, initial_alphabet=alphabet))
    model = _model(raw)
    return _with_special(Qwen2Tokenizer(vocab=model["vocab"], merges=_pairs(model), **_names()))


def metaspace_bpe():
    """BPE in which a space is part of the text as a lower block, in the class of Gemma's tokenizer."""
    raw = Tokenizer(BPE(unk_token="<unk>", byte_fallback=True))
    raw.normalizer = normalizers.Replace(" ", "▁")
    special = [*SPECIAL[:4], *(f"<0x{byte:02X}>" for byte in range(256))]
    raw.train_from_iterator(corpus(), trainers.BpeTrainer(vocab_size=420, special_tokens=special))
    model = _model(raw)
    return _with_special(GemmaTokenizer(vocab=model["vocab"], merges=_pairs(model), **_names()))


def unigram():
    """Unigram with Metaspace, as in Kosmos-2's tokenizer."""
    raw = Tokenizer(Unigram())
    raw.pre_tokenizer = pre_tokenizers.Metaspace()
    raw.decoder = decoders.Metaspace()
    trainer = trainers.UnigramTrainer(vocab_size=150, special_tokens=SPECIAL[:4], unk_token="<unk>")
    raw.train_from_iterator(corpus(), trainer)
    return _with_special(PreTrainedTokenizerFast(tokenizer_object=raw, **_names()))


KINDS = {"byte-level BPE": byte_level, "metaspace BPE": metaspace_bpe, "Unigram": unigram}


@functools.cache
def _trained(kind):
    return KINDS[kind]()


def trained(kind):
    """A new copy of the tokenizer of this kind; it is trained once, because training is not deterministic."""
    return copy.deepcopy(_trained(kind))


def on_backbone(tokenizer) -> LoadedBackbone:
    """A tiny PaliGemma with this tokenizer."""
    small = make("paligemma")
    small.model.resize_token_embeddings(len(tokenizer), mean_resizing=False)
    config = small.model.config
    config.image_token_index = config.image_token_id = tokenizer.convert_tokens_to_ids("<image>")
    for name in ("pad", "bos", "eos"):
        setattr(config.text_config, f"{name}_token_id", getattr(tokenizer, f"{name}_token_id"))
    adapter: Adapter = type(small.adapter)(config, tokenizer, small.image_size)
    return LoadedBackbone(small.model, tokenizer, small.image_processor, adapter)


def _model(raw):
    return json.loads(raw.to_str())["model"]


def _pairs(model):
    return [tuple(pair) for pair in model["merges"]]


def _names():
    return {
        "pad_token": "<pad>", "bos_token": "<s>", "eos_token": "</s>", "unk_token": "<unk>",
        "padding_side": "left",
    }  # fmt: skip


def _with_special(tokenizer):
    tokenizer.add_tokens([AddedToken(word, special=True, normalized=False) for word in SPECIAL])
    tokenizer.add_tokens([AddedToken(word, normalized=False) for word in LOCATIONS])
    return tokenizer
