"""Curves go to the configured trackers, also those of resumed trainings. A missing tracker is an error."""

import importlib.util
import json
import os
import signal
import sqlite3
import struct
import subprocess
import sys
import tomllib
from pathlib import Path

import pytest
import several_processes as small
from packaging.requirements import Requirement

from vlm4vla.core.errors import UserError
from vlm4vla.training.components import trackers
from vlm4vla.training.components.trackers import INSTALL, PACKAGES

SUPPORT = Path(small.__file__).parent


@pytest.mark.parametrize("name", list(PACKAGES))
def test_a_tracker_that_is_not_installed_is_an_error(tmp_path, monkeypatch, name):
    find_spec = importlib.util.find_spec
    monkeypatch.setattr(
        importlib.util, "find_spec", lambda package: None if package in PACKAGES[name] else find_spec(package)
    )
    with pytest.raises(UserError) as caught:
        small.train_once(tmp_path, execution={"trackers": [name]})
    assert str(caught.value).startswith(f"execution.trackers: {name} is not installed: `{INSTALL[name]}`, ")
    assert "\n" not in str(caught.value)
    assert not (tmp_path / "train.jsonl").exists()  # no training has started


def test_no_command_replaces_a_package_of_the_lock():
    repository = SUPPORT.parents[1]
    extra = tomllib.loads((repository / "pyproject.toml").read_text())["project"]["optional-dependencies"]
    named = {Requirement(text).name for text in extra["trackers"]}
    assert named == set(PACKAGES) - {"trackio"}
    assert {name: command.split()[-1] for name, command in INSTALL.items() if name in named} == {
        name: name for name in named
    }
    assert "--no-deps" in INSTALL["trackio"] and (repository / INSTALL["trackio"].split()[-1]).is_file()


def test_tensorboard_shows_the_curve_of_the_log(tmp_path):
    accumulator = pytest.importorskip("tensorboard.backend.event_processing.event_accumulator")
    small.train_once(tmp_path, execution={"trackers": ["tensorboard"]})
    events = accumulator.EventAccumulator(str(tmp_path / "tensorboard"))
    events.Reload()
    shown = [(event.step, event.value) for event in events.Scalars("loss")]
    lines = [json.loads(line) for line in (tmp_path / "train.jsonl").read_text().splitlines()]
    assert shown == [(line["step"], pytest.approx(line["loss"])) for line in lines]


KILLED = """
import os, sys, time
sys.path.insert(0, sys.argv[1])
import several_processes as small
from pathlib import Path
from vlm4vla.training.components.trackers import Trackers

folder, name, kill, wait = Path(sys.argv[2]), sys.argv[3], int(sys.argv[4]), float(sys.argv[5])
log = Trackers.log

def log_and_die(self, record, step):
    log(self, record, step)
    if step == kill:
        time.sleep(wait)
        os.kill(os.getpid(), 9)

Trackers.log = log_and_die
small.train_once(folder, execution={"trackers": [name]}, every=4)
"""


def train_with_kills(folder, name, kills, wait=3.0):
    """Train 12 updates with checkpoints after 4, 8 and 12, in processes that are killed after `kills`."""
    environment = os.environ | {
        "TRACKIO_DIR": str(folder / "trackio"),
        "WANDB_MODE": "offline",
        "WANDB_SILENT": "true",
        "HF_HUB_OFFLINE": "1",
    }
    for kill in [*kills, 0]:
        command = [sys.executable, "-c", KILLED, str(SUPPORT), str(folder), name, str(kill), str(wait)]
        done = subprocess.run(command, capture_output=True, text=True, env=environment, timeout=300)
        assert done.returncode == (-signal.SIGKILL if kill else 0), done.stderr[-2000:]


def in_tensorboard(folder):
    """The runs with a curve, and the (step, loss) of all of them."""
    from tensorboard.backend.event_processing.event_multiplexer import EventMultiplexer

    shown = EventMultiplexer().AddRunsFromDirectory(str(folder)).Reload()
    runs = [run for run, tags in shown.Runs().items() if "loss" in tags["scalars"]]
    assert len(shown.Runs()) == len(runs) + 1  # the settings are one more run in TensorBoard, stored once
    return runs, [(event.step, event.value) for run in runs for event in shown.Scalars(run, "loss")]


