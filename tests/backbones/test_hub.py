"""Downloads with huggingface_hub's own client from a local fake hub that produces every kind of error."""

import json
import os
import signal
import subprocess
import sys

import numpy as np
import pytest
from fake_hub import COMMIT, NAME, FakeHub
from safetensors.numpy import save

from vlm4vla.backbones import hub as downloads
from vlm4vla.backbones.families.kosmos2 import Kosmos2
from vlm4vla.backbones.installing import install
from vlm4vla.backbones.tiny_tokenizer import tiny_tokenizer

SHARDS = ("model-00001-of-00002.safetensors", "model-00002-of-00002.safetensors")
KEY = "backbones.real"
INSTALL = """
import sys
import time
from pathlib import Path
pause = time.sleep
time.sleep = lambda seconds: pause(min(seconds, 0.01))  # also the client's own pauses
from huggingface_hub import constants
from vlm4vla.core.errors import UserError
from vlm4vla.backbones import hub
from vlm4vla.backbones.installing import install
constants.DOWNLOAD_CHUNK_SIZE = 1000
name, revision, output = sys.argv[1:]
try:
    install(name, revision, Path(output), key="backbones.real", family="kosmos-2")
except UserError as error:
    sys.exit(f"error: {error}")
"""


@pytest.fixture
def files() -> dict[str, bytes]:
    weights = {name: np.full(60_000, number, dtype=np.float32) for number, name in enumerate(SHARDS)}
    index = {"weight_map": {f"weight{number}": name for number, name in enumerate(SHARDS)}}
    return {
        "config.json": json.dumps({"model_type": "kosmos-2"}).encode(),
        "model.safetensors.index.json": json.dumps(index).encode(),
        "tokenizer.json": tiny_tokenizer(["open", "drawer"], Kosmos2.phrases)
        .backend_tokenizer.to_str()
        .encode(),
        "tokenizer_config.json": b"{}",
        "preprocessor_config.json": b'{"image_processor_type": "CLIPImageProcessor"}',
        **{name: save({f"weight{n}": weights[name]}) for n, name in enumerate(SHARDS)},
        "pytorch_model.bin": b"never fetched",
        "README.md": b"never fetched",
    }


@pytest.fixture
def fake(files):
    served = FakeHub(files)
    yield served
    served.close()


@pytest.fixture
def download(fake, tmp_path):
    """Run a download in its own process, because huggingface_hub reads its settings at import."""

    def start(name=NAME, revision=COMMIT, **environment: str) -> subprocess.Popen:
        clean = {k: v for k, v in os.environ.items() if not k.startswith(("HF_", "HUGGING"))}
        own = {
            "HF_ENDPOINT": fake.url,
            "HF_HOME": str(tmp_path / "home"),
            "HF_HUB_DISABLE_XET": "1",
            "NO_PROXY": "127.0.0.1",
        }
        return subprocess.Popen(
            [sys.executable, "-c", INSTALL, name, revision, str(tmp_path / "out")],
            env=clean | own | environment,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        )

    def run(*arguments, **environment: str) -> str:
        """The last line of stderr if the download fails, else an empty string."""
        process = start(*arguments, **environment)
        stdout, stderr = process.communicate(timeout=300)
        if process.returncode == 0:
            return ""
        lines = stderr.strip().splitlines()
        assert lines[-1].startswith(f"error: {KEY}."), stderr + stdout
        return lines[-1]

    run.start = start
    return run


def test_weights_are_complete_and_downloaded_only_once(download, fake, files, tmp_path):
    assert download() == ""
    installed = {path.name: path.read_bytes() for path in (tmp_path / "out").iterdir()}
    assert installed == {name: files[name] for name in files if name.endswith((".json", ".safetensors"))}
    assert sorted(fake.fetched()) == sorted(installed)
    fake.asked.clear()
    fake.broken = True  # no request is needed, because a commit cannot change
    assert download() == "" and not fake.asked


def test_a_broken_connection_resumes_inside_the_file(download, fake, files, tmp_path):
    fake.drops = {SHARDS[1]}
    assert download() == ""
    assert (tmp_path / "out" / SHARDS[1]).read_bytes() == files[SHARDS[1]]
    first, second = [wanted for method, name, wanted in fake.asked if method == "GET" and name == SHARDS[1]]
    start = int(second.removeprefix("bytes=").removesuffix("-"))
    assert first is None and len(files[SHARDS[1]]) // 2 - 1000 <= start <= len(files[SHARDS[1]]) // 2


def files_needed(fake):
    return [name for name in fake.files if name.endswith((".json", ".safetensors"))]


def test_a_killed_download_keeps_its_complete_files(download, fake, tmp_path):
    fake.slow = {SHARDS[1]}
    process = download.start()
    assert fake.started.wait(120)
    snapshots = tmp_path / "home" / "hub" / "models--lab--model" / "snapshots"
    while (
        len(list(snapshots.glob("*/*"))) < len(files_needed(fake)) - 1
    ):  # a complete file appears here under its name
        assert process.poll() is None
    process.send_signal(signal.SIGKILL)
    process.communicate()
    assert not (tmp_path / "out").exists()
    fake.slow.clear()
    fake.asked.clear()
    assert download() == ""
    assert fake.fetched() == [SHARDS[1]]


