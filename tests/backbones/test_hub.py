"""Downloads, by huggingface_hub's own client, from a hub on loopback with every fault that there is."""

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
from vlm4vla.backbones.installing import place

SHARDS = ("model-00001-of-00002.safetensors", "model-00002-of-00002.safetensors")
KEY = "backbones.real"
PLACE = """
import sys
import time
from pathlib import Path
pause = time.sleep
time.sleep = lambda seconds: pause(min(seconds, 0.01))  # between attempts, the client's own too
from huggingface_hub import constants
from vlm4vla.core.errors import UserError
from vlm4vla.backbones import hub
from vlm4vla.backbones.installing import place
constants.DOWNLOAD_CHUNK_SIZE = 1000
name, revision, output = sys.argv[1:]
try:
    place(name, revision, Path(output), key="backbones.real", family="kosmos-2")
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
    """Run a download in a process of its own: huggingface_hub reads its settings when it is imported."""

    def start(name=NAME, revision=COMMIT, **environment: str) -> subprocess.Popen:
        clean = {k: v for k, v in os.environ.items() if not k.startswith(("HF_", "HUGGING"))}
        own = {
            "HF_ENDPOINT": fake.url,
            "HF_HOME": str(tmp_path / "home"),
            "HF_HUB_DISABLE_XET": "1",
            "NO_PROXY": "127.0.0.1",
        }
        return subprocess.Popen(
            [sys.executable, "-c", PLACE, name, revision, str(tmp_path / "out")],
            env=clean | own | environment,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        )

    def run(*arguments, **environment: str) -> str:
        """The last line of what it says when it fails; empty when it does not."""
        process = start(*arguments, **environment)
        said, told = process.communicate(timeout=300)
        if process.returncode == 0:
            return ""
        lines = told.strip().splitlines()
        assert lines[-1].startswith(f"error: {KEY}."), told + said
        return lines[-1]

    run.start = start
    return run


def test_weights_come_whole_and_only_once(download, fake, files, tmp_path):
    assert download() == ""
    placed = {path.name: path.read_bytes() for path in (tmp_path / "out").iterdir()}
    assert placed == {name: files[name] for name in files if name.endswith((".json", ".safetensors"))}
    assert sorted(fake.fetched()) == sorted(placed)
    fake.asked.clear()
    fake.broken = True  # nothing is asked: a commit cannot change
    assert download() == "" and not fake.asked


def test_a_lost_connection_goes_on_inside_the_file(download, fake, files, tmp_path):
    fake.drops = {SHARDS[1]}
    assert download() == ""
    assert (tmp_path / "out" / SHARDS[1]).read_bytes() == files[SHARDS[1]]
    first, second = [wanted for method, name, wanted in fake.asked if method == "GET" and name == SHARDS[1]]
    start = int(second.removeprefix("bytes=").removesuffix("-"))
    assert first is None and len(files[SHARDS[1]]) // 2 - 1000 <= start <= len(files[SHARDS[1]]) // 2


def test_what_a_killed_download_had_is_kept(download, fake, tmp_path):
    fake.slow = {SHARDS[1]}
    process = download.start()
    assert fake.started.wait(120)
    placed = tmp_path / "home" / "hub" / "models--lab--model" / "snapshots"
    while len(list(placed.glob("*/*"))) < 3:  # a file counts once it has its name there
        assert process.poll() is None
    process.send_signal(signal.SIGKILL)
    process.communicate()
    assert not (tmp_path / "out").exists()
    fake.slow.clear()
    fake.asked.clear()
    assert download() == ""
    assert fake.fetched() == [SHARDS[1]]


def test_offline(download, fake, tmp_path):
    told = download(HF_HUB_OFFLINE="1")
    assert f"'lab/model' at {COMMIT} is not in the cache" in told
    assert f"hf download lab/model --revision {COMMIT}" in told and not fake.asked
    assert download() == ""
    assert download(HF_HUB_OFFLINE="1") == ""
    (tmp_path / "out" / SHARDS[0]).unlink()
    snapshot = tmp_path / "home" / "hub" / "models--lab--model" / "snapshots" / COMMIT
    (snapshot / SHARDS[0]).unlink()
    assert "is not in the cache" in download(HF_HUB_OFFLINE="1")  # half a model is none


def test_gated(download, fake, tmp_path):
    fake.gated = True
    without = download()
    assert "'lab/model' is gated, and there is no token: accept its terms at" in without
    assert "hf auth login" in without
    assert "the token has no access to it" in download(HF_TOKEN="other")
    assert not (tmp_path / "out").exists()
    assert download(HF_TOKEN="good") == ""
    assert download() == ""  # it is in the cache now


def test_missing_model(download):
    told = download("lab/mdoel")
    assert "backbones.real.checkpoint: the hub has no model 'lab/mdoel': check the name" in told


def test_missing_commit(download):
    told = download(NAME, "f" * 40)
    assert f"backbones.real.revision: 'lab/model' has no commit '{'f' * 40}'" in told


def test_a_branch_is_no_revision(download, fake):
    told = download(NAME, "main")
    assert "'main' is a branch, a tag or a part of a commit" in told and f"write its commit, {COMMIT}" in told
    assert "is no commit" in download(NAME, "main", HF_HUB_OFFLINE="1")
    assert not fake.fetched()


def test_a_hub_that_is_down(download, fake):
    fake.broken = True
    assert "cannot be downloaded" in download()
    fake.close()
    told = download()
    assert "cannot be downloaded" in told and "check both and the network" in told


def test_a_name_that_is_none(download):
    assert "cannot be downloaded" in download("a/b/c")


def test_no_weights_that_can_be_read(download, fake):
    for name in SHARDS:
        del fake.files[name]
    assert download.start().wait(300) == 1


def test_room_is_looked_for_before_the_download(tmp_path, monkeypatch):
    class Usage:
        free = 2.5e9

    monkeypatch.setattr(downloads.shutil, "disk_usage", lambda folder: Usage)
    downloads.check_room(tmp_path / "not" / "there", 2.4e9, "it", "move")
    with pytest.raises(
        downloads.UserError, match=r"^it needs 2\.6 GB, .* has 2\.5 GB free: free some room, or"
    ):
        downloads.check_room(tmp_path / "not" / "there", 2.6e9, "it", "move")


def test_a_download_that_does_not_fit_is_not_begun(download, fake, monkeypatch):
    small = "hub.shutil.disk_usage = lambda _: type('Usage', (), {'free': 1e5})\nconstants.DOWNLOAD"
    code = PLACE.replace("constants.DOWNLOAD", small)
    assert code != PLACE
    monkeypatch.setattr(sys.modules[__name__], "PLACE", code)
    assert "'lab/model' needs 0.0 GB, and the disk of" in download()
    assert not fake.fetched()


def test_a_folder_needs_no_hub(tmp_path, files):
    source = tmp_path / "folder"
    source.mkdir()
    for name, content in files.items():
        (source / name).write_bytes(content)
    place(str(source), None, tmp_path / "out", key=KEY, family="kosmos-2")
    assert (tmp_path / "out" / SHARDS[0]).samefile(source / SHARDS[0])
    assert not (tmp_path / "out" / "pytorch_model.bin").exists()


def test_abandoned_halves_are_removed(tmp_path, monkeypatch):
    monkeypatch.setattr(downloads, "_blobs", lambda name: tmp_path)
    for name, age in (("old.incomplete", 2 * downloads.ABANDONED), ("new.incomplete", 0), ("whole", 1e6)):
        path = tmp_path / name
        path.write_bytes(b"x")
        os.utime(path, (path.stat().st_mtime - age,) * 2)
    downloads._discard_abandoned(NAME)
    assert sorted(path.name for path in tmp_path.iterdir()) == ["new.incomplete", "whole"]
