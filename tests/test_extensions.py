"""Extension files: the names that they register, the settings that depend on them, their error messages."""

from __future__ import annotations

import hashlib
import json
import os
import subprocess
import sys
from pathlib import Path
from types import SimpleNamespace

import pytest
import yaml
from fast_yaml import load_yaml

from vlm4vla import extensions
from vlm4vla.auxiliary.lookup import get_task
from vlm4vla.config.config import load_config
from vlm4vla.core import registry
from vlm4vla.core.errors import UserError
from vlm4vla.data.questions.dataset import TRAIN
from vlm4vla.data.questions.reading import read_questions
from vlm4vla.study.runs import Run
from vlm4vla.study.study import Study
from vlm4vla.workflow.preflight import open_study

REPOSITORY = Path(__file__).parents[1]
EXAMPLES = REPOSITORY / "docs" / "examples"
TASK = """
from vlm4vla.extensions import AuxiliaryTask, auxiliary_task

@auxiliary_task
class Mine(AuxiliaryTask):
    name = "mine"

    def pictures(self, split, count, seed, image_size):
        return iter(())
"""
BENCHMARK = """
from vlm4vla.extensions import Benchmark, Gripper, benchmark

@benchmark
class Mine(Benchmark):
    name = "mine"
    position_unit = rotation_unit = speed = turn = 1.0
    gripper = Gripper(open=0.0, close=1.0)

    def instructions(self):
        return []

    def demonstration(self, index, seed):
        raise NotImplementedError

    def evaluation(self, episodes, seed):
        raise NotImplementedError
"""


@pytest.fixture(autouse=True)
def empty_registry(monkeypatch):
    """Names that a test registers are forgotten after the test."""
    monkeypatch.setattr(registry, "_active", None)
    monkeypatch.setenv(registry.VARIABLE, "")


@pytest.fixture
def raw(tmp_path) -> dict:
    raw = load_yaml((REPOSITORY / "config.yaml").read_text())
    return raw | {"results": str(tmp_path / "results"), "minimum_free_gb": 0}


@pytest.fixture
def own(raw) -> dict:
    """The configuration with the three example files and the names that they add."""
    raw["extensions"] = [str(EXAMPLES / name) for name in ("smolvlm.py", "push_button.py", "leftmost.py")]
    raw["backbones"]["small"] = raw["backbones"]["kosmos-2"] | {"family": "smolvlm"}
    raw["benchmarks"]["push-button"] = raw["benchmarks"]["bridge"]
    raw["auxiliary"]["tasks"]["leftmost"] = {}
    return raw


def write(tmp_path: Path, text: str, name: str = "mine.py") -> str:
    path = tmp_path / name
    path.write_text(text)
    return str(path)


def refused(path: str) -> str:
    with pytest.raises(UserError) as error:
        registry.activate([path])
    assert "\n" not in str(error.value)
    return str(error.value)


# Registered names -----------------------------------------------------------------------------------


def test_names_are_registered_while_the_configuration_lists_their_file(raw, tmp_path):
    raw["auxiliary"]["tasks"]["mine"] = {}
    with pytest.raises(UserError, match=r"^config.yaml: auxiliary.tasks.mine: unknown value 'mine': "):
        load_config(raw)
    config = load_config(raw | {"extensions": [write(tmp_path, TASK)]})
    assert "mine" in config.auxiliaries()
    assert type(get_task("mine")).__name__ == "Mine"
    with pytest.raises(UserError, match="unknown value 'mine'"):
        load_config(raw)
    with pytest.raises(UserError, match="unknown task 'mine'"):
        get_task("mine")


def test_a_suggestion_may_be_a_users_own_name(own):
    own["tables"]["main"]["benchmarks"].append("push-buton")
    with pytest.raises(UserError) as error:
        load_config(own)
    assert str(error.value) == (
        "config.yaml: tables.main.benchmarks.3: unknown value 'push-buton': did you mean 'push-button'?"
    )
    own["tables"]["main"]["benchmarks"].remove("push-buton")
    own["backbones"]["small"]["family"] = "smolvl"
    with pytest.raises(UserError, match=r"family: unknown family 'smolvl': did you mean 'smolvlm'\?$"):
        open_study(own)


def test_one_file_may_have_several_classes(tmp_path):
    more = TASK.replace("class Mine", "class Other").replace('"mine"', '"other"')
    registry.activate([write(tmp_path, TASK + more)])
    assert registry.names("auxiliary task") == ["mine", "other"]
    assert registry.hash_of("auxiliary task", "mine") == registry.hash_of("auxiliary task", "other")


def test_two_kinds_may_use_the_same_name(tmp_path):
    registry.activate([write(tmp_path, TASK), write(tmp_path, BENCHMARK, "scene.py")])
    assert registry.find("auxiliary task", "mine") is not registry.find("benchmark", "mine")
    assert registry.find("family", "mine") is None


