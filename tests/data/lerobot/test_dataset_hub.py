"""Datasets downloaded by huggingface_hub from a local server: pinned, resumed, offline and gated."""

import json
import os
import subprocess
import sys
import textwrap

import pytest
from handmade_sets import FRONT, TOTAL, WRIST, write_v21, write_v30
from hub_server import COMMIT, HubServer

from vlm4vla.core.errors import UserError
from vlm4vla.data.lerobot.hub import camera_patterns, dataset_folder

STAGE = """
    import json, sys
    from pathlib import Path
    from vlm4vla.core.errors import UserError
    from vlm4vla.stages.demonstrations_dataset import run
    from vlm4vla.data.demonstrations.frame_index import open_index
    from vlm4vla.config.demonstrations import Demonstrations
    from vlm4vla.config.stages import DemonstrationsSettings
    for number, wanted in enumerate(json.loads(sys.argv[1])):
        output = Path(sys.argv[2]) / str(number)
        own = Demonstrations.model_validate(wanted)
        settings = DemonstrationsSettings(benchmark="calvin", demonstrations=own, image_size=16)
        try:
            run(settings, output=output)
            print(len(open_index(output)))
        except UserError as error:
            print(f"error: {error}")
"""


@pytest.fixture(scope="module")
def hub(tmp_path_factory):
    folder = tmp_path_factory.mktemp("sets")
    sets = {"lab/new": write_v30(folder / "new"), "lab/old": write_v21(folder / "old")}
    server = HubServer(sets | {"lab/shut": sets["lab/new"]}, gated={"lab/shut"})
    yield server
    server.close()


def stage(hub, home, output, *wanted, **environment):
    """Return what the stage prints for each of `wanted` (name and revision), in a new process.

    The process is new because huggingface_hub reads the environment variables when it is imported.
    """
    sets = json.dumps([{"dataset": name, "revision": own, "camera": FRONT} for name, own in wanted])
    command = [sys.executable, "-c", textwrap.dedent(STAGE), sets, str(output)]
    unset = {"HF_TOKEN": "", "HF_HUB_DISABLE_XET": "1", "HF_HUB_DISABLE_PROGRESS_BARS": "1"}
    own = {"HF_ENDPOINT": hub.address, "HF_HOME": str(home)} | unset
    done = subprocess.run(
        command, capture_output=True, text=True, timeout=600, env=os.environ | own | environment
    )
    assert done.returncode == 0, done.stderr
    lines = done.stdout.splitlines()
    assert len(lines) == len(wanted)
    return lines


def test_a_dataset_is_downloaded_once_with_one_camera_and_then_read_offline(hub, tmp_path):
    home, wanted = tmp_path / "home", [("lab/new", "v1"), ("lab/old", COMMIT)]
    hub.downloads.clear()
    assert stage(hub, home, tmp_path / "one", *wanted) == [str(TOTAL)] * 2
    fetched = set(hub.downloads)
    assert any(FRONT in path for path in fetched) and not any(WRIST in path for path in fetched)
    record = json.loads((tmp_path / "one/0/provenance.json").read_text())
    assert COMMIT in record["source"]["folder"]
    # One file is missing, as after a damaged download: only this file is downloaded again.
    lost = sorted(home.rglob("snapshots/*/videos/chunk-000/*/*.mp4"))[0]
    lost.resolve().unlink()
    lost.unlink()
    hub.downloads.clear()
    assert stage(hub, home, tmp_path / "two", *wanted) == [str(TOTAL)] * 2
    assert [path.rpartition("/")[2] for path in hub.downloads] == [lost.name]
    hub.downloads.clear()
    offline = {"HF_HUB_OFFLINE": "1", "HF_ENDPOINT": "http://127.0.0.1:9"}
    assert stage(hub, home, tmp_path / "three", *wanted, **offline) == [str(TOTAL)] * 2
    assert not hub.downloads


def test_a_failed_download_is_one_line(hub, tmp_path):
    cases = {
        ("lab/shut", "v1"): "dataset: 'lab/shut' at 'v1': is gated: accept its terms",
        ("lab/none", "v1"): "dataset: 'lab/none' at 'v1': is not on the hub, or is private",
        ("lab/new", "v9"): "revision: 'lab/new' has no revision 'v9'",
        ("no such name", "v1"): "dataset: 'no such name' at 'v1': cannot be downloaded",
    }
    found = stage(hub, tmp_path / "home", tmp_path / "out", *cases)
    for line, expected in zip(found, cases.values(), strict=True):
        assert line.startswith(f"error: benchmarks.calvin.demonstrations.{expected}")
    assert not list(tmp_path.rglob("provenance.json"))


@pytest.mark.parametrize(
    ("environment", "line"),
    [
        ({"HF_HUB_OFFLINE": "1"}, "HF_HUB_OFFLINE is set, and the cache"),
        ({"HF_ENDPOINT": "http://127.0.0.1:9"}, "the hub cannot be reached, and the cache"),
    ],
)
def test_an_empty_cache_without_the_hub_is_one_line(hub, tmp_path, environment, line):
    (found,) = stage(hub, tmp_path / "home", tmp_path / "out", ("lab/new", "v1"), **environment)
    assert found.startswith("error: ") and line in found


def test_a_gated_dataset_is_downloaded_with_a_token(hub, tmp_path):
    found = stage(hub, tmp_path / "home", tmp_path / "out", ("lab/shut", "v1"), HF_TOKEN="good")
    assert found == [str(TOTAL)]


def test_a_folder_needs_no_hub_and_a_name_needs_a_revision(tmp_path):
    assert dataset_folder(str(tmp_path), None, ["*"], "key") == tmp_path
    line = r"key\.dataset: folder 'lab/new' does not exist: .* together with its `revision`"
    with pytest.raises(UserError, match=line):
        dataset_folder("lab/new", None, ["*"], "key")


def test_a_dataset_of_images_needs_no_video():
    assert not any("videos" in pattern for pattern in camera_patterns(FRONT, False))
