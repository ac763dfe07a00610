"""lmms-eval as another process, in an environment of its own."""

from __future__ import annotations

import contextlib
import ctypes
import os
import shutil
import signal
import subprocess
from collections.abc import Iterator, Sequence
from pathlib import Path

from vlm4vla.config.stages import LmmsEvalSettings
from vlm4vla.core.errors import UserError

RESULTS = "*_results.json"


PR_SET_PDEATHSIG = 1  # of prctl(2)


def score(settings: LmmsEvalSettings, backbone: Path, folder: Path) -> Path:
    """Run lmms-eval on the Hugging Face folder `backbone`; the path of its result file below `folder`."""
    python = interpreter(settings.environment)
    made = folder / "results"
    shutil.rmtree(made, ignore_errors=True)  # of a run that ended before its time
    made.mkdir(parents=True)
    command = [str(python), "-m", "lmms_eval", *arguments(settings, backbone, folder)]
    print(f"lmms-eval: {settings.name}, {len(settings.tasks)} tasks: its own lines follow", flush=True)
    with child(command, folder) as process:
        status = process.wait()
    files = sorted(made.rglob(RESULTS), key=lambda path: path.stat().st_mtime)
    if status or not files:
        wrong = f"ended with status {status}" if status else "wrote no result file"
        raise UserError(f"lmms-eval {wrong} for {settings.name}: its last lines above say why")
    return files[-1]


def arguments(settings: LmmsEvalSettings, backbone: Path, folder: Path) -> list[str]:
    """lmms-eval's command line. Raises UserError for a path that its comma-separated words cannot hold."""
    pretrained = str(backbone.resolve())
    if "," in pretrained or "=" in pretrained:
        raise UserError(
            f"{pretrained}: lmms-eval takes no path with a comma or an equals sign: move the results"
        )
    model = {"pretrained": pretrained, **settings.arguments}
    words = [
        *("--model", settings.model),
        *("--model_args", ",".join(f"{key}={value}" for key, value in model.items())),
        *("--tasks", ",".join(settings.tasks)),
        *("--batch_size", str(settings.batch)),
        *("--output_path", str(folder.resolve() / "results")),
        *("--use_cache", str(folder.resolve() / "cache")),
    ]
    if settings.limit is not None:
        words += ["--limit", str(settings.limit)]
    if settings.include is not None:
        words += ["--include_path", str(Path(settings.include).expanduser().resolve())]
    return words


def interpreter(environment: str) -> Path:
    """The Python of an environment's folder. Raises UserError when there is none."""
    python = Path(environment).expanduser() / "bin" / "python"
    if not python.exists():
        raise UserError(
            f"capability.lmms_eval.environment: no {str(python)!r}: run `make env-lmms-eval`, or write the "
            "folder of the environment that has lmms-eval"
        )
    return python.absolute()


@contextlib.contextmanager
def child(command: Sequence[str], folder: Path) -> Iterator[subprocess.Popen]:
    """A process in `folder` that ends with this one, however this one ends."""
    earlier = signal.signal(signal.SIGTERM, _leave)
    libc = ctypes.CDLL(None, use_errno=True)
    process = subprocess.Popen(
        command,
        cwd=folder,  # some tasks write files where they run
        env=os.environ | {"PYTHONUNBUFFERED": "1"},
        preexec_fn=lambda: libc.prctl(PR_SET_PDEATHSIG, signal.SIGTERM),
    )
    try:
        yield process
    finally:
        if process.poll() is None:
            process.terminate()
            process.wait()
        signal.signal(signal.SIGTERM, earlier)


def _leave(number: int, frame: object) -> None:
    raise SystemExit(128 + number)