def test_the_hashed_code_is_the_code_that_runs(tmp_path):
    """A file that changes within the same second and keeps its length is read again."""
    path = write(tmp_path, TASK)
    registry.activate([path])
    times = os.stat(path).st_atime_ns, os.stat(path).st_mtime_ns
    write(tmp_path, TASK.replace('"mine"', '"nine"'))
    os.utime(path, ns=times)
    registry.activate([path])
    assert registry.names("auxiliary task") == ["nine"]
    assert registry.hash_of("auxiliary task", "nine") == hashlib.sha256(Path(path).read_bytes()).hexdigest()
    assert not list(tmp_path.rglob("*.pyc"))


def test_gripper_of_a_users_benchmark(tmp_path):
    from vlm4vla.conventions.benchmarks import gripper

    with pytest.raises(KeyError, match="known: calvin, bridge, libero-10"):
        gripper("mine")
    registry.activate([write(tmp_path, BENCHMARK)])
    assert (gripper("mine").open, gripper("mine").close) == (0.0, 1.0)
    assert gripper("bridge").open == 1.0


def test_a_benchmark_of_chains_has_the_metrics_of_chains(tmp_path):
    from vlm4vla.conventions.benchmarks import facts

    chains = BENCHMARK.replace('"mine"', '"mine"; title = "Mine"; instructions_per_episode = 3')
    registry.activate([write(tmp_path, chains)])
    found = facts("mine")
    assert found.is_chain and found.title == "Mine"
    assert found.metrics == ("average_length", "success_at_1", "success_at_2", "success_at_3")
    assert (found.maximum("average_length"), found.maximum("success_at_2")) == (3.0, 1.0)
    registry.activate([])
    assert facts("mine").metrics == ("success_rate",)


@pytest.mark.parametrize("name", extensions.EXPORTS)
def test_every_name_of_the_extensions_module_can_be_imported(name):
    assert getattr(extensions, name) is not None
    with pytest.raises(AttributeError, match=f"no attribute '{name}s'"):
        getattr(extensions, f"{name}s")


# Settings that depend on a file ---------------------------------------------------------------------


def settings(study: Study) -> dict[str, dict]:
    """The settings of every kind of job, by kind and name."""
    found = {"questions": study.questions_settings(), "capability": study.capability_settings()}
    for vlm in study.config.backbones:
        found[f"backbone {vlm}"] = study.backbone_settings(SimpleNamespace(vlm=vlm))
    for task in study.config.auxiliary.tasks:
        wildcards = SimpleNamespace(task=task, vlm="kosmos-2")
        found[f"data {task}"] = study.auxiliary_data_settings(wildcards)
        found[f"auxiliary {task}"] = study.auxiliary_settings(wildcards)
    for name in study.config.benchmarks:
        found[f"demonstrations {name}"] = study.demonstrations_settings(SimpleNamespace(benchmark=name))
        run = Run("kosmos-2", "none", "full", name, 0)
        found[f"vla {name}"] = study.vla_settings(run)
        found[f"rollout {name}"] = study.rollout_settings(run)
        found[f"expert {name}"] = study.reference_settings(SimpleNamespace(policy="expert", benchmark=name))
    for table in study.tables():
        found[f"table {table}"] = study.table_settings(table)
    found |= {"config": study.config_json(), "films": study.film_settings()}
    return {name: json.loads(text) for name, text in found.items()}


def test_only_jobs_that_run_a_file_have_its_hash(own):
    found = settings(Study(load_config(own)))
    hashes = {path.name: hashlib.sha256(path.read_bytes()).hexdigest() for path in EXAMPLES.glob("*.py")}
    assert {name: each["extension"] for name, each in found.items() if "extension" in each} == {
        "backbone small": hashes["smolvlm.py"],
        "data leftmost": hashes["leftmost.py"],
        "demonstrations push-button": hashes["push_button.py"],
        "rollout push-button": hashes["push_button.py"],
        "expert push-button": hashes["push_button.py"],
    }


def test_settings_without_extension_files_do_not_mention_extensions(raw):
    """The keys `extension` and `extensions` are left out, also if the list is empty."""
    study = Study(load_config(raw))
    found = settings(study)
    assert not [name for name, each in found.items() if "extension" in each or "extensions" in each]
    again = Study(load_config(raw | {"extensions": []}))
    assert settings(again) == found and again.config_json() == study.config_json()


def test_extension_files_do_not_change_settings_of_built_in_names(own):
    before = settings(Study(load_config(load_yaml((REPOSITORY / "config.yaml").read_text()))))
    after = settings(Study(load_config(own)))
    changed = {name for name in before if before[name] != after[name]}
    assert changed == {
        "config",
        "table main",
        "table correlation",
        "table transfer",
        "films",
    }  # all backbones


