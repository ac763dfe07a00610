"""A packed study: its contents, the same bytes every time, and the detection of damage."""

from __future__ import annotations

import hashlib
import json
import subprocess
import zipfile
from pathlib import Path

import pytest

from vlm4vla import cli
from vlm4vla.core import registry
from vlm4vla.provenance.trace import trace
from vlm4vla.study.results_folder import Results

TASK = """from vlm4vla.auxiliary.tasks.base import AuxiliaryTask
from vlm4vla.extensions import auxiliary_task

@auxiliary_task
class Mine(AuxiliaryTask):
    name = "{name}"

    def pictures(self, split, count, seed, image_size):
        return iter(())
"""


def graph(packed: Path) -> dict[str, dict]:
    with zipfile.ZipFile(packed) as archive:
        entities = json.loads(archive.read("ro-crate-metadata.json"))["@graph"]
    assert len({entity["@id"] for entity in entities}) == len(entities)
    return {entity["@id"]: entity for entity in entities}


def test_the_contents(packed):
    names = set(zipfile.ZipFile(packed).namelist())
    study = "results/embedded"
    assert {
        "ro-crate-metadata.json",
        "SHA256SUMS",
        "Snakefile",
        "config/config.yaml",
        "workflow/published/main.csv",
        f"{study}/tables/freeze.csv",
        f"{study}/analysis/freeze.json",
        f"{study}/rollouts/kosmos-2/none/full/bridge/seed0/episodes.parquet",
        f"{study}/questions/provenance.json",
        f"{study}/vla/kosmos-2/none/full/bridge/seed0/train.jsonl",
    } <= names
    assert not any(name.endswith((".safetensors", ".arrow")) for name in names)


def test_the_crate_meets_its_profiles(packed):
    entities = graph(packed)
    descriptor, root = entities["ro-crate-metadata.json"], entities["./"]
    assert descriptor["about"] == {"@id": "./"}
    assert {"@id": "https://w3id.org/ro/crate/1.1"} in descriptor["conformsTo"]
    assert {"@id": "https://w3id.org/ro/wfrun/workflow/0.5"} in root["conformsTo"]
    assert all(root[key] for key in ("name", "description", "datePublished", "license"))
    workflow = entities[root["mainEntity"]["@id"]]
    assert "ComputationalWorkflow" in workflow["@type"] and workflow["programmingLanguage"]
    runs = [entities[each["@id"]] for each in root["mentions"]]
    assert all(each["@type"] == "CreateAction" for each in runs)
    assert any(each["instrument"] == root["mainEntity"] for each in runs)
    for entity in entities.values():  # every referenced entity is described
        for value in entity.values():
            for link in value if isinstance(value, list) else [value]:
                if isinstance(link, dict) and set(link) == {"@id"}:
                    known = link["@id"] in entities or link["@id"].startswith("http")
                    assert known, (entity["@id"], link)
    parts = {link["@id"] for link in root["hasPart"]}
    assert parts == set(zipfile.ZipFile(packed).namelist()) - {"ro-crate-metadata.json", "SHA256SUMS"}


def test_an_artefact_names_its_inputs_and_results(packed):
    study = "results/embedded"
    action = graph(packed)[f"#{study}/vla/kosmos-2/none/full/bridge/seed0/provenance.json"]
    assert action["instrument"] == {"@id": "#vlm4vla-vla"}
    assert {link["@id"] for link in action["object"]} == {
        f"{study}/backbones/kosmos-2/provenance.json",
        f"{study}/demonstrations/bridge/provenance.json",
    }
    assert {"@id": f"{study}/vla/kosmos-2/none/full/bridge/seed0/train.jsonl"} in action["result"]
    assert action["startTime"] <= action["endTime"]


def test_the_hashes_match_the_files(packed):
    entities = graph(packed)
    with zipfile.ZipFile(packed) as archive:
        for name in archive.namelist():
            if name in entities and "sha256" in entities[name]:
                data = archive.read(name)
                assert hashlib.sha256(data).hexdigest() == entities[name]["sha256"]
                assert str(len(data)) == entities[name]["contentSize"]


def test_same_bytes_every_time(packed, traced):
    for path in traced.rglob("*.csv"):
        path.touch()
    assert cli.main(["pack", str(traced), "--output", "again.zip"]) == 0
    assert Path("again.zip").read_bytes() == packed.read_bytes()


