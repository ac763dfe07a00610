"""Files of other kinds: pictures, raw CALVIN, Parquet, checkpoints. See test_any_input.py."""

import io
import itertools
import json
import pickle
import shutil
import struct

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from fuzzing import damaged, damaged_bytes, only_one_line
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image

from vlm4vla.auxiliary.public.json_rows import records
from vlm4vla.auxiliary.public.tables import Tables
from vlm4vla.backbones.weights import weight_facts
from vlm4vla.core.markup import csv_text, markdown_line, markdown_text
from vlm4vla.data.converters.calvin import CalvinSource
from vlm4vla.data.lerobot.frame_rows import frame_batches
from vlm4vla.data.lerobot.metadata import read_metadata
from vlm4vla.data.lerobot.reader import read_demonstrations
from vlm4vla.data.lerobot.writer import LeRobotWriter
from vlm4vla.data.pictures.decoding import MOST_PIXELS, PictureError, check_picture, shown_picture
from vlm4vla.data.pictures.png import decode, encode

# Pillow and NumPy warn about some damage that they can read over.
pytestmark = [
    pytest.mark.filterwarnings("ignore::UserWarning"),
    pytest.mark.filterwarnings("ignore::DeprecationWarning"),
]
NUMBER = itertools.count()
FEWER = settings(settings.default, max_examples=settings.default.max_examples // 4)  # reading is slower


def _encoded(form, **options):
    image = Image.fromarray(np.random.default_rng(0).integers(0, 256, (9, 12, 3), dtype=np.uint8))
    buffer = io.BytesIO()
    image.save(buffer, form, **options)
    return buffer.getvalue()


PICTURES = [
    _encoded("PNG"),
    _encoded("JPEG"),
    _encoded("WEBP"),
    _encoded("WEBP", lossless=True),
    _encoded("GIF"),
    _encoded("TIFF", compression="tiff_lzw"),
    _encoded("BMP"),
    encode(np.zeros((5, 4, 3), np.uint8)),
]


@FEWER
@given(st.sampled_from(PICTURES).flatmap(damaged_bytes))
def test_the_bytes_of_a_picture(content):
    for read in (shown_picture, check_picture, decode):
        try:
            found = read(content)
        except OSError as error:
            assert len(str(error).splitlines()) == 1
            assert isinstance(error, PictureError) or read is decode
        else:
            assert found is None or np.asarray(found).size <= 3 * MOST_PIXELS


ANNOTATIONS = {
    "language": {"ann": ["open", "push"], "emb": np.zeros((2, 1, 4), np.float32)},
    "info": {"episodes": [], "indx": [(0, 1), (1, 2)]},
}
STEP = {
    "rgb_static": np.zeros((4, 4, 3), np.uint8),
    "rel_actions": np.zeros(7),
    "robot_obs": np.zeros(15),
}


@pytest.fixture(scope="module")
def calvin(tmp_path_factory):
    folder = tmp_path_factory.mktemp("calvin")
    (folder / "lang_annotations").mkdir()
    for step in range(3):
        np.savez_compressed(folder / f"episode_{step:07d}.npz", **STEP)
    return folder


def _npy(protocol):
    buffer = io.BytesIO()
    np.save(buffer, np.array(None, dtype=object), allow_pickle=True)
    return buffer.getvalue()[:128] + pickle.dumps(ANNOTATIONS, protocol)


@FEWER
@given(st.sampled_from([_npy(2), _npy(4)]).flatmap(damaged_bytes))
def test_the_annotations_of_calvin(calvin, content):
    (calvin / "lang_annotations" / "auto_lang_ann.npy").write_bytes(content)
    only_one_line(lambda: list(CalvinSource(calvin).episodes(0)))


@FEWER
@given(st.data())
def test_a_step_of_calvin(calvin, data):
    (calvin / "lang_annotations" / "auto_lang_ann.npy").write_bytes(_npy(4))
    path = calvin / "episode_0000001.npz"
    whole = path.read_bytes()
    try:
        path.write_bytes(data.draw(damaged_bytes(whole)))
        only_one_line(lambda: list(CalvinSource(calvin).episodes(0)))
    finally:
        path.write_bytes(whole)


@pytest.fixture(scope="module")
def dataset(tmp_path_factory):
    folder = tmp_path_factory.mktemp("dataset") / "set"
    rng = np.random.default_rng(0)
    with LeRobotWriter(folder, fps=5, robot_type="x", image_size=8) as writer:
        for number in range(2):
            images = rng.integers(0, 255, (3, 8, 8, 3), dtype=np.uint8)
            states, actions = rng.normal(size=(3, 8)), rng.normal(size=(3, 7))
            writer.add_episode(
                images, states.astype(np.float32), actions.astype(np.float32), f"task {number}"
            )
    return folder


def _read_all(folder):
    metadata = read_metadata(folder)
    metadata.check_tables()
    list(metadata.episode_tasks())
    metadata.stats()
    for _ in frame_batches(metadata, metadata.tables(), ["action"]):
        pass
    read_demonstrations(folder)


@pytest.mark.parametrize("name", ["meta/tasks.parquet", "meta/episodes/*/*.parquet", "data/*/*.parquet"])
def test_the_bytes_of_a_table(dataset, name):
    (path,) = dataset.glob(name)
    whole = path.read_bytes()

    @FEWER
    @given(damaged_bytes(whole))
    def search(content):
        path.write_bytes(content)
        only_one_line(_read_all, dataset)

    try:
        search()
    finally:
        path.write_bytes(whole)
    _read_all(dataset)


COLUMNS = [
    pa.array([None, None]),
    pa.array([1, 2]),
    pa.array([-1, 10**12]),
    pa.array([0.5, float("nan")]),
    pa.array(["a", ""]),
    pa.array([[1.0], None]),
    pa.array([[1, 2], [3]]),
    pa.array([b"\xff", b""]),
    pa.array([{"a": 1}, None]),
    pa.array([True, False]),
    pa.array(["2", "x"]).dictionary_encode(),
]


@FEWER
@given(st.data())
def test_other_columns_in_a_table(dataset, data):
    pattern = data.draw(
        st.sampled_from(["meta/tasks.parquet", "meta/episodes/*/*.parquet", "data/*/*.parquet"])
    )
    (path,) = dataset.glob(pattern)
    whole = path.read_bytes()
    table = pq.read_table(path)
    place = data.draw(st.integers(0, table.num_columns - 1))
    column = data.draw(st.sampled_from(COLUMNS))
    column = pa.concat_arrays([column] * 3)[: table.num_rows]
    name = table.column_names[place]
    changed = table.remove_column(place) if data.draw(st.booleans()) else table
    if changed is table or data.draw(st.booleans()):
        changed = table.set_column(place, data.draw(st.sampled_from([name, "other"])), column)
    try:
        pq.write_table(changed, path)
        only_one_line(_read_all, dataset)
    finally:
        path.write_bytes(whole)


STATS = {"action": {"min": [0.0] * 7, "max": [1.0] * 7, "mean": [0.5] * 7, "std": [0.1] * 7, "count": [6]}}


@FEWER
@given(damaged(STATS))
def test_the_statistics_of_a_dataset(dataset, stats):
    path = dataset / "meta" / "stats.json"
    whole = path.read_bytes()
    try:
        path.write_text(json.dumps(stats))
        only_one_line(_read_all, dataset)
    finally:
        path.write_bytes(whole)


HEADER = {
    "a.weight": {"dtype": "F32", "shape": [2, 2], "data_offsets": [0, 16]},
    "__metadata__": {"format": "pt"},
}
CONFIG = {"model_type": "qwen3_vl", "text_config": {"num_hidden_layers": 1}, "vision_config": {"depth": 1}}
INDEX = {"metadata": {}, "weight_map": {"a.weight": "model-00001-of-00001.safetensors"}}


@FEWER
@given(damaged(HEADER), damaged(CONFIG), damaged(INDEX), st.integers(0, 3))
def test_the_files_of_a_checkpoint(tmp_path, header, config, index, which):
    folder = tmp_path / str(next(NUMBER))
    folder.mkdir()
    text = json.dumps(header if which in (0, 3) else HEADER).encode()
    weights = struct.pack("<Q", len(text)) + text + bytes(16)
    (folder / "model-00001-of-00001.safetensors").write_bytes(weights)
    (folder / "config.json").write_text(json.dumps(config if which in (1, 3) else CONFIG))
    (folder / "model.safetensors.index.json").write_text(json.dumps(index if which in (2, 3) else INDEX))
    try:
        only_one_line(weight_facts, folder)
    finally:
        shutil.rmtree(folder)


CONVERSATIONS = json.dumps(
    [
        {
            "id": 1,
            "image": "a.png",
            "conversations": [{"from": "human", "value": "x"}, {"from": "gpt", "value": "y"}],
        }
    ]
).encode()


@FEWER
@given(st.one_of(damaged_bytes(CONVERSATIONS), st.binary(max_size=60)))
def test_the_rows_of_a_json_file(tmp_path, content):
    path = tmp_path / "rows.json"
    path.write_bytes(content)
    only_one_line(lambda: list(records(path)))


ROW = {
    "id": 3,
    "picture": {"bytes": b"x", "path": None},
    "question": "q",
    "answer": "B",
    "choices": ["a", "b"],
}
ROLES = {"id": "id", "picture": "picture", "question": "question", "answer": "answer", "group": ""}


class OneRow:
    def __init__(self, row):
        self.row, self.position = row, None

    def read(self, position=None):
        yield "file", self.row


VALUES = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=5) | st.binary(max_size=5),
    lambda inside: st.lists(inside, max_size=3) | st.dictionaries(st.text(max_size=5), inside, max_size=2),
    max_leaves=5,
)


@FEWER
@given(st.sampled_from(sorted(ROW)), VALUES, st.booleans())
def test_a_row_of_questions(name, value, choices):
    roles = ROLES | ({"choices": "choices"} if choices else {})
    (sample,) = Tables(OneRow(ROW | {name: value}), roles, 1).read()
    assert "\n" not in getattr(sample, "where", "")


@FEWER
@given(st.text(max_size=30))
def test_words_in_markdown_and_csv(text):
    for shown in (markdown_text(text), markdown_line(text)):
        assert "\n" not in shown and "\r" not in shown and "\x1b" not in shown
        assert shown.replace("\\\\", "").replace("\\|", "").count("|") == 0
    cell = csv_text(text)
    assert cell in (text, f"'{text}")
    if cell == text and text[:1] in ("=", "@", "\t", "\r"):
        float(text)
