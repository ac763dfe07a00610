"""Disk of the data of the study at the embedded scale, and CPU time to write and to read it, for two builds.

The program runs the stages questions, demonstrations, auxiliary-data and fast-data of config.yaml, once with
this checkout and once with another one (--before). Each version has its own config.yaml. The sizes grow with
the number of pictures and episodes, so each stage makes only a share of them (--share), and the program
divides the bytes by this share. It also reads every image of the question sets in batches of 64, in random
order. It compares the pixels of the two versions where their settings are equal. It prints a table and JSON.

    python speed/data_disk.py [--before ../a-checkout-of-an-older-commit] [--share 0.125] [--folder FOLDER]
"""

from __future__ import annotations

import argparse
import json
import subprocess
import sys
import tempfile
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from builds import children_seconds, environment_of, read_commands

HERE = Path(__file__).parents[1]
STAGES = ("questions", "demonstrations", "auxiliary-data", "fast-data")
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


def outputs(commands: Sequence[Sequence[str]]) -> dict[str, tuple[str, Any]]:
    """The stage and the settings of each command, by output folder below the results, in order of stages."""
    chosen: dict[str, tuple[str, Any]] = {}
    for stage in STAGES:
        for name, *words in sorted(commands):
            if name == stage:
                options = dict(zip(words[::2], words[1::2], strict=True))
                output = "/".join(Path(options["--output"]).parts[2:])
                chosen[output] = (stage, json.loads(options["--settings"]))
    return chosen


def make(
    code: Path, output: str, stage: str, settings: Any, share: float, folder: Path
) -> dict[str, float | str]:
    """Make a share of a job's data, and return its megabytes and CPU seconds at the whole number."""
    whole, settings = settings, reduced(settings, share)
    target = folder / output
    words = ["--settings", json.dumps(settings), "--output", str(target)]
    if stage == "fast-data":
        words += ["--demonstrations", str(folder / "demonstrations" / settings["fast"]["benchmark"])]
    factor = pictures(whole) / pictures(settings)
    write = run(code, stage, *words)
    size = sum(path.stat().st_size for path in target.rglob("*") if path.is_file())
    made: dict[str, float | str] = {"megabytes": size * factor / 1e6, "write": write * factor}
    if stage != "demonstrations":
        command = [sys.executable, "-c", READER, str(target)]
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
    builds = {"before": arguments.before, "now": HERE} if arguments.before else {"now": HERE}
    layers = [str(path.absolute()) for path in arguments.config]
    plans = {b: outputs(read_commands(code, sys.executable, layers)) for b, code in builds.items()}
    rows: dict[str, dict[str, dict[str, float | str]]] = {}
    with tempfile.TemporaryDirectory() as name:
        root = arguments.folder or Path(name)
        for key in plans["now"]:
            rows[key] = {
                b: make(code, key, *plans[b][key], arguments.share, root / b)
                for b, code in builds.items()
                if key in plans[b]
            }
    print(json.dumps({"share": arguments.share, "rows": rows}, indent=1))
    print(table(rows, list(builds)))
    if "before" in plans:
        equal = [key for key, job in plans["now"].items() if plans["before"].get(key) == job]
        different = [
            key for key in equal if rows[key]["before"].get("pixels") != rows[key]["now"].get("pixels")
        ]
        if different:
            sys.exit(f"{', '.join(different)}: the pixels of the two builds differ")
        print(f"equal settings and pixels: {', '.join(equal) or 'none'}")


def table(rows: Mapping[str, Mapping[str, Mapping[str, Any]]], builds: Sequence[str]) -> str:
    """Megabytes, and CPU seconds to write and to read, of each build."""
    lines = ["| data | " + " | ".join(f"MB, write, read {build}" for build in builds) + " |"]
    lines.append("| --- |" + " --- |" * len(builds))
    names = ("megabytes", "write", "read")
    total = {
        b: {n: sum(row[b].get(n, 0.0) for row in rows.values() if b in row) for n in names} for b in builds
    }
    for key, row in [*rows.items(), ("all", total)]:
        cells = [", ".join(f"{row[b][n]:.1f}" for n in names if n in row.get(b, {})) for b in builds]
        lines.append(f"| {key} | " + " | ".join(cells) + " |")
    return "\n".join(lines)


if __name__ == "__main__":
    main()