def test_extension_files_are_packed(packed, traced, tmp_path_factory, monkeypatch):
    monkeypatch.setattr(registry, "_active", None)
    outside = tmp_path_factory.mktemp("elsewhere") / "theirs.py"
    Path("mine").mkdir()
    for path, name in ((Path("mine/task.py"), "mine"), (outside, "theirs")):
        path.write_text(TASK.format(name=name))
    with Path("config.yaml").open("a") as config:
        config.write(f"extensions: [mine/task.py, {outside}]\n")
    assert cli.main(["pack", str(traced), "--output", "own.zip"]) == 0
    entities = graph(Path("own.zip"))
    assert {"mine/task.py", "extensions/1/theirs.py"} <= set(entities) - set(graph(packed))
    with zipfile.ZipFile("own.zip") as archive:
        assert archive.read("extensions/1/theirs.py") == outside.read_bytes()
    assert {"@id": "mine/task.py"} in entities["#run"]["object"]


def test_weights_are_packed_on_request(packed, traced):
    assert cli.main(["pack", str(traced), "--output", "whole.zip", "--weights"]) == 0
    names = zipfile.ZipFile("whole.zip").namelist()
    assert "results/embedded/backbones/kosmos-2/model.safetensors" in names
    zipfile.ZipFile("whole.zip").extractall("whole")
    assert cli.main(["check", "whole"]) == 0
    found = trace(Results(Path("whole/results/embedded")), "freeze", "kosmos-2/full", "bridge:success_rate")
    assert found["equals_table"] and found["rollouts"][0]["checkpoint_state"] == "as recorded"


def test_check_of_a_zip_file_and_of_a_folder(packed, capsys):
    zipfile.ZipFile(packed).extractall("out")
    for path in (str(packed), "out"):
        assert cli.main(["check", path]) == 0
        assert "files match their hashes" in capsys.readouterr().out
    done = subprocess.run(["sha256sum", "--check", "--quiet", "SHA256SUMS"], cwd="out", capture_output=True)
    assert done.returncode == 0, done.stderr


@pytest.mark.parametrize(
    "name",
    [
        "results/embedded/tables/freeze.csv",
        "results/embedded/rollouts/kosmos-2/none/full/bridge/seed0/episodes.parquet",
        "ro-crate-metadata.json",
        "config/config.yaml",
    ],
)
def test_damage_is_one_line_with_the_name_of_the_file(packed, name, capsys):
    zipfile.ZipFile(packed).extractall("out")
    path = Path("out") / name
    data = bytearray(path.read_bytes())
    data[len(data) // 2] ^= 1
    path.write_bytes(data)
    assert cli.main(["check", "out"]) == 1
    error = capsys.readouterr().err
    assert f"{name}: changed" in error and error.count("\n") == 1
    path.unlink()
    assert cli.main(["check", "out"]) == 1
    assert f"{name}: missing" in capsys.readouterr().err


def test_an_additional_file_is_named(packed, capsys):
    zipfile.ZipFile(packed).extractall("out")
    Path("out/more.txt").write_text("more")
    assert cli.main(["check", "out"]) == 1
    assert "more.txt: not a file of the packed study" in capsys.readouterr().err


def test_an_incomplete_zip_file(packed, capsys):
    Path("half.zip").write_bytes(packed.read_bytes()[: packed.stat().st_size // 2])
    assert cli.main(["check", "half.zip"]) == 1
    assert "not a complete zip file" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["nowhere", "--output", "x.zip"], "'nowhere': no such folder"),
        (["results/embedded", "--output", "x.tar"], "ends in .zip"),
        (["results/embedded", "--output", "x.zip", "--config", "none.yaml"], "no file 'none.yaml'"),
        (
            [
                "results/embedded",
                "--output",
                "x.zip",
                "--config",
                "config.yaml",
                "workflow/scales/smoke.yaml",
            ],
            "study is 'smoke', but results/embedded was made with 'embedded'",
        ),
    ],
)
def test_each_error_is_one_line(packed, arguments, message, capsys):
    capsys.readouterr()
    assert cli.main(["pack", *arguments]) == 1
    error = capsys.readouterr().err
    assert message in error and error.count("\n") == 1
    assert not Path("x.zip").exists() and not list(Path().glob(".x.zip*"))