def in_trackio(folder):
    (database,) = (folder / "trackio").glob("vlm4vla*.db")
    with sqlite3.connect(database) as connection:
        rows = connection.execute("SELECT run_id, step, metrics FROM metrics ORDER BY id").fetchall()
    return sorted({row[0] for row in rows}), [(row[1], json.loads(row[2])["loss"]) for row in rows]


def in_wandb(folder):
    """The identities of the runs in the offline files, and the points of all of them."""
    from wandb.proto import wandb_internal_pb2

    runs, points = set(), []
    for file in sorted((folder / "wandb").glob("offline-run-*/*.wandb")):
        for data in wandb_records(file.read_bytes()):
            record = wandb_internal_pb2.Record.FromString(data)
            if record.WhichOneof("record_type") == "run":
                runs.add(record.run.run_id)
            if record.WhichOneof("record_type") == "history":
                items = {(*each.nested_key, each.key)[0]: each.value_json for each in record.history.item}
                points.append((int(items["_step"]), json.loads(items["loss"])))
    return sorted(runs), points


def wandb_records(content):
    """The records of a .wandb file: a LevelDB log, whose first block begins with wandb's own seven bytes.

    A log consists of blocks of 32 KiB. Each part of a record has a checksum (4 bytes), its length (2) and its
    kind (1): whole, first, middle or last. A file that was cut off ends in zeros or in half a part.
    """
    at, parts = 7, []
    while at + 7 <= len(content):
        if 32768 - at % 32768 < 7:
            at += 32768 - at % 32768
            continue
        length, kind = struct.unpack_from("<HB", content, at + 4)
        if kind == 0 or at + 7 + length > len(content):
            return
        parts.append(content[at + 7 : at + 7 + length])
        at += 7 + length
        if kind in (1, 4):
            yield b"".join(parts)
            parts = []


STORES = {"tensorboard": in_tensorboard, "trackio": in_trackio, "wandb": in_wandb}


@pytest.mark.parametrize("name", list(PACKAGES))
@pytest.mark.parametrize(
    "kills", [[7], [2], [7, 10], [12]], ids=["once", "before a checkpoint", "twice", "at the end"]
)
def test_a_resumed_training_goes_on_in_its_run_without_steps_twice(tmp_path, name, kills):
    pytest.importorskip(name)
    train_with_kills(tmp_path, name, kills)
    runs, points = STORES[name](tmp_path)
    lines = [json.loads(line) for line in (tmp_path / "train.jsonl").read_text().splitlines()]
    assert len(runs) == 1
    assert [step for step, _ in points] == list(range(1, small.STEPS + 1))
    assert points == [(line["step"], pytest.approx(line["loss"], rel=1e-6)) for line in lines]
    assert not (tmp_path / "trackers.json").exists()


def test_trackio_has_no_gap_after_a_kill_before_it_stored_its_last_steps(tmp_path):
    pytest.importorskip("trackio")
    train_with_kills(tmp_path, "trackio", [7], wait=0.0)
    runs, points = in_trackio(tmp_path)
    assert len(runs) == 1 and [step for step, _ in points] == list(range(1, small.STEPS + 1))


class Recorder:
    """Stands in for a tracker of accelerate that only appends."""

    def __init__(self, store):
        self.store = store

    def start(self):
        self.store.append("start")

    def store_init_configuration(self, values):
        self.store.append("settings")

    def log(self, values, step, **more):
        self.store.append((step, values["loss"]))

    def finish(self):
        self.store.append("finish")


@pytest.fixture
def opened(monkeypatch):
    """The names of the runs that trackers were opened with, and everything that they received."""
    names, store = [], []

    def tracker(name, folder, title, run, done):
        names.append(run)
        return Recorder(store)

    monkeypatch.setattr(trackers, "_tracker", tracker)
    monkeypatch.setattr(trackers, "check_trackers", lambda names: None)
    return names, store


