"""FAST tokens: the error is bounded for every chunk, and any token sequence decodes."""

import numpy as np
import pytest

from vlm4vla.actions.fast import FastTokenizer
from vlm4vla.artefacts import UserError


def smooth(count: int, length: int, seed: int) -> np.ndarray:
    """Chunks (count, length, 7) of slow motion, as demonstrations have."""
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
        found, whole = fitted.decode(ids)
        assert whole and found.shape == chunk.shape
        assert np.abs(found - chunk).max() <= fitted.error_bound + 1e-6
        # Parseval: the orthonormal transform keeps the squared error, half a step a coefficient at most.
        assert ((found - chunk) ** 2).sum() <= chunk.size * (0.5 / fitted.scale) ** 2 + 1e-6


def test_low_frequencies_come_first():
    tokenizer = FastTokenizer.fit(smooth(200, 4, 0), vocabulary=41, scale=10.0)  # no pairs: one each
    constant = np.full((1, 4, 7), 0.5)
    ids = tokenizer.encode(constant)[0]
    assert len(ids) == 28
    found, whole = tokenizer.decode(ids[:7])  # the mean of each dimension alone
    assert not whole
    np.testing.assert_allclose(found, 0.5, atol=tokenizer.error_bound)


def test_pairs_shorten_what_the_data_repeats(fitted):
    lengths = [len(ids) for ids in fitted.encode(smooth(100, fitted.chunk, 3))]
    assert fitted.size <= 512
    if fitted.chunk > 1:
        assert np.mean(lengths) < 0.7 * fitted.chunk * 7


def test_any_sequence_decodes_with_a_flag(fitted):
    whole = fitted.encode(hard_chunks(fitted.chunk)[5:6])[0]
    rng = np.random.default_rng(0)
    wrong = [
        [],
        whole[:-1],
        whole + whole,
        [-1],
        [10**9],
        [*whole, fitted.size],
        *rng.integers(-5, 600, (50, 9)),
    ]
    for ids in wrong:
        found, flag = fitted.decode(ids)
        assert found.shape == (fitted.chunk, 7) and found.dtype == np.float32
        assert np.isfinite(found).all() and np.abs(found).max() <= 1
        symbols = [fitted.bpe.id_to_token(int(i)) for i in ids if 0 <= i < fitted.size]
        assert flag == (len(symbols) == len(ids) and len("".join(symbols)) == fitted.chunk * 7)


def test_saved_and_loaded(fitted, tmp_path):
    fitted.save(tmp_path / "fast.json")
    again = FastTokenizer.load(tmp_path / "fast.json")
    chunks = hard_chunks(fitted.chunk)
    assert again.encode(chunks) == fitted.encode(chunks)
    again.save(tmp_path / "again.json")
    assert (tmp_path / "again.json").read_bytes() == (tmp_path / "fast.json").read_bytes()


def test_same_chunks_same_tokenizer(fitted):
    again = FastTokenizer.fit(smooth(400, fitted.chunk, 0), vocabulary=512, scale=fitted.scale)
    assert again.bpe.to_str() == fitted.bpe.to_str()


def test_faults_name_the_key(tmp_path):
    with pytest.raises(UserError, match=r"fast\.vocabulary: 40 .* write at least 41"):
        FastTokenizer.fit(smooth(10, 4, 0), vocabulary=40, scale=10.0)
    with pytest.raises(UserError, match=r"fast\.scale: 0"):
        FastTokenizer.fit(smooth(10, 4, 0), vocabulary=400, scale=0.0)
    with pytest.raises(UserError, match=r"shape \(0, 4, 7\)"):
        FastTokenizer.fit(smooth(10, 4, 0)[:0], vocabulary=400)
    (tmp_path / "cut.json").write_text('{"format": 1, "chu')
    with pytest.raises(UserError, match=r"cut\.json: not a FAST tokenizer"):
        FastTokenizer.load(tmp_path / "cut.json")
    with pytest.raises(UserError, match=r"none\.json: not a FAST tokenizer"):
        FastTokenizer.load(tmp_path / "none.json")


def test_wrong_shapes_and_nan_are_refused(fitted):
    with pytest.raises(ValueError, match="must have shape"):
        fitted.encode(np.zeros((1, fitted.chunk + 1, 7)))
    with pytest.raises(ValueError, match="NaN"):
        fitted.encode(np.full((1, fitted.chunk, 7), np.nan))
