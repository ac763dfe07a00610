"""Code in a checkpoint's folder is refused at a terminal, too, where transformers would ask."""

import json
import os
import pty
import select
import shutil
import subprocess
import sys
import time

import pytest
from tiny_backbones import make

READ = """
import sys
from pathlib import Path
from vlm4vla.backbones.checkpoint import check_folder
from vlm4vla.core.errors import UserError
for folder in sys.argv[1:]:
    print("=====")
    try:
        check_folder(Path(folder))
        print("taken")
    except UserError as error:
        print("refused:", error)
"""
OWN_CODE = {
    "config.json": {"model_type": "own", "auto_map": {"AutoConfig": "own.Own", "AutoProcessor": "own.Own"}},
    "tokenizer_config.json": {
        "tokenizer_class": "Own",
        "auto_map": {"AutoTokenizer": ["own.Own", "own.Own"]},
    },
    "preprocessor_config.json": {
        "image_processor_type": "Own",
        "auto_map": {"AutoImageProcessor": "own.Own", "AutoProcessor": "own.Own"},
    },
}


def at_a_terminal(*words, seconds=400):
    """What a program writes to the terminal at which it runs. Nobody types anything there."""
    parent, child = pty.openpty()
    with subprocess.Popen(words, stdin=child, stdout=child, stderr=child, start_new_session=True) as process:
        os.close(child)
        text, deadline = b"", time.monotonic() + seconds
        try:
            while time.monotonic() < deadline and b"[y/N]" not in text:
                if select.select([parent], [], [], 1)[0]:
                    try:
                        text += os.read(parent, 10_000)
                    except OSError:  # the program has ended
                        break
        finally:
            process.kill()
            os.close(parent)
    return text.decode()


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    """A checkpoint with a program that leaves a mark when it is run."""
    folder = tmp_path_factory.mktemp("own") / "checkpoint"
    make("kosmos-2").save(folder)
    (folder / "own.py").write_text(f"import pathlib; pathlib.Path({str(folder.parent / 'run')!r}).touch()")
    return folder


@pytest.fixture(scope="module")
def answers(folder):
    """By file with code of its own: the folder, and the lines about it. One program reads all folders."""
    folders = {}
    for name, code in OWN_CODE.items():
        folders[name] = shutil.copytree(folder, folder.parent / f"with {name}")
        file = folders[name] / name
        file.write_text(json.dumps(json.loads(file.read_text()) | code))
    text = at_a_terminal(sys.executable, "-c", READ, *map(str, folders.values()))
    assert "[y/N]" not in text and "Traceback" not in text and not (folder.parent / "run").exists()
    parts = text.split("=====")[1:]
    return {
        name: (found, part.splitlines()[1:])
        for (name, found), part in zip(folders.items(), parts, strict=True)
    }


@pytest.mark.parametrize("name", OWN_CODE)
def test_nothing_is_asked_at_a_terminal(answers, name):
    folder, lines = answers[name]
    if name == "tokenizer_config.json":  # the tokenizer's own file says all that is needed of its class
        assert any(line == "taken" or line.startswith("refused: ") for line in lines), lines
    else:
        assert any(line.startswith(f"refused: {folder}: ") for line in lines), lines


def test_transformers_itself_asks(folder, tmp_path):
    """So the test above would see a question."""
    folder = shutil.copytree(folder, tmp_path / "asking")
    file = folder / "config.json"
    file.write_text(json.dumps(json.loads(file.read_text()) | OWN_CODE["config.json"]))
    program = "import sys, transformers; transformers.AutoConfig.from_pretrained(sys.argv[1])"
    assert "[y/N]" in at_a_terminal(sys.executable, "-c", program, str(folder))
