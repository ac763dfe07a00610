"""The tiny tokenizer: words, phrases and the order of ids."""

from vlm4vla.backbones.tiny_tokenizer import tiny_tokenizer


def test_order_of_ids_and_longest_phrase():
    tokenizer = tiny_tokenizer(["Red", "block", "red"], ["<a>", "<a>\nB", "\n"])
    tokens = ["<s>", "<pad>", "</s>", "<unk>", "<a>", "<a>\nB", "\n", "block", "red"]
    assert tokenizer.convert_ids_to_tokens(list(range(len(tokenizer)))) == tokens
    ids = tokenizer("<a>\nBRed block<a>red\n", add_special_tokens=False)["input_ids"]
    assert tokenizer.convert_ids_to_tokens(ids) == ["<a>\nB", "red", "block", "<a>", "red", "\n"]
    assert tokenizer.decode(ids, skip_special_tokens=True).split() == ["red", "block", "red"]


def test_same_words_same_ids():
    first = tiny_tokenizer(["b", "a", "c"], ["<x>"]).get_vocab()
    assert first == tiny_tokenizer(["c", "a", "b", "a"], ["<x>"]).get_vocab()
