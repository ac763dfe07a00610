"""The CPU time that a job records, held against known loads and against the time that its parent measures."""

import json
import os
import subprocess
import sys

import pytest

from vlm4vla.core import cpu_time, imports
from vlm4vla.core.artefacts import Provenance

OWN, CHILDS, POOLS = 1.5, 1.0, 0.7  # CPU seconds that the job burns itself, in a child and in a pool
BURN = """
import time
def burn(seconds):
    begin = time.process_time()
    while time.process_time() - begin < seconds:
        pass
"""
# The command `summary`, which a rule runs, with a known load instead of its work.
JOB = """
import dataclasses, json, subprocess, sys
from load import burn
from vlm4vla import cli
from vlm4vla.core.artefacts import Provenance

def work(arguments):
    import concurrent.futures
    global pool
    begin = Provenance("summary", {{}}, {{}}, None)
    burn({own})
    subprocess.run([sys.executable, "-c", "from load import burn; burn({childs})"], check=True)
    begin.write(arguments.output)
    pool = concurrent.futures.ProcessPoolExecutor(1)  # it ends with the process
    pool.submit(burn, {pools}).result()
    if {fails}:
        raise cli.UserError("no")

cli.COMMANDS["summary"] = dataclasses.replace(cli.COMMANDS["summary"], run=work)
if __name__ == "__main__":
    sys.argv[1:] = ["summary", "--analysis", "a.json", "--output", "provenance.json"]
    sys.exit({call})
"""


@pytest.fixture
def job(tmp_path):
    (tmp_path / "load.py").write_text(BURN)

    def run(call: str = "cli.main()", fails: bool = False) -> tuple[str, float, int]:
        """The job's log, the CPU seconds that the kernel tells its parent, and its exit status."""
        code = JOB.format(own=OWN, childs=CHILDS, pools=POOLS, call=call, fails=fails)
        (tmp_path / "job.py").write_text(code)
        log = tmp_path / "a.log"
        with log.open("w") as file:
            process = subprocess.Popen(
                [sys.executable, "job.py"], cwd=tmp_path, stdout=file, stderr=subprocess.STDOUT
            )
            _, status, usage = os.wait4(process.pid, 0)
            process.returncode = os.waitstatus_to_exitcode(status)  # `wait4` has waited for it
        return log.read_text(), usage.ru_utime + usage.ru_stime, process.returncode

    return run


def test_a_known_load_is_recorded(job, tmp_path):
    text, measured, status = job()
    assert status == 0, text
    *_, done, last = text.splitlines()
    assert done.startswith("summary: done in ")
    spent = cpu_time.read_log(tmp_path / "a.log")
    assert last == cpu_time.line("summary", spent)
    # All but the last moments of the exit. Snakemake's own figure may lack up to 30 seconds.
    assert measured - 0.3 < spent.total <= measured + 0.02
    load = OWN + CHILDS + POOLS
    assert load + spent.start_up < spent.total < measured
    assert 0.1 < spent.start_up < measured - load
    record = cpu_time.JobTime(*recorded(tmp_path))
    assert record.total < spent.total - POOLS + 0.2  # the pool came after the record
    assert OWN + CHILDS + record.start_up < record.total


def recorded(folder):
    record = json.loads((folder / "provenance.json").read_text())
    return record["cpu_seconds"], record["start_up_seconds"]


def test_a_job_that_failed_has_no_time(job, tmp_path):
    text, _, status = job(fails=True)
    assert status == 1 and "error: no" in text
    assert cpu_time.read_log(tmp_path / "a.log") is None


def test_a_command_inside_another_program_counts_only_itself(job, tmp_path):
    """A program may call the command in its own process: the rest of that process is not the job's."""
    text, measured, status = job("burn(2) or cli.main(sys.argv[1:])")
    assert status == 0, text
    assert cpu_time.read_log(tmp_path / "a.log") is None
    total, start_up = recorded(tmp_path)
    assert OWN + CHILDS < total < measured - 2
    assert start_up == pytest.approx(0, abs=0.05)


def test_of_several_lines_the_last_counts(tmp_path):
    log = tmp_path / "a.log"
    log.write_text(f"x: CPU time 9.00 s, start-up 1.00 s\n{'y' * 9000}\n")
    assert cpu_time.read_log(log) is None  # that line is far from the end
    with log.open("a") as file:
        file.write("a: CPU time 1.25 s, start-up 0.50 s\nfast-data: CPU time 12.50 s, start-up 2.00 s\n")
    assert cpu_time.read_log(log) == (12.5, 2.0)
    assert cpu_time.read_log(tmp_path / "missing.log") is None
    log.write_bytes(b"\xff\xfe" + b"b: CPU time 3.00 s, start-up 1.00 s")
    assert cpu_time.read_log(log) is None  # other text before it on its line


def test_the_time_starts_with_the_provenance(monkeypatch):
    monkeypatch.setattr(imports, "_spent", 5.0)
    provenance = Provenance("vla", {}, {}, 0)
    monkeypatch.setattr(imports, "_spent", 7.25)
    record = provenance.record()
    assert record["start_up_seconds"] == pytest.approx(2.25)
    assert 0 <= record["cpu_seconds"] < 5  # not the time of the tests before
