"""New words leave every text without them as it was, with every kind of tokenizer."""

import pytest
from real_tokenizers import KINDS, OLD, on_backbone, texts, trained
from tiny_backbones import SIZE

from vlm4vla.backbones import build, load
from vlm4vla.backbones.vocabulary import add_words, missing_words
from vlm4vla.config.backbones import Backbone
from vlm4vla.core.errors import UserError

NEW = ["left", "12", "wug", "it's-12", "<fast_7>", "<x07>", "block", "Über_3", "-5", "é"]


def tiny():
    settings = Backbone(family="paligemma", parameters_b=1, tiny=SIZE, pretraining="any")
    return build(settings, "tiny", [*OLD, "put", "now"], 64, 0)


@pytest.fixture(params=[*KINDS, "words"], scope="module")
def make_kind(request):
    kind = request.param
    return tiny if kind == "words" else lambda: on_backbone(trained(kind))


@pytest.fixture
def both(make_kind):
    """The backbone before and after the new words."""
    return make_kind(), add_words(make_kind(), NEW)


def test_texts_of_old_words_keep_their_ids(both):
    before, after = both
    for text in [*OLD, *texts([*OLD, "put", "now"], 200, seed=1)]:
        assert after.adapter.encode(text) == before.adapter.encode(text), text
        assert after.prompt_ids(text) == before.prompt_ids(text), text
        assert after.question_ids(text) == before.question_ids(text), text


def test_each_new_word_is_one_new_id(both):
    before, after = both
    wanted = missing_words(before, NEW)
    assert {"wug", "<fast_7>"} <= set(wanted)
    ids = [after.adapter.encode(word) for word in wanted]
    first = len(before.tokenizer)
    assert ids == [[first + number] for number in range(len(wanted))]
    assert after.model.get_input_embeddings().weight.shape[0] == len(after.tokenizer) == first + len(wanted)
    for word, (number,) in zip(wanted, ids, strict=True):
        alone, inside = after.prompt_ids(word), after.prompt_ids(f"put {word} now")
        assert number in alone and inside.count(number) == 1
        assert after.decode([number]).lower() == word.lower()


def test_a_text_differs_only_where_the_new_word_is(both):
    before, after = both
    (new,) = after.adapter.encode("wug")
    # The text is as if the word were any other added token, such as the line break.
    for text in texts(OLD, 30, seed=2):
        found = after.adapter.encode(f"{text}\nwug\n{text}")
        old, (line,) = before.adapter.encode(text), before.adapter.encode("\n")
        assert found == [*old, line, new, line, *old]


def test_new_words_stay_when_saved_and_loaded(both, tmp_path):
    _, after = both
    after.save(tmp_path)
    again = load(tmp_path)
    assert len(again.tokenizer) == len(after.tokenizer)
    for text in [*NEW, "put left now", *texts([*OLD, *NEW], 100, seed=3)]:
        assert again.adapter.encode(text) == after.adapter.encode(text), text
        assert again.decode(again.adapter.encode(text)) == after.decode(after.adapter.encode(text))


def test_words_can_be_added_again(both):
    _, after = both
    count = len(after.tokenizer)
    assert add_words(after, NEW) is after
    grown = add_words(after, ["21", "wug-wug"])
    assert len(grown.tokenizer) == count + 2
    assert [grown.adapter.encode(word) for word in ("21", "wug-wug")] == [[count], [count + 1]]


@pytest.mark.parametrize("word", ["two words", "x<image>", "a\nb", "<s>y"])
def test_a_word_that_cannot_be_one_token_is_refused(make_kind, word):
    with pytest.raises(UserError, match="cannot be one word of the vocabulary"):
        add_words(make_kind(), [word])


def test_old_tiny_folders_with_added_tokens_still_work(tmp_path):
    """Folders of earlier versions hold the new words as added tokens."""
    from tokenizers import AddedToken

    old = tiny()
    old.tokenizer.add_tokens([AddedToken("wug", single_word=True, normalized=False)])
    old.model.resize_token_embeddings(len(old.tokenizer), mean_resizing=False)
    old.save(tmp_path)
    again = load(tmp_path)
    first = len(again.tokenizer) - 1
    assert again.adapter.encode("put wug now")[1] == first
    assert add_words(again, ["wug", "12"]).adapter.encode("12 wug") == [first + 1, first]
