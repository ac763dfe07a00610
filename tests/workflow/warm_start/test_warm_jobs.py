"""Jobs of all stages in children of a real worker write the same bytes as jobs that start by themselves."""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
import time
from pathlib import Path

import pytest
from training_fixtures import backbone_settings, demonstrations, questions  # noqa: F401
from vla_settings import settings as vla_settings

from vlm4vla.config.stages import (
    AuxiliaryDataSettings,
    AuxiliarySettings,
    CapabilitySettings,
    RolloutSettings,
)
from vlm4vla.stages import auxiliary_data
from vlm4vla.workflow.warm_start import client, offering

pytestmark = [
    pytest.mark.timeout(900),
    pytest.mark.exhaustive,
    pytest.mark.skipif(sys.platform != "linux", reason="jobs start warm on Linux only"),
]
MAIN = "import sys; from vlm4vla.cli import main; sys.exit(main())"
NAMES = ("tokenizer.json", "score.json")
# Libraries that start threads or open displays when they are loaded.
NOT_IN_A_WORKER = ("libarrow", "libmujoco", "libEGL", "libGL", "libcuda.")


def run_environment() -> dict[str, str]:
    """The variables of a run. pytest changes one of its own from test to test."""
    return {name: value for name, value in os.environ.items() if name != "PYTEST_CURRENT_TEST"}


@pytest.fixture(scope="module")
def service(tmp_path_factory):
    """The folder of a worker's socket, and the worker."""
    environment = run_environment()
    worker = offering.start(environment)
    assert worker is not None
    folder = Path(environment["PATH"].split(os.pathsep)[0])
    limit = time.monotonic() + 300
    while not (folder / client.SOCKET).exists():
        assert worker.poll() is None and time.monotonic() < limit
        time.sleep(0.1)
    yield folder, worker
    offering.stop(worker, folder)


@pytest.fixture(scope="module")
def commands(tmp_path_factory, questions, demonstrations, backbone_settings):  # noqa: F811
    """The arguments of one job of each stage, in order, for the folder of the results."""
    data = tmp_path_factory.mktemp("data")
    given = AuxiliaryDataSettings(
        task="robo2vlm", train_pictures=20, held_out_pictures=8, image_size=64, seed=0
    )
    auxiliary_data.run(given, output=data)
    training = backbone_settings.recipe.training
    settings = {
        "backbone": backbone_settings,
        "auxiliary": AuxiliarySettings(
            name="tiny", task="robo2vlm", training=training, questions=4, image_size=64, seed=1
        ),
        "capability": CapabilitySettings.model_validate(
            {"capability": {"questions_per_set": 4, "sets": ["where", "colour"]}}
        ),
        "vla": vla_settings(benchmark="bridge"),
        "rollout": RolloutSettings.model_validate(
            {
                "policy": "vla",
                "backbone": "tiny",
                "variant": "full",
                "benchmark": "bridge",
                "seed": 5,
                "evaluation": {"episodes": 1, "max_steps": 8, "execution_horizon": 2, "videos": 1},
                "image_size": 64,
                "study": "test",
                "scale": "smoke",
            }
        ),
    }

    def made(root: Path) -> dict[str, list[str]]:
        inputs = {
            "backbone": {"questions": questions},
            "auxiliary": {"backbone": root / "backbone", "data": data},
            "capability": {"backbone": root / "backbone", "questions": questions},
            "vla": {"backbone": root / "backbone", "demonstrations": demonstrations},
            "rollout": {"vla": root / "vla"},
        }
        return {
            stage: [
                *(stage, "--settings", settings[stage].model_dump_json()),
                *(word for name, folder in inputs[stage].items() for word in (f"--{name}", str(folder))),
                *("--output", str(root / (f"{stage}.json" if stage == "capability" else stage))),
            ]
            for stage in inputs
        }

    return made


def contents(root: Path) -> dict[str, object]:
    """Weights, episodes, images, tokenizers and scores below `root`, without records of times."""
    found: dict[str, object] = {
        str(path.relative_to(root)): path.read_bytes()
        for path in root.rglob("*")
        if path.suffix in (".safetensors", ".parquet", ".gif") or path.name in NAMES
    }
    scores = json.loads((root / "capability.json").read_text())
    return found | {"capability": {name: scores[name] for name in ("sets", "overall")}}


def test_all_stages_write_the_same_bytes(service, commands, tmp_path):
    folder, worker = service
    environment = run_environment() | dict.fromkeys(offering._THREADS, "1")
    starts = {
        "warm": [sys.executable, "-I", "-S", client.__file__, str(folder)],
        "cold": [sys.executable, "-c", MAIN],
    }
    logs: dict[str, str] = {}
    for way, start in starts.items():
        for stage, arguments in commands(tmp_path / way).items():
            done = subprocess.run([*start, *arguments], env=environment, capture_output=True, text=True)
            assert done.returncode == 0, done.stdout + done.stderr
            logs[f"{way} {stage}"] = done.stdout
    cold, warm = (contents(tmp_path / way) for way in starts)
    assert {Path(name).suffix for name in cold} >= {".safetensors", ".parquet", ".gif"}
    assert cold.keys() == warm.keys() and [name for name in cold if cold[name] != warm[name]] == []

    for stage in commands(tmp_path):
        spent = {way: re.search(r"CPU time (\S+) s", logs[f"{way} {stage}"]) for way in starts}
        assert float(spent["warm"][1]) < 0.6 * float(spent["cold"][1]), stage
        # Snakemake cannot see the memory of the child, so the child says it: torch alone needs so much.
        assert int(re.search(r"peak memory (\d+) MB", logs[f"warm {stage}"])[1]) > 200
        assert "peak memory" not in logs[f"cold {stage}"]

    maps = Path(f"/proc/{worker.pid}/maps").read_text()
    assert "libtorch" in maps and not [name for name in NOT_IN_A_WORKER if name in maps]
    assert len(os.listdir(f"/proc/{worker.pid}/task")) == 1