# Jobs -----------------------------------------------------------------------------------------------


def stage(output: Path, digest: str | None, files: str | None) -> subprocess.CompletedProcess:
    """Run the stage auxiliary-data for `leftmost` as a job does."""
    given = {"task": "leftmost", "train_pictures": 4, "held_out_pictures": 2, "image_size": 64, "seed": 0}
    given |= {"extension": digest} if digest else {}
    command = [sys.executable, "-m", "vlm4vla.cli", "auxiliary-data", "--settings", json.dumps(given)]
    environment = {name: value for name, value in os.environ.items() if name != registry.VARIABLE}
    environment |= {registry.VARIABLE: files} if files else {}
    return subprocess.run(
        [*command, "--output", str(output)], env=environment, capture_output=True, text=True, timeout=300
    )


def test_a_job_runs_the_files_in_the_environment_variable(own, tmp_path):
    open_study(own)
    registry.share()
    files = os.environ[registry.VARIABLE]
    assert files.split(os.pathsep) == own["extensions"]
    done = stage(tmp_path / "data", registry.hash_of("auxiliary task", "leftmost"), files)
    assert done.returncode == 0, done.stderr
    statements = read_questions(tmp_path / "data", TRAIN).statements
    assert {statement.set for statement in statements} == {"leftmost"}
    record = json.loads((tmp_path / "data" / "provenance.json").read_text())
    assert (
        record["settings"]["extension"] == hashlib.sha256((EXAMPLES / "leftmost.py").read_bytes()).hexdigest()
    )
    load_config(_plain(own))
    registry.share()
    assert registry.VARIABLE not in os.environ


def _plain(own: dict) -> dict:
    """The configuration without the names that the example files add."""
    plain = {key: value for key, value in own.items() if key != "extensions"}
    plain["backbones"] = {name: each for name, each in own["backbones"].items() if name != "small"}
    plain["benchmarks"] = {name: each for name, each in own["benchmarks"].items() if name != "push-button"}
    tasks = {name: each for name, each in own["auxiliary"]["tasks"].items() if name != "leftmost"}
    return plain | {"auxiliary": own["auxiliary"] | {"tasks": tasks}}


def test_a_job_refuses_a_file_that_changed_during_the_run(tmp_path):
    done = stage(tmp_path / "data", "0" * 64, str(EXAMPLES / "leftmost.py"))
    assert done.returncode == 1
    assert (
        done.stderr.startswith("error: extensions: ") and "leftmost.py changed after the run" in done.stderr
    )
    assert done.stderr.count("\n") == 1
    assert not (tmp_path / "data").exists()


@pytest.mark.parametrize("digest", ["0" * 64, None])
def test_a_job_without_the_file_names_what_is_missing(tmp_path, digest):
    done = stage(tmp_path / "data", digest, None)
    assert done.returncode == 1 and done.stderr.count("\n") == 1
    message = f"{registry.VARIABLE} is empty" if digest else "auxiliary: unknown task 'leftmost'"
    assert message in done.stderr


# Error messages -------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", ["nowhere.py", "config.yaml", "."])
def test_not_a_python_file(raw, name):
    with pytest.raises(
        UserError, match=rf"^extensions: no Python file '{name}': write the path of a .py file"
    ):
        load_config(raw | {"extensions": [name]})


@pytest.mark.parametrize(
    ("given", "message"),
    [
        (
            "docs/examples/leftmost.py",
            "config.yaml: extensions: 'docs/examples/leftmost.py' is not a list: write [a, b]",
        ),
        ([3], "config.yaml: extensions.0: 3 is not text: write"),
    ],
)
def test_not_a_list_of_paths(raw, given, message):
    with pytest.raises(UserError) as error:
        load_config(raw | {"extensions": given})
    assert str(error.value).startswith(message)


def test_a_repeated_file(raw, tmp_path):
    path = write(tmp_path, TASK)
    with pytest.raises(UserError, match=r"^config.yaml: extensions: .* repeats a file: write each once$"):
        load_config(raw | {"extensions": [path, path]})


