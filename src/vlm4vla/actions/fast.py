"""FAST action tokens (arXiv 2501.09747): cosine transform along time, rounding, byte-pair encoding.

Not obvious:
- The alphabet has every coefficient that a chunk in [-1, 1] can have, even if the data does not contain it.
  The only encoding error is therefore the rounding.
- Coefficients are flattened from low to high frequencies, with all dimensions of a frequency together. A
  truncated sequence therefore still decodes to the slow part of the motion.
- The published universal tokenizer (`load_universal`) works in the same way with other symbols: its
  coefficients are the characters from chr(0) on, and its byte-pair encoding works on their UTF-8 bytes.
"""

from __future__ import annotations

import json
import math
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from scipy.fft import dct, idct
from tokenizers import Tokenizer, models, trainers

from vlm4vla.conventions.actions import FAST_SYMBOLS, largest_fast_coefficient
from vlm4vla.core.artefacts import parse_json, write_json
from vlm4vla.core.errors import UserError

FORMAT = 2
# Files of the Hugging Face repository physical-intelligence/fast.
UNIVERSAL_FILES = ("tokenizer.json", "processor_config.json")
# Coefficients are written as characters from this code point on. None of these is a space or punctuation.
FIRST_SYMBOL = 0xD800 - FAST_SYMBOLS


@dataclass(frozen=True)
class FastTokenizer:
    """Converts action chunks (T, D) in [-1, 1] to token ids and back.

    `chunk`: T. `dimensions`: D. `scale`: coefficients are rounded to multiples of 1 / `scale`. `zero`: the
    code point of the character for the coefficient 0; the code point `zero` + n stands for the coefficient n.
    """

    chunk: int
    dimensions: int
    scale: float
    zero: int
    bpe: Tokenizer

    @classmethod
    def fit(cls, chunks: np.ndarray, *, vocabulary: int, scale: float = 10.0) -> FastTokenizer:
        """Fit the byte-pair encoding to chunks (N, T, D) in [-1, 1]; the same chunks give the same tokenizer.

        `vocabulary`: the maximum number of tokens. It must be at least the size of the alphabet, which has
        2 · round(scale · √T) + 1 coefficients. The tokenizer has fewer tokens if the data has no more pairs.
        Raises UserError for a wrong shape, scale or vocabulary.
        """
        if chunks.ndim != 3 or not len(chunks):
            raise UserError(f"fast: chunks have shape {chunks.shape}: pass (N, T, D) with N above 0")
        if not scale > 0:
            raise UserError(f"fast.scale: {scale:g} is not above 0: write a number above 0")
        _, length, dimensions = chunks.shape
        alphabet = _alphabet(length, scale)
        if vocabulary < len(alphabet):
            raise UserError(
                f"fast.vocabulary: {vocabulary} is less than the {len(alphabet)} possible coefficients of "
                f"chunks of {length} steps at scale {scale:g}: write at least {len(alphabet)}"
            )
        bpe = Tokenizer(models.BPE())
        trainer = trainers.BpeTrainer(
            vocab_size=vocabulary, initial_alphabet=alphabet, show_progress=False, special_tokens=[]
        )
        tokenizer = cls(
            length, dimensions, scale, FIRST_SYMBOL + largest_fast_coefficient(length, scale), bpe
        )
        texts = (tokenizer._symbols(each) for each in tokenizer._coefficients(chunks))
        bpe.train_from_iterator(texts, trainer)
        return tokenizer

    @property
    def size(self) -> int:
        """Number of tokens."""
        return self.bpe.get_vocab_size()

    @property
    def error_bound(self) -> float:
        """The largest error of a value after a round trip: half a rounding step in each of T coefficients."""
        return 0.5 / self.scale * math.sqrt(self.chunk)

    def encode(self, chunks: np.ndarray) -> list[list[int]]:
        """Token ids of chunks (N, T, D) in [-1, 1]; values outside are clipped.

        Raises ValueError for other shapes and for values that are not finite.
        """
        if chunks.ndim != 3 or chunks.shape[1:] != (self.chunk, self.dimensions):
            raise ValueError(
                f"chunks must have shape (N, {self.chunk}, {self.dimensions}), not {chunks.shape}"
            )
        if not np.isfinite(chunks).all():
            raise ValueError("chunks contain NaN or infinite values")
        return [self.bpe.encode(self._symbols(each)).ids for each in self._coefficients(chunks)]

    def decode(self, ids: Sequence[int]) -> tuple[np.ndarray, bool]:
        """Decode any token ids to a chunk (T, D), float32 in [-1, 1], and a flag: True if the ids are valid.

        Unknown ids and surplus coefficients are ignored; missing and impossible coefficients become 0. Each
        of these makes the flag False.
        """
        known = [int(i) for i in ids if 0 <= int(i) < self.size]
        text = self._symbols_of_ids(known)
        count, largest = self.chunk * self.dimensions, largest_fast_coefficient(self.chunk, self.scale)
        found = np.array([ord(symbol) for symbol in text[:count]], dtype=np.int64) - self.zero
        outside = np.abs(found) > largest  # invalid bytes, or a coefficient that no chunk can have
        valid = len(known) == len(ids) and len(text) == count and not outside.any()
        values = np.zeros(count, dtype=np.float64)
        values[: len(found)] = np.where(outside, 0, found)
        spectrum = values.reshape(self.chunk, self.dimensions) / self.scale
        return np.clip(idct(spectrum, axis=0, norm="ortho"), -1, 1).astype(np.float32), valid

    def save(self, path: Path) -> None:
        """Write the tokenizer to one JSON file."""
        record = {"format": FORMAT, "chunk": self.chunk, "dimensions": self.dimensions, "scale": self.scale}
        write_json(path, record | {"zero": self.zero, "bpe": json.loads(self.bpe.to_str())})

    @classmethod
    def load(cls, path: Path) -> FastTokenizer:
        """The inverse of `save`. Raises UserError if the file is missing or has another format."""
        try:
            record = parse_json(Path(path).read_text())
            if record["format"] != FORMAT:
                raise ValueError(f"format is {record['format']!r}, but this version reads {FORMAT}")
            bpe = Tokenizer.from_str(json.dumps(record["bpe"]))
            chunk, dimensions, zero = (int(record[key]) for key in ("chunk", "dimensions", "zero"))
            return cls(chunk, dimensions, float(record["scale"]), zero, bpe)
        except Exception as error:  # tokenizers raises a plain Exception for text that it cannot parse
            raise UserError(f"{path}: not a FAST tokenizer ({error}): fit it again") from None

    def _coefficients(self, chunks: np.ndarray) -> np.ndarray:
        """(N, T · D) int64: rounded coefficients, low frequencies first."""
        spectrum = dct(np.clip(chunks, -1, 1).astype(np.float64), axis=1, norm="ortho")
        return np.rint(spectrum * self.scale).astype(np.int64).reshape(len(chunks), -1)

    def _symbols(self, coefficients: Iterable[int]) -> str:
        return "".join(chr(int(value) + self.zero) for value in coefficients)

    def _symbols_of_ids(self, ids: list[int]) -> str:
        """The characters that token ids stand for; a byte-level encoding has its own decoder."""
        if self.bpe.decoder is not None:
            return self.bpe.decode(ids, skip_special_tokens=False)
        return "".join(self.bpe.id_to_token(i) for i in ids)


