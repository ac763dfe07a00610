"""Benchmark files that Snakemake did not write, or wrote half: the cost is unknown, and nothing fails."""

import pytest

from vlm4vla.report.pages.cost import read_cost

HEADER = "s\th:m:s\tmax_rss\tcpu_time\n"


@pytest.mark.parametrize(
    "content",
    [
        b"",
        b"\xff\xfe\x00",
        b'"' + b"a" * 200_000,
        HEADER.encode(),
        (HEADER + "nan\tx\tinf\t-inf\n").encode(),
        (HEADER + "-\t-\tNA\t\n").encode(),
        (HEADER + "1e999\n").encode(),
    ],
)
def test_a_file_without_a_cost(tmp_path, content):
    path = tmp_path / "a.tsv"
    path.write_bytes(content)
    cost = read_cost(path)
    assert (cost.cpu, cost.wall, cost.memory) == (0, 0, 0)


def test_the_last_row_counts(tmp_path):
    path = tmp_path / "a.tsv"
    path.write_text(HEADER + "9\t0:00:09\t8\t7\n3\t0:00:03\t20.5\t2\n")
    cost = read_cost(path)
    assert (cost.cpu, cost.wall, cost.memory) == (2, 3, 20.5)
