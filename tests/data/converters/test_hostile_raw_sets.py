"""Raw datasets of CALVIN and LIBERO from strangers: damaged, enormous, or with the content of other files."""

import io
import json
import tracemalloc
import zipfile

import numpy as np
import pytest

from vlm4vla.core.errors import UserError
from vlm4vla.data.converters.calvin import CalvinSource
from vlm4vla.data.converters.libero import LiberoSource

h5py = pytest.importorskip("h5py")
STEP = {
    "rgb_static": np.zeros((8, 8, 3), np.uint8),
    "rel_actions": np.zeros(7),
    "robot_obs": np.zeros(15),
}


@pytest.fixture
def calvin(tmp_path):
    """A CALVIN split of one annotation of four steps."""
    folder = tmp_path / "split"
    write_annotations(folder, [(0, 3)])
    for step in range(4):
        np.savez_compressed(folder / f"episode_{step:07d}.npz", **STEP)
    return folder


def write_annotations(folder, ranges, texts=None):
    path = folder / "lang_annotations" / "auto_lang_ann.npy"
    path.parent.mkdir(parents=True, exist_ok=True)
    content = {"language": {"ann": texts or ["open"] * len(ranges)}, "info": {"indx": ranges}}
    np.save(path, content, allow_pickle=True)


def refused(source, path):
    tracemalloc.start()
    try:
        with pytest.raises(UserError) as error:
            for _ in source(path).episodes(0):
                pass
        peak = tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()
    assert len(str(error.value).splitlines()) == 1 and str(path) in str(error.value)
    assert peak < 30_000_000
    return str(error.value)


def test_a_whole_split_is_read(calvin):
    episodes = list(CalvinSource(calvin).episodes(0))
    assert episodes[0].images.shape == (4, 8, 8, 3) and episodes[0].instruction == "open"


def npz(**members):
    """A .npz file. Members are arrays, or bytes as they stand."""
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w", zipfile.ZIP_DEFLATED) as archive:
        for name, value in members.items():
            if not isinstance(value, bytes):
                inner = io.BytesIO()
                np.save(inner, value, allow_pickle=False)
                value = inner.getvalue()
            archive.writestr(f"{name}.npy", value)
    return buffer.getvalue()


def header(text):
    body = text.encode() + b"\n"
    return b"\x93NUMPY\x01\x00" + len(body).to_bytes(2, "little") + body


ENORMOUS = header("{'descr': '|u1', 'fortran_order': False, 'shape': (10000000, 10000000, 3)}")
OBJECTS = header("{'descr': '|O', 'fortran_order': False, 'shape': (8, 8, 3)}")
PARTS = {
    "no zip": b"nothing",
    "empty": b"",
    "no member": npz(rgb_static=STEP["rgb_static"]),
    "cut": npz(**STEP)[:-40],
    "other shape": npz(**STEP | {"rel_actions": np.zeros(6)}),
    "grey": npz(**STEP | {"rgb_static": np.zeros((8, 8), np.uint8)}),
    "a number": npz(**STEP | {"rgb_static": np.uint8(3)}),
    "floats": npz(**STEP | {"rgb_static": np.zeros((8, 8, 3))}),
    "no pixels": npz(**STEP | {"rgb_static": np.zeros((0, 8, 3), np.uint8)}),
    "words": npz(**STEP | {"robot_obs": np.array(["a"] * 15)}),
    "dates": npz(**STEP | {"rel_actions": np.zeros(7, "M8[s]")}),
    "enormous": npz(**STEP | {"rgb_static": ENORMOUS}),
    "objects": npz(**STEP | {"rgb_static": OBJECTS}),
    "fewer bytes": npz(
        **STEP | {"rel_actions": header("{'descr': '<f8', 'fortran_order': False, 'shape': (7,)}")}
    ),
    "header of code": npz(**STEP | {"rel_actions": header("__import__('os').system('true')")}),
    "header that does not end": npz(**STEP | {"rel_actions": header("{'descr': (((")}),
    "header that is nested deep": npz(**STEP | {"rel_actions": header("(" * 5000)}),
    "member of a method that nobody has": npz(**STEP).replace(
        b"PK\x01\x02\x14\x03\x14\x00\x00\x00\x08", b"PK\x01\x02\x14\x03\x14\x00\x00\x00\x63"
    ),
}


@pytest.mark.parametrize("name", PARTS)
def test_a_damaged_step_is_named(calvin, name):
    (calvin / "episode_0000002.npz").write_bytes(PARTS[name])
    assert "episode_0000002.npz" in refused(CalvinSource, calvin)


