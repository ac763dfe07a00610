"""FAST tokens: the round-trip error is bounded, and any token sequence can be decoded."""

import json
from pathlib import Path

import numpy as np
import pytest
from scipy.fft import dct, idct
from tokenizers import Tokenizer, decoders, models, pre_tokenizers, processors, trainers

from vlm4vla.actions.fast import FastTokenizer, load_universal
from vlm4vla.core.errors import UserError


def smooth(count: int, length: int, seed: int) -> np.ndarray:
    """Chunks (count, length, 7) of slow motion, like those of demonstrations."""
    rng = np.random.default_rng(seed)
    start, slope = rng.uniform(-0.8, 0.8, (2, count, 1, 7))
    return np.clip(start + slope * np.linspace(0, 1, length)[None, :, None], -1, 1)


@pytest.fixture(params=[(4, 10.0), (10, 10.0), (4, 25.0), (1, 3.0)], ids=str)
def fitted(request) -> FastTokenizer:
    length, scale = request.param
    return FastTokenizer.fit(smooth(400, length, 0), vocabulary=512, scale=scale)


def hard_chunks(length: int) -> np.ndarray:
    """Noise, alternating signs, steps and constants, up to the edges of the range."""
    rng = np.random.default_rng(1)
    signs = np.where(np.arange(length) % 2, 1.0, -1.0)[:, None] * np.ones(7)
    step = np.where(np.arange(length) < length / 2, 1.0, -1.0)[:, None] * np.ones(7)
    fixed = [np.ones((length, 7)), -np.ones((length, 7)), np.zeros((length, 7)), signs, step]
    return np.concatenate([np.stack(fixed), rng.uniform(-1, 1, (200, length, 7)), smooth(50, length, 2)])


def test_round_trip_is_bounded_by_the_rounding_step(fitted):
    chunks = hard_chunks(fitted.chunk)
    for chunk, ids in zip(chunks, fitted.encode(chunks), strict=True):
        found, valid = fitted.decode(ids)
        assert valid and found.shape == chunk.shape
        assert np.abs(found - chunk).max() <= fitted.error_bound + 1e-6
        # Parseval: the orthonormal transform keeps the squared error, at most half a step for each value.
        assert ((found - chunk) ** 2).sum() <= chunk.size * (0.5 / fitted.scale) ** 2 + 1e-6


def test_low_frequencies_come_first():
    # The vocabulary has no room for byte pairs, so each coefficient is one token.
    tokenizer = FastTokenizer.fit(smooth(200, 4, 0), vocabulary=41, scale=10.0)
    constant = np.full((1, 4, 7), 0.5)
    ids = tokenizer.encode(constant)[0]
    assert len(ids) == 28
    found, valid = tokenizer.decode(ids[:7])  # only the mean of each dimension
    assert not valid
    np.testing.assert_allclose(found, 0.5, atol=tokenizer.error_bound)


def test_byte_pairs_shorten_typical_chunks(fitted):
    lengths = [len(ids) for ids in fitted.encode(smooth(100, fitted.chunk, 3))]
    assert fitted.size <= 512
    if fitted.chunk > 1:
        assert np.mean(lengths) < 0.7 * fitted.chunk * 7


def test_any_sequence_decodes_and_the_flag_is_right(fitted):
    whole = fitted.encode(hard_chunks(fitted.chunk)[5:6])[0]
    rng = np.random.default_rng(0)
    sequences = [
        [],
        whole[:-1],
        whole + whole,
        [-1],
        [10**9],
        [*whole, fitted.size],
        *rng.integers(-5, 600, (50, 9)),
    ]
    for ids in sequences:
        found, flag = fitted.decode(ids)
        assert found.shape == (fitted.chunk, 7) and found.dtype == np.float32
        assert np.isfinite(found).all() and np.abs(found).max() <= 1
        symbols = [fitted.bpe.id_to_token(int(i)) for i in ids if 0 <= i < fitted.size]
        assert flag == (len(symbols) == len(ids) and len("".join(symbols)) == fitted.chunk * 7)


def test_save_and_load(fitted, tmp_path):
    fitted.save(tmp_path / "fast.json")
    again = FastTokenizer.load(tmp_path / "fast.json")
    chunks = hard_chunks(fitted.chunk)
    assert again.encode(chunks) == fitted.encode(chunks)
    again.save(tmp_path / "again.json")
    assert (tmp_path / "again.json").read_bytes() == (tmp_path / "fast.json").read_bytes()


def test_the_same_chunks_give_the_same_tokenizer(fitted):
    again = FastTokenizer.fit(smooth(400, fitted.chunk, 0), vocabulary=512, scale=fitted.scale)
    assert again.bpe.to_str() == fitted.bpe.to_str()


