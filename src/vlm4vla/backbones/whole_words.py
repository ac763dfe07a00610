"""Words that were added to a tokenizer of subwords, and that are found only as whole words.

The package tokenizers finds an added token anywhere in a text, at best between two characters that are not
letters, digits or underscores. The word `12` would therefore cut `0.12`, and `left` would cut `left-hand`.
A new word that begins or ends with such a character is stored between two characters for private use, which
no text has. `WholeWords.mark` puts them around the new words of a text before the tokenizer reads it. Folders
need no further file, and every class of tokenizer keeps these words when it is saved and loaded.
"""

from __future__ import annotations

import re

from transformers import PreTrainedTokenizerBase

OPEN, CLOSE = "\ue000", "\ue001"  # characters for private use


def stored_word(word: str) -> str:
    """The added token of a new word; a word such as `<action7>` cuts no other word and is stored as it is."""
    edges = word[:1] + word[-1:]
    return word if not re.search(r"\w", edges) else f"{OPEN}{word}{CLOSE}"


def remove_marks(text: str) -> str:
    """A decoded text without the marks of `WholeWords.mark`."""
    return text.replace(OPEN, "").replace(CLOSE, "")


class WholeWords:
    """The marked words of a tokenizer. Make a new object after words were added."""

    def __init__(self, tokenizer: PreTrainedTokenizerBase):
        added = [token.content for token in tokenizer.added_tokens_decoder.values()]
        marked = [remove_marks(content) for content in added if content.startswith(OPEN)]
        others = [content for content in added if not content.startswith(OPEN)]
        self._word = _any_of(marked, r"(?<!\S){}(?!\S)") if marked else None
        self._other = _any_of(others, "({})") if others else None

    def mark(self, text: str) -> str:
        """Mark the new words in `text` that have white space, another added token or an end on both sides."""
        if self._word is None:
            return text
        parts = self._other.split(text) if self._other is not None else [text]
        parts[::2] = [self._word.sub(rf"{OPEN}\g<0>{CLOSE}", part) for part in parts[::2]]
        return "".join(parts)


def _any_of(words: list[str], pattern: str) -> re.Pattern[str]:
    """`pattern` with {} replaced by a choice of `words`, the longest first."""
    choice = "|".join(re.escape(word) for word in sorted(words, key=len, reverse=True))
    return re.compile(pattern.format(f"(?:{choice})"))