def test_a_member_with_many_zeros(calvin):
    """3 GB that are compressed to 3 MB would follow the header; the shape is refused before they are read."""
    content = header("{'descr': '|u1', 'fortran_order': False, 'shape': (30000, 30000, 3)}") + bytes(
        50_000_000
    )
    (calvin / "episode_0000002.npz").write_bytes(npz(**STEP | {"rgb_static": content}))
    assert "more than 50000000 pixels" in refused(CalvinSource, calvin)


def test_more_bytes_than_the_shape_has(calvin):
    content = header("{'descr': '|u1', 'fortran_order': False, 'shape': (8, 8, 3)}") + bytes(100_000_000)
    (calvin / "episode_0000002.npz").write_bytes(npz(**STEP | {"rgb_static": content}))
    assert "does not have 192 bytes" in refused(CalvinSource, calvin)


@pytest.mark.parametrize(
    ("ranges", "problem"),
    [
        ([(0, 10**12)], "more than 10000 steps"),
        ([(0, 10_000)], "more than 10000 steps"),
        ([(3, 0)], "ends before it begins"),
        ([(-2, 1)], "not found"),
        ([(10**400, 10**400)], "needs language.ann and info.indx"),
        ([(0, float("inf"))], "needs language.ann and info.indx"),
        ([(float("nan"), 3)], "needs language.ann and info.indx"),
        ([("a", 3)], "needs language.ann and info.indx"),
        ([5], "needs language.ann and info.indx"),
        ([(0, 1, 2)], "needs language.ann and info.indx"),
        ([(0.5, 3)], "needs language.ann and info.indx"),
        ([(None, 3)], "needs language.ann and info.indx"),
    ],
)
def test_ranges_that_are_none(calvin, ranges, problem):
    write_annotations(calvin, ranges)
    assert problem in refused(CalvinSource, calvin)


@pytest.mark.parametrize(
    "content",
    [
        [],
        5,
        None,
        "x",
        {},
        {"language": 3, "info": {"indx": []}},
        {"language": {"ann": 3}, "info": {"indx": [(0, 1)]}},
    ],
)
def test_annotations_that_are_none(calvin, content):
    path = calvin / "lang_annotations" / "auto_lang_ann.npy"
    value = np.empty((), dtype=object)
    value[()] = content
    np.save(path, value, allow_pickle=True)
    assert "auto_lang_ann.npy" in refused(CalvinSource, calvin)


@pytest.mark.parametrize(
    "text", ["{'descr': '|O', 'shape': (((", "{'descr': '|O'", "\\", "(" * 5000, "'a\n'b"]
)
def test_a_header_of_the_annotations_that_is_none(calvin, text):
    (calvin / "lang_annotations" / "auto_lang_ann.npy").write_bytes(header(text))
    assert "does not contain plain values" in refused(CalvinSource, calvin)


@pytest.mark.parametrize(
    "name", ["episode_0000002.npz", "lang_annotations", "lang_annotations/auto_lang_ann.npy"]
)
def test_a_link_out_of_a_split(calvin, tmp_path, name):
    (calvin / name).rename(tmp_path / "elsewhere")
    (calvin / name).symlink_to(tmp_path / "elsewhere")
    assert "a link out of the folder" in refused(CalvinSource, calvin)


# LIBERO ---------------------------------------------------------------------------------------------------


def write_libero(path, change=lambda content: None):
    """A LIBERO file of one demonstration of four steps, changed by `change`."""
    with h5py.File(path, "w") as content:
        data = content.create_group("data")
        data.attrs["problem_info"] = json.dumps({"language_instruction": "open the drawer"})
        demo = data.create_group("demo_0")
        demo["actions"] = np.zeros((4, 7))
        observed = demo.create_group("obs")
        observed["agentview_rgb"] = np.zeros((4, 8, 8, 3), np.uint8)
        observed["ee_states"], observed["gripper_states"] = np.zeros((4, 6)), np.zeros((4, 2))
        change(content)
    return path


def replace(place, **options):
    def change(content):
        del content[place]
        content.create_dataset(place, **options)

    return change


def link(place, target):
    def change(content):
        del content[place]
        content[place] = target

    return change


def virtual(content):
    layout = h5py.VirtualLayout((4, 7), float)
    layout[:] = h5py.VirtualSource("other.hdf5", "data/demo_0/actions", (4, 7))
    del content["data/demo_0/actions"]
    content.create_virtual_dataset("data/demo_0/actions", layout)


