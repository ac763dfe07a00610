"""Whatever a file holds, the answer is a result or a UserError of one line; never another exception.

hypothesis damages valid input: it replaces, removes and adds values anywhere in a configuration and in the
info.json of a dataset, and changes bytes of a packed study. conftest.py says how many examples it tries.
"""

import hashlib
import json
import zipfile
from pathlib import Path

import numpy as np
import pytest
from fast_yaml import load_yaml
from fuzzing import damaged, damaged_bytes, only_one_line, only_user_errors
from hypothesis import given
from hypothesis import strategies as st

from vlm4vla.config.config import load_config
from vlm4vla.config.layer_files import read_layer
from vlm4vla.data.lerobot.metadata import read_metadata
from vlm4vla.data.lerobot.writer import LeRobotWriter
from vlm4vla.provenance.check import check
from vlm4vla.provenance.crate import METADATA
from vlm4vla.provenance.pack import SUMS

REPOSITORY = Path(__file__).parents[2]
CONFIG = load_yaml((REPOSITORY / "config.yaml").read_text())


@given(damaged(CONFIG))
def test_a_configuration(raw):
    only_user_errors(load_config, raw)


@given(
    st.one_of(
        st.binary(max_size=200), st.text(max_size=200).map(lambda text: text.encode("utf-8", "replace"))
    )
)
def test_a_layer(tmp_path, content):
    path = tmp_path / "layer.yaml"
    path.write_bytes(content)
    only_one_line(read_layer, path)


@pytest.fixture(scope="module")
def dataset(tmp_path_factory):
    folder = tmp_path_factory.mktemp("dataset") / "set"
    rng = np.random.default_rng(0)
    with LeRobotWriter(folder, fps=5, robot_type="x", image_size=16) as writer:
        for number in range(2):
            images = rng.integers(0, 255, (4, 16, 16, 3), dtype=np.uint8)
            states, actions = rng.normal(size=(4, 8)), rng.normal(size=(4, 7))
            writer.add_episode(
                images, states.astype(np.float32), actions.astype(np.float32), f"task {number}"
            )
    return folder


@given(st.data())
def test_the_description_of_a_dataset(dataset, data):
    path = dataset / "meta" / "info.json"
    whole = path.read_text()
    try:
        path.write_text(json.dumps(data.draw(damaged(json.loads(whole)))))

        def read():
            found = read_metadata(dataset)
            found.tables()
            found.cameras()
            found.stats()

        only_one_line(read)
    finally:
        path.write_text(whole)


@pytest.fixture(scope="module")
def packed(tmp_path_factory):
    path = tmp_path_factory.mktemp("packed") / "study.zip"
    contents = {"results/smoke/summary.md": b"hello\n", "results/smoke/tables/main.csv": b"a,b\n1,2\n"}
    graph = [{"@id": name, "sha256": hashlib.sha256(data).hexdigest()} for name, data in contents.items()]
    contents[METADATA] = json.dumps({"@graph": graph}).encode()
    sums = "".join(f"{hashlib.sha256(data).hexdigest()}  {name}\n" for name, data in contents.items())
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as archive:
        for name, data in (contents | {SUMS: sums.encode()}).items():
            archive.writestr(name, data)
    assert check(path) == 3
    return path


@given(st.data())
def test_the_bytes_of_a_packed_study(packed, tmp_path, data):
    path = tmp_path / "damaged.zip"
    path.write_bytes(data.draw(damaged_bytes(packed.read_bytes())))
    only_one_line(check, path)
