"""CPU time of a dry run of the paper's study with five training seeds, beside another build of this package.

The program runs `snakemake --dry-run all_tables` in this checkout and, in turn, in another one (--before). It
reports the user and system time of the process with its children, the best of all repeats. It also compares
everything that the two runs print, shell commands and settings included, apart from the order of lines and of
paths in a line, the numbers of jobs, and the header. The program prints JSON.

    python speed/dry_run.py [--before ../a-checkout-of-an-older-commit] [--repeats 3] [--seeds 5]
"""

from __future__ import annotations

import argparse
import json
import os
import re
import resource
import subprocess
import sys
from pathlib import Path

HERE = Path(__file__).parents[1]
LAYERS = ("workflow/scales/paper.yaml",)
HEADER = re.compile(r"^  [A-Z][\w() -]*: ")  # folders, dates and hashes of a run
CLOCK = re.compile(r"\[\w{3} \w{3} +\d+ [\d:]+ \d{4}\]")
NUMBER = re.compile(r"^(Job |    jobid: )\d+")


def command(layers: tuple[str, ...], seeds: int, targets: list[str]) -> list[str]:
    """The command of the dry run, for a checkout's root as the working directory."""
    program = [sys.executable, "-m", "snakemake", "--dry-run", "--cores", "2", "--printshellcmds", *targets]
    files = ["--configfile", *layers] if layers else []
    return [*program, *files, "--config", f"seeds={json.dumps(list(range(seeds)))}"]


def dry_run(checkout: Path, words: list[str]) -> tuple[float, str]:
    """CPU seconds of one dry run in `checkout`, and what it printed. Raises CalledProcessError."""
    environment = os.environ | {"PYTHONPATH": str(checkout / "src"), "OMP_NUM_THREADS": "1"}
    before = resource.getrusage(resource.RUSAGE_CHILDREN)
    output = subprocess.run(
        words, cwd=checkout, env=environment, check=True, text=True, stdout=subprocess.PIPE
    ).stdout
    after = resource.getrusage(resource.RUSAGE_CHILDREN)
    return after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime, output


def planned(output: str) -> list[tuple[str, ...]]:
    """The lines of a dry run in a form that does not depend on the order in which Snakemake printed them."""
    lines = []
    for line in output.splitlines():
        if CLOCK.fullmatch(line) or HEADER.match(line):
            continue
        line = NUMBER.sub(r"\1N", line)
        is_list = re.match(r" *(reason|input|Reason)\b", line)
        # Snakemake joins sets of paths by ", ", and reasons by "; "
        lines.append(tuple(sorted(re.split(r", |; |: ", line))) if is_list else (line,))
    return sorted(lines)


def without_commands(lines: list[tuple[str, ...]]) -> list[tuple[str, ...]]:
    """The lines without the shell commands."""
    return [line for line in lines if not line[0].startswith("Shell command:")]


def jobs_in(output: str) -> int:
    """The number of jobs that a dry run announced."""
    found = re.search(r"^total +(\d+)$", output, re.MULTILINE)
    return int(found[1]) if found else 0


def measure(before: Path | None, words: list[str], repeats: int) -> dict[str, object]:
    """The report: best CPU seconds of each build, their ratio, and whether both planned the same jobs."""
    builds = {"now": HERE} | ({"before": before.resolve()} if before is not None else {})
    seconds: dict[str, list[float]] = {name: [] for name in builds}
    outputs: dict[str, str] = {}
    for _ in range(repeats):
        for name, checkout in builds.items():
            spent, outputs[name] = dry_run(checkout, words)
            seconds[name].append(round(spent, 2))
    best = {name: min(times) for name, times in seconds.items()}
    report: dict[str, object] = {
        "jobs": jobs_in(outputs["now"]),
        "cpu_seconds": best,
        "cpu_seconds_of_each_run": seconds,
    }
    if before is not None:
        report["ratio"] = round(best["now"] / best["before"], 3)
        now, then = (planned(outputs[name]) for name in ("now", "before"))
        report["same_jobs"] = without_commands(now) == without_commands(then)
        report["same_jobs_and_commands"] = now == then  # a command has the settings of its stage
    return report


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--before", type=Path, help="the root of a checkout of another commit")
    parser.add_argument("--repeats", type=int, default=3)
    parser.add_argument("--seeds", type=int, default=5, help="number of training seeds")
    parser.add_argument("--target", default="all_tables")
    parser.add_argument("--embedded", action="store_true", help="plan the embedded study, not the paper's")
    arguments = parser.parse_args()
    words = command(() if arguments.embedded else LAYERS, arguments.seeds, [arguments.target])
    print(json.dumps(measure(arguments.before, words, arguments.repeats), indent=2))


if __name__ == "__main__":
    main()