def check_universal(folder: Path, key: str = "auxiliary.fast.tokenizer") -> dict[str, float]:
    """Check the universal tokenizer in `folder`; returns its `scale` and `min_token`.

    Raises UserError with the configuration's `key` if a file or one of these values is missing.
    """
    for name in UNIVERSAL_FILES:
        if not (folder / name).is_file():
            raise UserError(
                f"{key}: {str(folder / name)!r} is missing: write a folder with "
                f"{' and '.join(UNIVERSAL_FILES)} of the Hugging Face repository physical-intelligence/fast"
            )
    path = folder / UNIVERSAL_FILES[1]
    try:
        record = parse_json(path.read_text())
        found = {"scale": float(record["scale"]), "min_token": int(record["min_token"])}
    except (ValueError, KeyError, TypeError, AttributeError) as error:
        raise UserError(
            f"{key}: {path}: no scale and min_token ({error!r}): download the file again"
        ) from None
    if not found["scale"] > 0:
        raise UserError(f"{key}: {path}: scale {found['scale']:g} is not above 0: download the file again")
    return found


def load_universal(folder: Path, *, chunk: int, dimensions: int) -> FastTokenizer:
    """Load the published universal tokenizer, without its own code, for chunks (`chunk`, `dimensions`).

    `folder`: a copy of the Hugging Face repository physical-intelligence/fast. The files tokenizer.json (a
    byte-level encoding over chr(round(coefficient * scale) - min_token)) and processor_config.json are read.
    Raises UserError if one of them is missing, or if the tokenizer lacks a coefficient that a chunk can have,
    because such a tokenizer would silently change the chunk.
    """
    found = check_universal(folder)
    path = folder / UNIVERSAL_FILES[0]
    try:
        bpe = Tokenizer.from_file(str(path))
    except Exception as error:  # tokenizers raises a plain Exception for text that it cannot parse
        raise UserError(f"{path}: not a tokenizer ({error}): download the file again") from None
    tokenizer = FastTokenizer(chunk, dimensions, found["scale"], -int(found["min_token"]), bpe)
    largest = largest_fast_coefficient(chunk, tokenizer.scale)
    for value in range(-largest, largest + 1):
        code = value + tokenizer.zero
        if code < 0 or tokenizer._symbols_of_ids(bpe.encode(chr(code)).ids) != chr(code):
            raise UserError(
                f"{path}: has no token for the coefficient {value}, which chunks of {chunk} steps can have "
                f"at scale {tokenizer.scale:g}: use another tokenizer, or leave out auxiliary.fast.tokenizer"
            )
    return tokenizer


def _alphabet(length: int, scale: float) -> list[str]:
    largest = largest_fast_coefficient(length, scale)
    return [chr(FIRST_SYMBOL + value) for value in range(2 * largest + 1)]
