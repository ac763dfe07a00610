"""FAST action tokens: cosine transform along time, rounding, byte-pair encoding (arXiv 2501.09747).

Not obvious:
- The alphabet holds every coefficient that a chunk in [-1, 1] can have, seen in the data or not, so every
  chunk is encoded within the rounding step.
- Coefficients are flattened low frequencies first, all dimensions of a frequency together, so that a cut
  sequence still decodes to the slow part of the motion.
- The published universal tokenizer (`load_universal`) is the same recipe with other symbols: coefficients are
  the characters from chr(0) on, and its byte-pair encoding works on their UTF-8 bytes.
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

from vlm4vla.core.artefacts import write_json
from vlm4vla.core.errors import UserError

FORMAT = 2
UNIVERSAL_FILES = (
    "tokenizer.json",
    "processor_config.json",
)  # of the Hugging Face repo physical-intelligence/fast
FIRST_SYMBOL = (
    0x4E00  # coefficients are written as characters from here on: none of them is a space or a mark
)


@dataclass(frozen=True)
class FastTokenizer:
    """Chunks (T, D) in [-1, 1] to token ids and back.

    `chunk`: T. `dimensions`: D. `scale`: coefficients are rounded to multiples of 1 / `scale`. `zero`: code
    point of the character that stands for the coefficient 0; its neighbours stand for 1 and -1, and so on.
    """

    chunk: int
    dimensions: int
    scale: float
    zero: int
    bpe: Tokenizer

    @classmethod
    def fit(cls, chunks: np.ndarray, *, vocabulary: int, scale: float = 10.0) -> FastTokenizer:
        """Learn byte pairs from chunks (N, T, D) in [-1, 1]; same chunks, same tokenizer.

        `vocabulary`: most tokens that there may be; it must hold the alphabet of 2 · round(scale · √T) + 1
        coefficients. Fewer come out where the data has no more pairs. Raises UserError.
        """
        if chunks.ndim != 3 or not len(chunks):
            raise UserError(f"fast: chunks have shape {chunks.shape}: give (N, T, D) with N above 0")
        if not scale > 0:
            raise UserError(f"fast.scale: {scale:g} is not above 0: write a number above 0")
        _, length, dimensions = chunks.shape
        alphabet = _alphabet(length, scale)
        if vocabulary < len(alphabet):
            raise UserError(
                f"fast.vocabulary: {vocabulary} is below the {len(alphabet)} coefficients that chunks of "
                f"{length} have at scale {scale:g}: write at least {len(alphabet)}"
            )
        bpe = Tokenizer(models.BPE())
        trainer = trainers.BpeTrainer(
            vocab_size=vocabulary, initial_alphabet=alphabet, show_progress=False, special_tokens=[]
        )
        tokenizer = cls(length, dimensions, scale, FIRST_SYMBOL + _largest(length, scale), bpe)
        bpe.train_from_iterator((tokenizer._text(each) for each in tokenizer._coefficients(chunks)), trainer)
        return tokenizer

    @property
    def size(self) -> int:
        """Number of tokens."""
        return self.bpe.get_vocab_size()

    @property
    def error_bound(self) -> float:
        """Largest error of one value after a round trip: half a rounding step in each of T coefficients."""
        return 0.5 / self.scale * math.sqrt(self.chunk)

    def encode(self, chunks: np.ndarray) -> list[list[int]]:
        """Token ids of chunks (N, T, D) in [-1, 1]; values outside are clipped.

        Raises ValueError for other shapes and for NaN.
        """
        if chunks.ndim != 3 or chunks.shape[1:] != (self.chunk, self.dimensions):
            raise ValueError(
                f"chunks must have shape (N, {self.chunk}, {self.dimensions}), not {chunks.shape}"
            )
        if not np.isfinite(chunks).all():
            raise ValueError("chunks hold NaN or infinite values")
        return [self.bpe.encode(self._text(each)).ids for each in self._coefficients(chunks)]

    def decode(self, ids: Sequence[int]) -> tuple[np.ndarray, bool]:
        """A chunk (T, D) float32 in [-1, 1] from any token ids, and whether they were a whole chunk.

        Unknown ids are left out, missing and impossible coefficients are 0 and surplus ones dropped; each
        makes the flag False.
        """
        known = [int(i) for i in ids if 0 <= int(i) < self.size]
        text = self._joined(known)
        wanted, largest = self.chunk * self.dimensions, _largest(self.chunk, self.scale)
        found = np.array([ord(symbol) for symbol in text[:wanted]], dtype=np.int64) - self.zero
        outside = np.abs(found) > largest  # bytes that are no character, or a coefficient that no chunk has
        whole = len(known) == len(ids) and len(text) == wanted and not outside.any()
        values = np.zeros(wanted, dtype=np.float64)
        values[: len(found)] = np.where(outside, 0, found)
        spectrum = values.reshape(self.chunk, self.dimensions) / self.scale
        return np.clip(idct(spectrum, axis=0, norm="ortho"), -1, 1).astype(np.float32), whole

    def save(self, path: Path) -> None:
        """Write one JSON file."""
        record = {"format": FORMAT, "chunk": self.chunk, "dimensions": self.dimensions, "scale": self.scale}
        write_json(path, record | {"zero": self.zero, "bpe": json.loads(self.bpe.to_str())})

    @classmethod
    def load(cls, path: Path) -> FastTokenizer:
        """The inverse of `save`. Raises UserError when the file is missing or of another form."""
        try:
            record = json.loads(Path(path).read_text())
            if record["format"] != FORMAT:
                raise ValueError(f"format {record['format']!r}, this version reads {FORMAT}")
            bpe = Tokenizer.from_str(json.dumps(record["bpe"]))
            chunk, dimensions, zero = (int(record[key]) for key in ("chunk", "dimensions", "zero"))
            return cls(chunk, dimensions, float(record["scale"]), zero, bpe)
        except Exception as error:  # tokenizers raises plain Exception for a text that it cannot read
            raise UserError(f"{path}: not a FAST tokenizer ({error}): fit it again") from None

    def _coefficients(self, chunks: np.ndarray) -> np.ndarray:
        """(N, T · D) int64: rounded coefficients, low frequencies first."""
        spectrum = dct(np.clip(chunks, -1, 1).astype(np.float64), axis=1, norm="ortho")
        return np.rint(spectrum * self.scale).astype(np.int64).reshape(len(chunks), -1)

    def _text(self, coefficients: Iterable[int]) -> str:
        return "".join(chr(int(value) + self.zero) for value in coefficients)

    def _joined(self, ids: list[int]) -> str:
        """The characters that token ids stand for; a byte-level encoding has its own way back to them."""
        if self.bpe.decoder is not None:
            return self.bpe.decode(ids, skip_special_tokens=False)
        return "".join(self.bpe.id_to_token(i) for i in ids)


def check_universal(folder: Path, key: str = "auxiliary.fast.tokenizer") -> dict[str, float]:
    """`scale` and `min_token` of the universal tokenizer in `folder`.

    Raises UserError naming the configuration's `key` when a file is missing or does not say them.
    """
    for name in UNIVERSAL_FILES:
        if not (folder / name).is_file():
            raise UserError(
                f"{key}: {str(folder / name)!r} is missing: write a folder that holds "
                f"{' and '.join(UNIVERSAL_FILES)}, as physical-intelligence/fast on Hugging Face does"
            )
    path = folder / UNIVERSAL_FILES[1]
    try:
        record = json.loads(path.read_text())
        found = {"scale": float(record["scale"]), "min_token": int(record["min_token"])}
    except (ValueError, KeyError, TypeError, AttributeError) as error:
        raise UserError(
            f"{key}: {path}: no scale and min_token ({error!r}): download the file again"
        ) from None
    if not found["scale"] > 0:
        raise UserError(f"{key}: {path}: scale {found['scale']:g} is not above 0: download the file again")
    return found


def load_universal(folder: Path, *, chunk: int, dimensions: int) -> FastTokenizer:
    """The published universal tokenizer for chunks (`chunk`, `dimensions`), without running its own code.

    `folder`: a copy of the Hugging Face repository physical-intelligence/fast, of which tokenizer.json (a
    byte-level encoding over chr(round(coefficient * scale) - min_token)) and processor_config.json are read.
    Raises UserError for a folder without them, and for a tokenizer that lacks a coefficient which a chunk in
    [-1, 1] can have: it would change the chunk without saying so.
    """
    found = check_universal(folder)
    path = folder / UNIVERSAL_FILES[0]
    try:
        bpe = Tokenizer.from_file(str(path))
    except Exception as error:  # tokenizers raises plain Exception for a text that it cannot read
        raise UserError(f"{path}: not a tokenizer ({error}): download the file again") from None
    tokenizer = FastTokenizer(chunk, dimensions, found["scale"], -int(found["min_token"]), bpe)
    largest = _largest(chunk, tokenizer.scale)
    for value in range(-largest, largest + 1):
        code = value + tokenizer.zero
        if code < 0 or tokenizer._joined(bpe.encode(chr(code)).ids) != chr(code):
            raise UserError(
                f"{path}: has no token for the coefficient {value}, which chunks of {chunk} can have at "
                f"scale {tokenizer.scale:g}: take another tokenizer, or leave auxiliary.fast.tokenizer out"
            )
    return tokenizer


def _largest(length: int, scale: float) -> int:
    """Largest rounded coefficient: that of a constant chunk of ones, √T, in the orthonormal transform."""
    return round(scale * math.sqrt(length))


def _alphabet(length: int, scale: float) -> list[str]:
    largest = _largest(length, scale)
    return [chr(FIRST_SYMBOL + value) for value in range(2 * largest + 1)]