def test_a_name_in_two_files(tmp_path):
    first, second = write(tmp_path, TASK), write(tmp_path, TASK + "\n", "again.py")
    with pytest.raises(UserError) as error:
        registry.activate([first, second])
    assert str(error.value).startswith(f"{second}: {first} already registers the auxiliary task 'mine': ")


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("x = 1\n\nclass\n", "line 3: invalid syntax"),
        ("x = '\0'\n", "source code string cannot contain null bytes"),
        ("raise SystemExit\n", "line 1: SystemExit: fix the file"),
        ("x = 1\nraise GeneratorExit\n", "line 2: GeneratorExit"),
        (
            "class E(Exception):\n    def __str__(self):\n        raise SystemExit\n\nraise E\n",
            "line 5: E: fix the file",
        ),
        ("raise ValueError('x' * 100_000)\n", "ValueError: " + "x" * 300 + ": fix the file"),
        ("raise ValueError('\\x1b[31mred')\n", r"ValueError: \x1b[31mred: fix the file"),
        ("def f():\n    f()\n\nf()\n", "RecursionError"),
        ("raise ValueError('a\\nb')\n", "line 1: ValueError: a: fix"),
        ("from . import x\n", "line 1: ImportError"),
        (TASK.replace('"mine"', '"mine."'), "'mine.' is not a valid name"),
        (TASK.replace('"mine"', repr("m" * 200)), "is not a valid name: write at most 100"),
        (
            "\nimport nothing_of_the_kind\n",
            "line 2: ModuleNotFoundError: No module named 'nothing_of_the_kind'",
        ),
        ("def f():\n    return 1 / 0\n\nf()\n", "line 2: ZeroDivisionError: division by zero"),
        ("import json\njson.loads('{')\n", "line 2: JSONDecodeError: "),
        ("x = 1\n", "registers nothing: write @family, @benchmark or @auxiliary_task"),
        (
            TASK.replace("def pictures", "def picture"),
            "Mine: the auxiliary task is incomplete: write its method pictures, which AuxiliaryTask",
        ),
        (TASK.replace('"mine"', '"robopoint"'), "Mine: the auxiliary task 'robopoint' already exists"),
        (TASK.replace('"mine"', '"fast-freeze-vision"'), "'fast-freeze-vision' already exists"),
        (TASK.replace('"mine"', '"none"'), "the auxiliary task 'none' already exists"),
        (TASK.replace('"mine"', '"Mine of 2"'), "Mine: 'Mine of 2' is not a valid name: write at most"),
        (
            TASK.replace("(AuxiliaryTask)", ""),
            "Mine: not a subclass of AuxiliaryTask: write `class Mine(AuxiliaryTask)`",
        ),
        (
            TASK.replace('    name = "mine"\n', ""),
            "Mine.name: missing: write this attribute, which AuxiliaryTask",
        ),
        (TASK + TASK, "Mine: the auxiliary task 'mine' already exists: write another name"),
        (BENCHMARK.replace('"mine"', '"bridge"'), "Mine: the benchmark 'bridge' already exists"),
        (BENCHMARK.replace(" = speed", ""), "Mine.speed: missing: write this attribute, which Benchmark"),
        (
            BENCHMARK.replace("    gripper = Gripper(open=0.0, close=1.0)\n", ""),
            "Mine.gripper: missing: write `gripper = Gripper(open=..., close=...)`",
        ),
        (
            BENCHMARK.replace('"mine"', '"mine"; instructions_per_episode = 0'),
            "Mine.instructions_per_episode: 0: write how many tasks each episode has, 1 or more",
        ),
        (
            "from vlm4vla.simulation.tasks import Benchmark\n",
            "No module named 'vlm4vla.simulation': import what you need from vlm4vla.extensions: fix "
            "the file",
        ),
    ],
)
def test_an_error_is_one_line_that_names_the_file(tmp_path, text, expected):
    message = refused(write(tmp_path, text))
    assert message.startswith(f"{tmp_path / 'mine.py'}: ") and expected in message


def test_a_family_must_be_named_like_its_model_type(tmp_path):
    text = (EXAMPLES / "smolvlm.py").read_text()
    message = refused(
        write(
            tmp_path,
            text.replace('family = model_type = "smolvlm"', 'family, model_type = "mine", "smolvlm"'),
        )
    )
    assert "SmolVLM.family: 'mine' is not the model_type 'smolvlm': write `family = model_type" in message
    message = refused(write(tmp_path, text.replace("def after_image", "def after"), "other.py"))
    assert "SmolVLM: the family is incomplete: write its method after_image, which Adapter" in message


def test_snakemake_prints_the_error(tmp_path):
    """The command that a user types prints the line without a traceback, and makes nothing."""
    path = write(tmp_path, "x = nothing\n")
    (tmp_path / "mine.yaml").write_text(
        yaml.safe_dump({"extensions": [path], "results": str(tmp_path / "r")})
    )
    done = subprocess.run(
        [sys.executable, "-m", "snakemake", "--dry-run", "--configfile", str(tmp_path / "mine.yaml")],
        cwd=REPOSITORY,
        capture_output=True,
        text=True,
        timeout=300,
    )
    assert done.returncode == 1
    assert done.stderr.strip().splitlines()[-1] == (
        f"error: {path}: line 1: NameError: name 'nothing' is not defined: fix the file, or remove it "
        "from `extensions`"
    )
    assert "Traceback" not in done.stderr and not (tmp_path / "r").exists()
