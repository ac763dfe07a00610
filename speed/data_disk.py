"""Disk of the data of the study at the embedded scale, and CPU time to write and to read it, for two builds.

The program runs the stages questions, demonstrations, auxiliary-data and fast-data of config.yaml, once with
this checkout and once with another one (--before). The sizes grow with the number of pictures and episodes,
so each stage makes only a share of them (--share), and the program divides the bytes by this share. It also
reads every image of the question sets in batches of 64, in random order, and compares the pixels of the two
builds. It prints a table and JSON.

    python speed/data_disk.py [--before ../a-checkout-of-an-older-commit] [--share 0.125] [--folder FOLDER]
"""

from __future__ import annotations

import argparse
import json
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import Any

from builds import children_seconds, environment_of

from vlm4vla.config.layers import read_layers
from vlm4vla.study.study import Study
from vlm4vla.workflow.jobs import Job, plan

HERE = Path(__file__).parents[1]
STAGES = ("questions", "demonstrations", "auxiliary_data")
COUNTS = ("train_pictures", "held_out_pictures", "episodes", "pictures")
REPEATS = 3
# Prints the SHA-256 of the pixels of both splits, and the CPU seconds of reading them.
READER = """
import hashlib, sys, time
from pathlib import Path
import numpy as np
try:
    from vlm4vla.data.questions.reading import read_questions
except ImportError:  # of an older version
    from vlm4vla.data.questions import read_questions
digest, spent = hashlib.sha256(), 0.0
for split in ("train", "held_out"):
    start = time.process_time()
    found = read_questions(Path(sys.argv[1]), split)
    order = np.random.default_rng(0).permutation(len(found))
    pages = [found.images(order[at : at + 64]) for at in range(0, len(order), 64)]
    spent += time.process_time() - start
    for page in pages:
        digest.update(page.tobytes())
print(digest.hexdigest(), spent)
"""


def reduced(settings: Any, share: float) -> Any:
    """The settings with `share` of all counts of pictures and episodes."""
    if not isinstance(settings, dict):
        return settings
    return {
        name: max(round(share * value), 16) if name in COUNTS and value else reduced(value, share)
        for name, value in settings.items()
    }


def pictures(settings: Any) -> int:
    """The sum of all counts of pictures and episodes."""
    if not isinstance(settings, dict):
        return 0
    return sum(value if name in COUNTS else pictures(value) for name, value in settings.items() if value)


def run(code: Path, *words: str) -> float:
    """CPU seconds of a stage by the build `code`."""
    command = [sys.executable, "-m", "vlm4vla.cli", *words]
    with children_seconds() as spent:
        done = subprocess.run(command, env=environment_of(code), capture_output=True, text=True)
    if done.returncode:
        sys.exit(f"{code}: {' '.join(words[:1])} failed:\n{done.stderr.strip()[-2000:]}")
    return spent[0]


def make(code: Path, job: Job, share: float, folder: Path) -> dict[str, float]:
    """Make a share of a job's data, and return its megabytes and CPU seconds at the whole number."""
    settings = reduced(job.settings, share)
    output = folder / job.stage / "-".join(job.key)
    stage = job.stage.replace("_", "-")
    words = ["--settings", json.dumps(settings), "--output", str(output)]
    if "fast" in settings:
        stage = "fast-data"
        benchmark = settings["fast"]["benchmark"]
        words += ["--demonstrations", str(folder / "demonstrations" / benchmark)]
    factor = pictures(job.settings) / pictures(settings)
    write = run(code, stage, *words)
    size = sum(path.stat().st_size for path in output.rglob("*") if path.is_file())
    made = {"megabytes": size * factor / 1e6, "write": write * factor}
    if job.stage != "demonstrations":
        command = [sys.executable, "-c", READER, str(output)]
        found = [
            subprocess.run(command, env=environment_of(code), check=True, stdout=subprocess.PIPE, text=True)
            for _ in range(REPEATS)
        ]
        digests, spent = zip(*(done.stdout.split() for done in found), strict=True)
        made |= {"read": min(map(float, spent)) * factor, "pixels": digests[0]}
    return made


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--before", type=Path, help="another checkout")
    parser.add_argument("--share", type=float, default=0.125, help="of the pictures and episodes")
    parser.add_argument("--folder", type=Path, help="keep the data in this folder")
    parser.add_argument("--config", type=Path, nargs="*", default=[], help="more layers of the configuration")
    arguments = parser.parse_args()
    jobs = plan(Study(read_layers([HERE / "config.yaml", *arguments.config])))
    chosen = sorted(
        (job for job in jobs.values() if job.stage in STAGES), key=lambda j: STAGES.index(j.stage)
    )
    builds = {"before": arguments.before, "now": HERE} if arguments.before else {"now": HERE}
    rows: dict[str, dict[str, dict[str, float]]] = {}
    with tempfile.TemporaryDirectory() as name:
        root = arguments.folder or Path(name)
        for job in chosen:
            key = "/".join((job.stage, *job.key)).rstrip("/")
            rows[key] = {b: make(code, job, arguments.share, root / b) for b, code in builds.items()}
    print(json.dumps({"share": arguments.share, "rows": rows}, indent=1))
    print(table(rows))
    if len(builds) == 2 and any(
        each["before"].get("pixels") != each["now"].get("pixels") for each in rows.values()
    ):
        sys.exit("the pixels of the two builds differ")


def table(rows: dict[str, dict[str, dict[str, float]]]) -> str:
    """Megabytes, and CPU seconds to write and to read, of each build."""
    builds = list(next(iter(rows.values())))
    lines = ["| data | " + " | ".join(f"MB, write, read {build}" for build in builds) + " |"]
    lines.append("| --- |" + " --- |" * len(builds))
    names = ("megabytes", "write", "read")
    total = {b: {n: sum(row[b].get(n, 0.0) for row in rows.values()) for n in names} for b in builds}
    for key, row in [*rows.items(), ("all", total)]:
        cells = [", ".join(f"{row[b][n]:.1f}" for n in names if n in row[b]) for b in builds]
        lines.append(f"| {key} | " + " | ".join(cells) + " |")
    return "\n".join(lines)


if __name__ == "__main__":
    main()