def run_part(folder, steps, done=0, identity="a", names=("wandb",), end=False):
    part = trackers.Trackers(names, folder, "title", {"steps": 9}, identity=identity, done=done)
    for step in steps:
        part.log({"step": step, "loss": step / 10}, step)
    if end:
        part.close()


def test_a_tracker_receives_each_step_once(tmp_path, opened):
    names, store = opened
    run_part(tmp_path, [1, 2, 3])
    run_part(tmp_path, [3, 4], done=2)
    run_part(tmp_path, [4, 5], done=3, end=True)
    assert store == [
        *("start", "settings", (1, 0.1), (2, 0.2), (3, 0.3)),
        *("start", (4, 0.4), "start", (5, 0.5), "finish"),
    ]
    assert len(set(names)) == 1 and not (tmp_path / "trackers.json").exists()


DAMAGED = ["", "{", "[]", '{"identity": "a"}', '{"identity": "a", "logged": 3}']


@pytest.mark.parametrize("spoil", [*DAMAGED, None])
def test_another_training_is_another_run(tmp_path, opened, spoil):
    names, store = opened
    run_part(tmp_path, [1, 2])
    if spoil is not None:
        (tmp_path / "trackers.json").write_text(spoil)
    run_part(tmp_path, [1, 2], identity="b" if spoil is None else "a")
    assert len(set(names)) == 2 and store.count("settings") == 2 and store.count((2, 0.2)) == 2


def test_a_finished_training_that_runs_again_is_another_run(tmp_path, opened):
    names, _ = opened
    run_part(tmp_path, [1, 2], end=True)
    run_part(tmp_path, [1, 2], end=True)
    assert len(set(names)) == 2


class Run:
    """A run of wandb that its server has stored up to step 5."""

    resumed, starting_step = True, 6


def test_a_resumed_run_goes_on_where_its_server_says(tmp_path, opened, monkeypatch):
    """A kill can lose steps that were sent, and the server can hold more than trackers.json says."""
    monkeypatch.setattr(Recorder, "run", Run, raising=False)
    _, store = opened
    run_part(tmp_path, [4, 5, 6, 7], done=3)
    assert [each for each in store if isinstance(each, tuple)] == [(6, 0.6), (7, 0.7)]


@pytest.mark.parametrize("name", ["wandb", "tensorboard"])
def test_steps_before_the_checkpoint_that_a_tracker_lacks_come_from_the_log(tmp_path, opened, name):
    """A tracker that is added later, or whose store has lost everything, shows the whole curve."""
    _, store = opened
    lines = [json.dumps({"step": step, "loss": step / 10}) + "\n" for step in (1, 2, 3)]
    (tmp_path / "train.jsonl").write_text("".join(lines))
    run_part(tmp_path, [4], done=3, names=(name,))
    assert store == ["start", "settings", (1, 0.1), (2, 0.2), (3, 0.3), (4, 0.4)]
    del store[:]
    run_part(tmp_path, [4, 5], done=3, names=(name,))
    repeated = [(4, 0.4)] if name == "tensorboard" else []  # TensorBoard drops it from the first part
    assert store == ["start", *repeated, (5, 0.5)]


def test_a_training_that_was_killed_after_its_last_update_logs_nothing_again(tmp_path, opened, monkeypatch):
    names, store = opened
    monkeypatch.setitem(PACKAGES, "wandb", ("json",))
    small.train_once(tmp_path, execution={"trackers": ["wandb"]})
    assert store[-1] == "finish" and len(names) == 1
    (tmp_path / "trackers.json").write_text("{}")  # as if the process had been killed before its end
    small.train_once(tmp_path, execution={"trackers": ["wandb"]})
    assert len(names) == 1 and not (tmp_path / "trackers.json").exists()


def test_a_tracker_that_is_added_later_receives_the_rest(tmp_path, opened):
    _, store = opened
    run_part(tmp_path, [1, 2, 3])
    del store[:]
    run_part(tmp_path, [3, 4], done=2, names=("wandb", "tensorboard"))
    assert store.count((3, 0.3)) == 1 and store.count((4, 0.4)) == 2 and store.count("settings") == 1