def test_offline(download, fake, tmp_path):
    message = download(HF_HUB_OFFLINE="1")
    assert f"'lab/model' at {COMMIT} is not in the cache" in message
    assert f"hf download lab/model --revision {COMMIT}" in message and not fake.asked
    assert download() == ""
    assert download(HF_HUB_OFFLINE="1") == ""
    (tmp_path / "out" / SHARDS[0]).unlink()
    snapshot = tmp_path / "home" / "hub" / "models--lab--model" / "snapshots" / COMMIT
    (snapshot / SHARDS[0]).unlink()
    assert "is not in the cache" in download(HF_HUB_OFFLINE="1")  # half of a model does not count


def test_gated(download, fake, tmp_path):
    fake.gated = True
    without = download()
    assert "'lab/model' is gated, and no token is set: accept its terms at" in without
    assert "hf auth login" in without
    assert "the token has no access to it" in download(HF_TOKEN="other")
    assert not (tmp_path / "out").exists()
    assert download(HF_TOKEN="good") == ""
    assert download() == ""  # the model is in the cache now


def test_missing_model(download):
    message = download("lab/mdoel")
    assert "backbones.real.checkpoint: the hub has no model 'lab/mdoel': check the name" in message


def test_missing_commit(download):
    message = download(NAME, "f" * 40)
    assert f"backbones.real.revision: 'lab/model' has no commit '{'f' * 40}'" in message


def test_a_branch_is_rejected_as_revision(download, fake):
    message = download(NAME, "main")
    assert "'main' is a branch, a tag or part of a commit" in message
    assert f"write its commit, {COMMIT}" in message
    assert "is not a commit" in download(NAME, "main", HF_HUB_OFFLINE="1")
    assert not fake.fetched()


def test_a_hub_that_is_down(download, fake):
    fake.broken = True
    assert "cannot be downloaded" in download()
    fake.close()
    message = download()
    assert "cannot be downloaded" in message and "check the name, the revision and the network" in message


def test_an_invalid_name(download):
    assert "cannot be downloaded" in download("a/b/c")


def test_a_model_without_its_weights(download, fake):
    for name in SHARDS:
        del fake.files[name]
    assert download.start().wait(300) == 1


@pytest.mark.parametrize("name", ["tokenizer.json", "tokenizer_config.json", "preprocessor_config.json"])
def test_a_model_without_another_file_is_not_downloaded(download, fake, name):
    del fake.files[name]
    message = download()
    assert f"backbones.real.checkpoint: 'lab/model': has no {name}" in message
    assert not fake.fetched()


def test_a_damaged_file_in_the_cache(download, fake, tmp_path):
    assert download() == ""
    snapshot = tmp_path / "home" / "hub" / "models--lab--model" / "snapshots" / COMMIT
    for name in ("tokenizer.json", SHARDS[1]):
        whole = (snapshot / name).read_bytes()
        (snapshot / name).resolve().write_bytes(whole[:-10])
        message = download(HF_HUB_OFFLINE="1")
        assert name in message and "remove this file from the cache first" in message
        (snapshot / name).resolve().write_bytes(whole)


def test_a_download_that_does_not_fit_is_not_started(download, fake, monkeypatch):
    small_disk = "import shutil; shutil.disk_usage = lambda _: type('Usage', (), {'free': 1e5})\n"
    code = INSTALL.replace("constants.DOWNLOAD", small_disk + "constants.DOWNLOAD")
    assert code != INSTALL
    monkeypatch.setattr(sys.modules[__name__], "INSTALL", code)
    assert "'lab/model' needs 0.0 GB, and the disk of" in download()
    assert not fake.fetched()


def test_a_folder_needs_no_hub(tmp_path, files):
    source = tmp_path / "folder"
    source.mkdir()
    for name, content in files.items():
        (source / name).write_bytes(content)
    install(str(source), None, tmp_path / "out", key=KEY, family="kosmos-2")
    assert (tmp_path / "out" / SHARDS[0]).samefile(source / SHARDS[0])
    assert not (tmp_path / "out" / "pytorch_model.bin").exists()


def test_abandoned_files_are_removed(tmp_path, monkeypatch):
    monkeypatch.setattr(downloads, "_blob_folder", lambda name: tmp_path)
    for name, age in (("old.incomplete", 2 * downloads.ABANDONED), ("new.incomplete", 0), ("whole", 1e6)):
        path = tmp_path / name
        path.write_bytes(b"x")
        os.utime(path, (path.stat().st_mtime - age,) * 2)
    downloads._discard_abandoned(NAME)
    assert sorted(path.name for path in tmp_path.iterdir()) == ["new.incomplete", "whole"]
