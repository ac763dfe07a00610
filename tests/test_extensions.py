"""A user's own files: what is known through them, who depends on them, and how their faults are told."""

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
from vlm4vla.auxiliary.tasks.base import Task
from vlm4vla.extensions import auxiliary_task

@auxiliary_task
class Mine(Task):
    name = "mine"

    def pictures(self, split, count, seed, image_size):
        return iter(())
"""
BENCHMARK = """
from vlm4vla.conventions.actions import Gripper
from vlm4vla.extensions import benchmark
from vlm4vla.benchmarks.base import Benchmark

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
def nothing_known(monkeypatch):
    """What a test makes known ends with it."""
    monkeypatch.setattr(registry, "_active", None)
    monkeypatch.setenv(registry.VARIABLE, "")


@pytest.fixture
def raw(tmp_path) -> dict:
    raw = yaml.safe_load((REPOSITORY / "config.yaml").read_text())
    return raw | {"results": str(tmp_path / "results"), "minimum_free_gb": 0}


@pytest.fixture
def own(raw) -> dict:
    """The configuration with the three example files and what they add."""
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


# What is known --------------------------------------------------------------------------------------


def test_names_are_known_while_the_configuration_names_their_file(raw, tmp_path):
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


def test_the_nearest_name_may_be_a_users_own(own):
    own["tables"]["main"]["benchmarks"].append("push-buton")
    with pytest.raises(UserError) as error:
        load_config(own)
    told = "config.yaml: tables.main.benchmarks.3: unknown value 'push-buton': did you mean 'push-button'?"
    assert str(error.value) == told
    own["tables"]["main"]["benchmarks"].remove("push-buton")
    own["backbones"]["small"]["family"] = "smolvl"
    with pytest.raises(UserError, match=r"family: unknown family 'smolvl': did you mean 'smolvlm'\?$"):
        open_study(own)


def test_one_file_may_have_several_classes(tmp_path):
    more = TASK.replace("class Mine", "class Other").replace('"mine"', '"other"')
    registry.activate([write(tmp_path, TASK + more)])
    assert registry.names("auxiliary task") == ["mine", "other"]
    assert registry.hash_of("auxiliary task", "mine") == registry.hash_of("auxiliary task", "other")


def test_kinds_have_names_of_their_own(tmp_path):
    registry.activate([write(tmp_path, TASK), write(tmp_path, BENCHMARK, "scene.py")])
    assert registry.find("auxiliary task", "mine") is not registry.find("benchmark", "mine")
    assert registry.find("family", "mine") is None


def test_what_was_hashed_is_what_runs(tmp_path):
    """A file that is written anew in the same second, at the same length, is another file."""
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


# Who depends on a file ------------------------------------------------------------------------------


def settings(study: Study) -> dict[str, dict]:
    """The settings of every kind of job, by what they are of."""
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


def test_only_what_runs_a_file_has_its_hash(own):
    found = settings(Study(load_config(own)))
    hashes = {path.name: hashlib.sha256(path.read_bytes()).hexdigest() for path in EXAMPLES.glob("*.py")}
    assert {name: each["extension"] for name, each in found.items() if "extension" in each} == {
        "backbone small": hashes["smolvlm.py"],
        "data leftmost": hashes["leftmost.py"],
        "demonstrations push-button": hashes["push_button.py"],
        "rollout push-button": hashes["push_button.py"],
        "expert push-button": hashes["push_button.py"],
    }


def test_a_study_without_own_files_has_the_settings_it_always_had(raw):
    """Byte for byte: `extension` and `extensions` stand nowhere, and empty is the same as not there."""
    study = Study(load_config(raw))
    found = settings(study)
    assert not [name for name, each in found.items() if "extension" in each or "extensions" in each]
    again = Study(load_config(raw | {"extensions": []}))
    assert settings(again) == found and again.config_json() == study.config_json()


def test_built_in_names_keep_their_settings_beside_own_files(own):
    before = settings(Study(load_config(yaml.safe_load((REPOSITORY / "config.yaml").read_text()))))
    after = settings(Study(load_config(own)))
    changed = {name for name in before if before[name] != after[name]}
    assert changed == {"config", "table main", "table correlation", "films"}  # all backbones: one more


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


def test_a_job_runs_the_files_that_the_workflow_tells_it(own, tmp_path):
    open_study(own)
    registry.share()
    told = os.environ[registry.VARIABLE]
    assert told.split(os.pathsep) == own["extensions"]
    done = stage(tmp_path / "data", registry.hash_of("auxiliary task", "leftmost"), told)
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
    """The configuration without what the example files add."""
    plain = {key: value for key, value in own.items() if key != "extensions"}
    plain["backbones"] = {name: each for name, each in own["backbones"].items() if name != "small"}
    plain["benchmarks"] = {name: each for name, each in own["benchmarks"].items() if name != "push-button"}
    tasks = {name: each for name, each in own["auxiliary"]["tasks"].items() if name != "leftmost"}
    return plain | {"auxiliary": own["auxiliary"] | {"tasks": tasks}}