def through_a_link(content):
    content["elsewhere"] = h5py.ExternalLink("other.hdf5", "/data/demo_0")
    del content["data/demo_0/actions"]
    content["data/demo_0/actions"] = h5py.SoftLink("/elsewhere/actions")


OBSERVED = "data/demo_0/obs"
ELSEWHERE = {
    "data": link("data", h5py.ExternalLink("other.hdf5", "/data")),
    "a demonstration": link("data/demo_0", h5py.ExternalLink("other.hdf5", "/data/demo_0")),
    "the observations": link(OBSERVED, h5py.ExternalLink("other.hdf5", f"/{OBSERVED}")),
    "images": link(
        f"{OBSERVED}/agentview_rgb", h5py.ExternalLink("other.hdf5", f"/{OBSERVED}/agentview_rgb")
    ),
    "a file that is not there": link("data/demo_0/actions", h5py.ExternalLink("/nowhere.hdf5", "/x")),
    "a link to a link": through_a_link,
    "a virtual dataset": virtual,
    "raw bytes": replace(
        f"{OBSERVED}/agentview_rgb", shape=(4, 8, 8, 3), dtype=np.uint8, external=[("secret.txt", 0, 768)]
    ),
}


@pytest.mark.parametrize("name", ELSEWHERE)
def test_the_content_of_another_file(tmp_path, name):
    write_libero(tmp_path / "other.hdf5")
    (tmp_path / "secret.txt").write_bytes(bytes(768))
    path = write_libero(tmp_path / "KITCHEN_SCENE3_open_the_drawer_demo.hdf5", ELSEWHERE[name])
    assert "is in another file" in refused(LiberoSource, path)


def test_a_link_inside_the_file_is_followed(tmp_path):
    def change(content):
        content["kept"] = content["data/demo_0/actions"]
        del content["data/demo_0/actions"]
        content["data/demo_0/actions"] = h5py.SoftLink("/kept")

    path = write_libero(tmp_path / "KITCHEN_SCENE3_open_the_drawer_demo.hdf5", change)
    assert next(LiberoSource(path).episodes(0)).actions.shape == (4, 7)


FAULTS = {
    "enormous images": replace(
        f"{OBSERVED}/agentview_rgb", shape=(10**7, 512, 512, 3), dtype=np.uint8, chunks=(1, 64, 64, 3)
    ),
    "enormous actions": replace("data/demo_0/actions", shape=(10**11, 7), dtype=float, chunks=(64, 7)),
    "words": replace("data/demo_0/actions", data=np.array([[b"a"] * 7] * 4)),
    "images of floats": replace(f"{OBSERVED}/agentview_rgb", data=np.zeros((4, 8, 8, 3))),
    "flat images": replace(f"{OBSERVED}/agentview_rgb", data=np.zeros((4, 192), np.uint8)),
    "one number": replace(f"{OBSERVED}/ee_states", data=3.0),
    "no shape": replace("data/demo_0/actions", data=h5py.Empty("f")),
    "other lengths": replace(f"{OBSERVED}/ee_states", data=np.zeros((3, 6))),
    "a group for an array": lambda content: (
        content.__delitem__("data/demo_0/actions"),
        content.create_group("data/demo_0/actions"),
    ),
    "an array for a group": lambda content: (
        content.__delitem__(OBSERVED),
        content.create_dataset(OBSERVED, data=np.zeros(3)),
    ),
    "a dangling link": link("data/demo_0/actions", h5py.SoftLink("/nowhere")),
    "a circle": link("data/demo_0/actions", h5py.SoftLink("/data/demo_0/actions")),
}


@pytest.mark.parametrize("name", FAULTS)
def test_a_fault_of_a_libero_file_is_one_line(tmp_path, name):
    path = write_libero(tmp_path / "KITCHEN_SCENE3_open_the_drawer_demo.hdf5", FAULTS[name])
    refused(LiberoSource, path)


@pytest.mark.parametrize("info", [b"\xff", "[", "5", '{"language_instruction": 5}', "{}", "[" * 5000])
def test_the_description_of_a_task_that_is_none(tmp_path, info):
    def change(content):
        content["data"].attrs["problem_info"] = info

    path = write_libero(tmp_path / "KITCHEN_SCENE3_open_the_drawer_demo.hdf5", change)
    assert "language_instruction" in refused(LiberoSource, path)
