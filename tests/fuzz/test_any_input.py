"""Whatever a file holds, the answer is a result or a UserError of one line; never another exception.

hypothesis damages valid input: it replaces, removes and adds values anywhere in a configuration and in the
info.json of a dataset, and changes bytes of a packed study and of a CSV file.
"""

import copy
import json
import zipfile
from pathlib import Path

import numpy as np
import pytest
import yaml
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from vlm4vla.config.config import load_config
from vlm4vla.config.layer_files import read_layer
from vlm4vla.core.errors import UserError
from vlm4vla.data.lerobot.metadata import read_metadata
from vlm4vla.data.lerobot.writer import LeRobotWriter
from vlm4vla.provenance.check import check
from vlm4vla.provenance.crate import METADATA
from vlm4vla.provenance.pack import SUMS

REPOSITORY = Path(__file__).parents[2]
EXAMPLES = 500  # for each of four kinds of input
FUZZ = settings(
    max_examples=EXAMPLES,
    deadline=None,
    derandomize=True,
    database=None,
    suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow],
)
SCALARS = st.one_of(
    st.none(),
    st.booleans(),
    st.integers(),
    st.integers(-(10**30), 10**30),
    st.floats(),
    st.text(max_size=8),
    st.sampled_from(["", "none", "all", "full", "../x", "/", "~", "a" * 300, "0", "-1", "\0", "{x}", "$a"]),
)
VALUES = st.recursive(
    SCALARS,
    lambda inside: st.lists(inside, max_size=3) | st.dictionaries(st.text(max_size=6), inside, max_size=3),
    max_leaves=6,
)


def only_user_errors(function, *arguments):
    """Call the function. A UserError must have words and no more lines than errors."""
    try:
        function(*arguments)
    except UserError as error:
        assert str(error).strip()
        assert all(line.strip() for line in str(error).splitlines())


def places(value, path=()):
    """The path of each value inside nested mappings and lists."""
    yield path
    inside = value.items() if isinstance(value, dict) else enumerate(value) if isinstance(value, list) else ()
    for key, each in inside:
        yield from places(each, (*path, key))


@st.composite
def damaged(draw, whole):
    """A copy of `whole` in which up to three values are replaced, removed or joined by others."""
    found = copy.deepcopy(whole)
    for _ in range(draw(st.integers(1, 3))):
        path = draw(st.sampled_from([path for path in places(found) if path] or [()]))
        if not path:
            break
        holder = found
        for key in path[:-1]:
            holder = holder[key]
        action = draw(st.sampled_from(["replace", "remove", "add"]))
        if action == "remove":
            del holder[path[-1]]
        elif action == "add" and isinstance(holder, dict):
            holder[draw(st.text(max_size=6))] = draw(VALUES)
        else:
            holder[path[-1]] = draw(VALUES)
    return found


CONFIG = yaml.safe_load((REPOSITORY / "config.yaml").read_text())


@FUZZ
@given(damaged(CONFIG))
def test_a_configuration(raw):
    only_user_errors(load_config, raw)


@FUZZ
@given(
    st.one_of(
        st.binary(max_size=200), st.text(max_size=200).map(lambda text: text.encode("utf-8", "replace"))
    )
)
def test_a_layer(tmp_path, content):
    path = tmp_path / "layer.yaml"
    path.write_bytes(content)
    only_user_errors(read_layer, path)


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


@FUZZ
@given(st.data())
def test_the_description_of_a_dataset(dataset, data):
    path = dataset / "meta" / "info.json"
    whole = path.read_text()
    try:
        path.write_text(json.dumps(data.draw(damaged(json.loads(whole)))))

        def read():
            found = read_metadata(dataset)
            found.table_files()
            found.cameras()
            found.stats()

        only_user_errors(read)
    finally:
        path.write_text(whole)


@pytest.fixture(scope="module")
def packed(tmp_path_factory):
    import hashlib

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


@FUZZ
@given(st.data())
def test_the_bytes_of_a_packed_study(packed, tmp_path, data):
    content = bytearray(packed.read_bytes())
    for _ in range(data.draw(st.integers(1, 6))):
        at = data.draw(st.integers(0, len(content) - 1))
        match data.draw(st.sampled_from(["change", "cut", "insert"])):
            case "change":
                content[at] = data.draw(st.integers(0, 255))
            case "cut":
                del content[at : at + data.draw(st.integers(1, 40))]
            case "insert":
                content[at:at] = data.draw(st.binary(min_size=1, max_size=20))
        if not content:
            break
    path = tmp_path / "damaged.zip"
    path.write_bytes(bytes(content))
    only_user_errors(check, path)