def test_errors_name_the_key_or_the_file(tmp_path):
    with pytest.raises(UserError, match=r"fast\.vocabulary: 40 .* write at least 41"):
        FastTokenizer.fit(smooth(10, 4, 0), vocabulary=40, scale=10.0)
    with pytest.raises(UserError, match=r"fast\.scale: 0"):
        FastTokenizer.fit(smooth(10, 4, 0), vocabulary=400, scale=0.0)
    with pytest.raises(UserError, match=r"shape \(0, 4, 7\)"):
        FastTokenizer.fit(smooth(10, 4, 0)[:0], vocabulary=400)
    (tmp_path / "cut.json").write_text('{"format": 2, "chu')
    with pytest.raises(UserError, match=r"cut\.json: not a FAST tokenizer"):
        FastTokenizer.load(tmp_path / "cut.json")
    with pytest.raises(UserError, match=r"none\.json: not a FAST tokenizer"):
        FastTokenizer.load(tmp_path / "none.json")


def test_wrong_shapes_and_nan_are_rejected(fitted):
    with pytest.raises(ValueError, match="must have shape"):
        fitted.encode(np.zeros((1, fitted.chunk + 1, 7)))
    with pytest.raises(ValueError, match="NaN"):
        fitted.encode(np.full((1, fitted.chunk, 7), np.nan))


MIN_TOKEN, UNIVERSAL_SCALE = -30, 10  # of the small universal tokenizer below


@pytest.fixture
def universal(tmp_path) -> Path:
    """A folder like the published one: a byte-level encoding fitted to coefficients written as characters."""
    alphabet = [chr(number) for number in range(324)]  # includes every character that stands for a byte
    spectra = np.rint(dct(smooth(300, 4, 0), axis=1, norm="ortho") * UNIVERSAL_SCALE).astype(int)
    bpe = Tokenizer(models.BPE())
    bpe.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    bpe.decoder = decoders.ByteLevel()
    bpe.post_processor = processors.ByteLevel(trim_offsets=False)
    trainer = trainers.BpeTrainer(
        vocab_size=500, initial_alphabet=alphabet, show_progress=False, special_tokens=[]
    )
    texts = ["".join(chr(value - MIN_TOKEN) for value in each.ravel()) for each in spectra]
    bpe.train_from_iterator(texts, trainer)
    folder = tmp_path / "universal"
    folder.mkdir()
    bpe.save(str(folder / "tokenizer.json"))
    config = {"scale": UNIVERSAL_SCALE, "vocab_size": 500, "min_token": MIN_TOKEN}
    (folder / "processor_config.json").write_text(json.dumps(config))
    return folder


def test_universal_tokenizer_matches_its_published_format(universal):
    tokenizer = load_universal(universal, chunk=4, dimensions=7)
    bpe = Tokenizer.from_file(str(universal / "tokenizer.json"))
    chunks = hard_chunks(4)
    for chunk, ids in zip(chunks, tokenizer.encode(chunks), strict=True):
        spectrum = np.rint(dct(chunk, type=2, axis=0, norm="ortho") * UNIVERSAL_SCALE).astype(int)
        assert ids == bpe.encode("".join(chr(value - MIN_TOKEN) for value in spectrum.ravel())).ids
        found, valid = tokenizer.decode(ids)
        assert valid
        wanted = np.clip(idct(spectrum / UNIVERSAL_SCALE, axis=0, norm="ortho"), -1, 1)
        np.testing.assert_allclose(found, wanted, atol=1e-6)
        assert np.abs(found - chunk).max() <= tokenizer.error_bound + 1e-6


def test_universal_tokenizer_decodes_any_sequence(universal):
    tokenizer = load_universal(universal, chunk=4, dimensions=7)
    whole = tokenizer.encode(hard_chunks(4)[5:6])[0]
    rng = np.random.default_rng(0)
    for ids in ([], whole[:-1], whole + whole, [-1], [*whole, 10**9], *rng.integers(-5, 600, (50, 9))):
        found, flag = tokenizer.decode(ids)
        assert found.shape == (4, 7) and np.isfinite(found).all() and np.abs(found).max() <= 1
        assert not flag
    # The first byte of a two-byte character, without the second byte.
    lone = tokenizer.bpe.token_to_id("\u00c2")
    assert tokenizer.decode([lone] * 28)[1] is False


def test_universal_tokenizer_can_be_saved_and_loaded(universal, tmp_path):
    tokenizer = load_universal(universal, chunk=4, dimensions=7)
    tokenizer.save(tmp_path / "fast.json")
    again = FastTokenizer.load(tmp_path / "fast.json")
    ids = tokenizer.encode(hard_chunks(4))
    assert again.encode(hard_chunks(4)) == ids
    assert all(again.decode(each)[1] for each in ids)


def test_errors_in_a_universal_folder_are_one_line(universal):
    with pytest.raises(
        UserError, match=r"no token for the coefficient -32, .* chunks of 10 .*leave"
    ) as error:
        load_universal(universal, chunk=10, dimensions=7)
    assert "\n" not in str(error.value)
    config = universal / "processor_config.json"
    config.write_text('{"scale": 10}')
    with pytest.raises(UserError, match=r"processor_config\.json: no scale and min_token"):
        load_universal(universal, chunk=4, dimensions=7)
    config.unlink()
    with pytest.raises(UserError, match=r"auxiliary\.fast\.tokenizer: .*processor_config\.json' is missing"):
        load_universal(universal, chunk=4, dimensions=7)
