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

# Runs a command and prints the kernel's figure of its memory. The kernel counts the memory of the process
# that forks, too: this one is small, and the process of the tests is not.
LAUNCH = """
import os, sys
pid = os.fork()
if pid == 0:
    os.execv(sys.executable, [sys.executable, "-c", sys.argv[1]])
_, status, usage = os.wait4(pid, 0)
print("kernel", usage.ru_maxrss)
sys.exit(os.waitstatus_to_exitcode(status))
"""

# Fills 600 MB, and then starts a command in the same process, or forks and measures.
LARGE = """
import os, sys
kept = bytearray(600 * 2**20)
kept[::4096] = b"x" * len(kept[::4096])
"""
REPLACED = LARGE + "os.execv(sys.executable, [sys.executable, '-c', sys.argv[1]])"
FORKED = (
    LARGE
    + """
from vlm4vla.core import peak_memory
if sys.argv[1] == "after":
    del kept
if os.fork() == 0:
    print(peak_memory.line("vla"))
else:
    os.wait()
"""
)


@pytest.fixture
def log(tmp_path):
    path = tmp_path / "logs" / "vla" / "a.log"
    path.parent.mkdir(parents=True)
    return path


def run(log, *arguments):
    done = subprocess.run([sys.executable, "-c", *arguments], stdout=subprocess.PIPE, text=True, check=True)
    log.write_text(done.stdout)
    return done.stdout


def test_the_largest_memory_counts_even_if_it_is_free_again(log):
    kernel = int(run(log, LAUNCH, CODE).partition("kernel")[2]) / 1024
    assert 300 < peak_memory.read_log(log) < 400
    assert peak_memory.read_log(log) == pytest.approx(kernel, abs=2)


@pytest.mark.skipif(not os.path.exists("/proc/self/status"), reason="the system has no VmHWM")
def test_memory_of_a_program_that_the_process_ran_before_does_not_count(log):
    run(log, REPLACED, CODE)
    assert 300 < peak_memory.read_log(log) < 400


@pytest.mark.parametrize(("freed", "low", "high"), [("never", 600, 700), ("after", 0, 100)])
def test_a_forked_job_counts_what_it_shares_with_its_worker_at_the_fork(log, freed, low, high):
    run(log, FORKED, freed)
    assert low < peak_memory.read_log(log) < high


def test_a_system_without_the_file_has_the_figure_of_getrusage(monkeypatch, tmp_path):
    before = peak_memory.megabytes()
    monkeypatch.setattr(peak_memory, "_STATUS", tmp_path / "none")
    assert peak_memory.megabytes() >= before > 0


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
