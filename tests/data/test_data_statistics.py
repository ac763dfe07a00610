"""Streamed statistics, compared with NumPy's statistics of the whole array."""

import tracemalloc

import numpy as np
import pytest

from vlm4vla.data.statistics import QUANTILES, column_statistics


def arrays():
    random = np.random.default_rng(0)
    wide = random.normal(size=(2003, 4)).astype(np.float32)
    wide[:, 1] = 0.25  # one value only
    wide[:, 2] = random.choice([-1.0, -0.0, 0.0, 1.0], 2003)  # many equal values, and two kinds of zero
    wide[:, 3] = np.exp(20 * wide[:, 3]) * np.sign(random.normal(size=2003))  # from 1e-30 to 1e30
    yield wide
    yield random.normal(size=(1, 3)).astype(np.float32)
    yield random.uniform(-5, -4, size=(10, 2)).astype(np.float32)  # negative numbers only


@pytest.mark.parametrize("values", list(arrays()), ids=lambda values: str(values.shape))
@pytest.mark.parametrize("block", [1, 7, 4096])
def test_statistics_equal_those_of_numpy(values, block):
    if block == 1 and len(values) > 100:
        values = values[:60]
    found = column_statistics(values, block)
    exact = values.astype(np.float64)
    wanted = {"min": exact.min(0), "max": exact.max(0), "mean": exact.mean(0), "std": exact.std(0)}
    wanted |= {name: np.quantile(exact, share, axis=0) for name, share in QUANTILES.items()}
    assert found.pop("count") == [len(values)]
    assert set(found) == set(wanted)
    for name, value in wanted.items():
        np.testing.assert_allclose(found[name], value, rtol=1e-9, atol=1e-12, err_msg=name)


def peak_memory(path, rows):
    values = np.lib.format.open_memmap(path, mode="w+", dtype=np.float32, shape=(rows, 7))
    values[:] = np.random.default_rng(1).normal(size=7).astype(np.float32)
    values[:, 0] = np.random.default_rng(2).permutation(rows)
    tracemalloc.start()
    found = column_statistics(values)
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert found["q01"][0] == pytest.approx(0.01 * (rows - 1)) and found["max"][0] == rows - 1
    return peak


def test_memory_does_not_grow_with_a_mapped_file(tmp_path):
    small, large = (peak_memory(tmp_path / "values.npy", rows) for rows in (200_000, 1_600_000))
    assert large < small + 2e6  # the file is 39 MB larger
