"""The memory that a job prints, held against a known allocation and against the kernel's own figure."""

import os
import subprocess
import sys

import pytest

from vlm4vla.core import peak_memory
from vlm4vla.report.pages.cost import read_cost

CODE = """
from vlm4vla.core import peak_memory
kept = bytearray(300 * 2**20)
kept[::4096] = b"x" * len(kept[::4096])
del kept
print(peak_memory.line("vla"))
"""


@pytest.fixture
def log(tmp_path):
    path = tmp_path / "logs" / "vla" / "a.log"
    path.parent.mkdir(parents=True)
    return path


def test_the_largest_memory_counts_even_if_it_is_free_again(log):
    with log.open("w") as file:
        process = subprocess.Popen([sys.executable, "-c", CODE], stdout=file)
        _, status, usage = os.wait4(process.pid, 0)
    process.returncode = os.waitstatus_to_exitcode(status)
    assert process.returncode == 0
    assert 300 < peak_memory.read_log(log) < 400
    assert peak_memory.read_log(log) == pytest.approx(usage.ru_maxrss / 1024, abs=2)


def test_of_several_lines_the_last_counts_and_other_lines_do_not(log):
    assert peak_memory.read_log(log) == 0
    log.write_text("it says: peak memory 9 MB\nvla: peak memory 700 MB\nvla: peak memory 600 MB\nend\n")
    assert peak_memory.read_log(log) == 600


@pytest.mark.parametrize(("seen", "expected"), [("11", 600), ("800", 800)])
def test_the_cost_of_a_job_has_the_larger_memory(tmp_path, log, seen, expected):
    """Snakemake sees the small client of a job that started warm."""
    table = tmp_path / "benchmarks" / "vla" / "a.tsv"
    table.parent.mkdir(parents=True)
    table.write_text(f"s\tmax_rss\tcpu_time\n3\t{seen}\t2\n")
    log.write_text("vla: peak memory 600 MB\nvla: CPU time 5.00 s, start-up 0.10 s\n")
    cost = read_cost(tmp_path, "vla/a")
    assert (cost.memory, cost.cpu) == (expected, 5)