def test_a_job_refuses_a_file_that_changed_meanwhile(tmp_path):
    done = stage(tmp_path / "data", "0" * 64, str(EXAMPLES / "leftmost.py"))
    assert done.returncode == 1
    assert (
        done.stderr.startswith("error: extensions: ") and "leftmost.py changed since the run" in done.stderr
    )
    assert done.stderr.count("\n") == 1
    assert not (tmp_path / "data").exists()


@pytest.mark.parametrize("digest", ["0" * 64, None])
def test_a_job_without_the_file_says_what_it_lacks(tmp_path, digest):
    done = stage(tmp_path / "data", digest, None)
    assert done.returncode == 1 and done.stderr.count("\n") == 1
    told = f"{registry.VARIABLE} names no file" if digest else "auxiliary: unknown task 'leftmost'"
    assert told in done.stderr


# Faults ---------------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", ["nowhere.py", "config.yaml", "."])
def test_no_python_file(raw, name):
    with pytest.raises(
        UserError, match=rf"^extensions: no Python file '{name}': write the path of a .py file"
    ):
        load_config(raw | {"extensions": [name]})


@pytest.mark.parametrize(
    ("given", "told"),
    [
        ("docs/examples/leftmost.py", "config.yaml: extensions: Input should be a valid list"),
        ([3], "config.yaml: extensions.0: Input should be a valid string"),
    ],
)
def test_no_list_of_paths(raw, given, told):
    with pytest.raises(UserError) as error:
        load_config(raw | {"extensions": given})
    assert str(error.value).startswith(told)


def test_a_file_named_twice(raw, tmp_path):
    path = write(tmp_path, TASK)
    with pytest.raises(UserError, match=r"^config.yaml: extensions: .* repeats a file: write each once$"):
        load_config(raw | {"extensions": [path, path]})


def test_a_name_in_two_files(tmp_path):
    first, second = write(tmp_path, TASK), write(tmp_path, TASK + "\n", "again.py")
    with pytest.raises(UserError) as error:
        registry.activate([first, second])
    assert str(error.value).startswith(f"{second}: the auxiliary task 'mine' is in {first} already: ")


@pytest.mark.parametrize(
    ("text", "told"),
    [
        ("x = 1\n\nclass\n", "line 3: invalid syntax"),
        (
            "\nimport nothing_of_the_kind\n",
            "line 2: ModuleNotFoundError: No module named 'nothing_of_the_kind'",
        ),
        ("def f():\n    return 1 / 0\n\nf()\n", "line 2: ZeroDivisionError: division by zero"),
        ("import json\njson.loads('{')\n", "line 2: JSONDecodeError: "),
        ("x = 1\n", "registers nothing: write @family, @benchmark or @auxiliary_task"),
        (
            TASK.replace("def pictures", "def picture"),
            "Mine: no auxiliary task yet: write its pictures, as Task",
        ),
        (TASK.replace('"mine"', '"robopoint"'), "Mine: the auxiliary task 'robopoint' is there already"),
        (TASK.replace('"mine"', '"fast-freeze-vision"'), "'fast-freeze-vision' is there already"),
        (TASK.replace('"mine"', '"none"'), "the auxiliary task 'none' is there already"),
        (TASK.replace('"mine"', '"Mine of 2"'), "Mine: 'Mine of 2' is no name: write small letters"),
        (TASK.replace("(Task)", ""), "Mine: no auxiliary task: write `class Mine(Task)`"),
        (TASK.replace('    name = "mine"\n', ""), "Mine.name: missing: write it, as Task says"),
        (TASK + TASK, "Mine: the auxiliary task 'mine' is there already: write another name"),
        (BENCHMARK.replace('"mine"', '"bridge"'), "Mine: the benchmark 'bridge' is there already"),
        (BENCHMARK.replace(" = speed", ""), "Mine.speed: missing: write it, as Benchmark says"),
        (
            BENCHMARK.replace("    gripper = Gripper(open=0.0, close=1.0)\n", ""),
            "Mine.gripper: missing: write `gripper = Gripper(open=..., close=...)`",
        ),
    ],
)
def test_a_fault_is_one_line_that_names_the_file(tmp_path, text, told):
    message = refused(write(tmp_path, text))
    assert message.startswith(f"{tmp_path / 'mine.py'}: ") and told in message


def test_a_family_is_a_model_type(tmp_path):
    text = (EXAMPLES / "smolvlm.py").read_text()
    message = refused(
        write(
            tmp_path,
            text.replace('family = model_type = "smolvlm"', 'family, model_type = "mine", "smolvlm"'),
        )
    )
    assert "SmolVLM.family: 'mine' is not the model_type 'smolvlm': write `family = model_type" in message
    message = refused(write(tmp_path, text.replace("def after_image", "def after"), "other.py"))
    assert "SmolVLM: no family yet: write its after_image, as Adapter says" in message


def test_snakemake_ends_with_the_line(tmp_path):
    """Through the command that a user types: the line, no traceback, nothing made."""
    fault = write(tmp_path, "x = nothing\n")
    (tmp_path / "mine.yaml").write_text(
        yaml.safe_dump({"extensions": [fault], "results": str(tmp_path / "r")})
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
        f"error: {fault}: line 1: NameError: name 'nothing' is not defined: mend it, or take it out of "
        "`extensions`"
    )
    assert "Traceback" not in done.stderr and not (tmp_path / "r").exists()
