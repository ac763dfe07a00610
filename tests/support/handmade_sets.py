"""LeRobot datasets that tests write with pyarrow, PyAV and Pillow alone, without code of the package.

Each image encodes its frame number in eight bright or dark blocks. So a test can compare a decoded image with
the expected one, up to the losses of the codec, and can detect a frame that is too early or too late.
"""

from __future__ import annotations

import io
import json
from fractions import Fraction

import av
import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
from PIL import Image

LENGTHS = (7, 5, 12, 9, 6)
TASKS = ("open the drawer", "lift the red block")
HEIGHT, WIDTH, FPS = 48, 64, 10
FRONT, WRIST = "observation.images.front", "observation.images.wrist"
TOTAL = sum(LENGTHS)
X264 = {"g": "12", "bf": "2", "crf": "12"}  # long groups, with frames that are decoded out of order


def picture(number, mirrored=False):
    """Return the image of frame `number` of the dataset: (48, 64, 3) uint8."""
    image = np.zeros((HEIGHT, WIDTH, 3), dtype=np.uint8)
    for bit in range(8):
        row, column = divmod(bit, 4)
        value = 210 if number >> bit & 1 else 45
        block = np.s_[24 * row : 24 * row + 24, 16 * column : 16 * column + 16]
        image[block] = (value, value * 3 // 4 + 20, 230 - value)
    return image[:, ::-1] if mirrored else image


def shown_number(image):
    """Return the frame number that a decoded `picture`, (H, W, 3) of any size, shows."""
    height, width = image.shape[0] // 2, image.shape[1] // 4
    number = 0
    for bit in range(8):
        row, column = divmod(bit, 4)
        block = image[height * row : height * (row + 1), width * column : width * (column + 1), 0]
        number |= int(block[2:-2, 2:-2].mean() > 127) << bit
    return number


def actions():
    """Return the actions of all frames, (N, 7) float32; the gripper is 1 (open) or -1."""
    random = np.random.default_rng(3)
    values = random.normal(size=(TOTAL, 7)).astype(np.float32)
    values[:, 6] = np.where(random.random(TOTAL) < 0.5, -1, 1)
    return values


def states():
    """Return the states of all frames, (N, 5) float32."""
    return np.random.default_rng(4).normal(size=(TOTAL, 5)).astype(np.float32)


def write_video(path, numbers, codec="libx264", options=None, mirrored=False):
    """Write a video of the frames `numbers`."""
    path.parent.mkdir(parents=True, exist_ok=True)
    with av.open(str(path), "w") as container:
        stream = container.add_stream(codec, rate=FPS, options=options or X264)
        stream.width, stream.height, stream.pix_fmt = WIDTH, HEIGHT, "yuv420p"
        for position, number in enumerate(numbers):
            frame = av.VideoFrame.from_ndarray(
                np.ascontiguousarray(picture(number, mirrored)), format="rgb24"
            )
            frame.pts, frame.time_base = position, Fraction(1, FPS)
            container.mux(stream.encode(frame))
        container.mux(stream.encode())


def frame_table(first, episodes, pictures=False, gripper=None):
    """Return the table of the frames of `episodes` (numbers); the first is frame `first` of the dataset.

    `gripper`: values of an open and of a closed gripper, instead of 1 and -1.
    """
    count = sum(LENGTHS[episode] for episode in episodes)
    chosen = slice(first, first + count)
    acts = actions()[chosen]
    if gripper is not None:
        acts[:, 6] = np.where(acts[:, 6] > 0, gripper[0], gripper[1])
    frame = np.concatenate([np.arange(LENGTHS[episode]) for episode in episodes])
    columns = {
        "action": pa.array(acts.tolist(), pa.list_(pa.float32())),
        "observation.state": pa.array(states()[chosen].tolist(), pa.list_(pa.float32(), 5)),
        "timestamp": pa.array((frame / FPS).astype(np.float32)),
        "frame_index": pa.array(frame),
        "episode_index": pa.array(np.repeat(episodes, [LENGTHS[episode] for episode in episodes])),
        "index": pa.array(np.arange(first, first + count)),
        "task_index": pa.array(np.repeat([e % 2 for e in episodes], [LENGTHS[e] for e in episodes])),
    }
    if pictures:
        encoded = [png(picture(number)) for number in range(first, first + count)]
        kind = pa.struct({"bytes": pa.binary(), "path": pa.string()})
        columns[FRONT] = pa.array([{"bytes": data, "path": None} for data in encoded], kind)
    return pa.table(columns)


def png(image):
    buffer = io.BytesIO()
    Image.fromarray(image).save(buffer, format="PNG")
    return buffer.getvalue()


def features(dtype):
    """Return the features of info.json. The wrist camera exists only as a video."""
    front = {"dtype": dtype, "shape": [HEIGHT, WIDTH, 3], "names": ["height", "width", "channels"]}
    found = {FRONT: front}
    if dtype == "video":
        found[WRIST] = front
        found["observation.depth"] = front | {"info": {"video.is_depth_map": True}}
    names = {"motors": ["x", "y", "z", "roll", "pitch", "yaw", "gripper"]}
    found["action"] = {"dtype": "float32", "shape": [7], "names": names}
    found["observation.state"] = {"dtype": "float32", "shape": [5], "names": None}
    return found


def stats_of(values):
    values = values.astype(np.float64)
    record = {"min": values.min(0), "max": values.max(0), "mean": values.mean(0), "std": values.std(0)}
    return {key: part.tolist() for key, part in record.items()} | {"count": [len(values)]}


def first_frames():
    """Return the first frame of each episode."""
    return np.cumsum((0, *LENGTHS))[:-1].tolist()


def write_v21(folder, dtype="video", chunk=3, **how):
    """Write a dataset of version 2.1: one table and one video per episode, and `chunk` episodes per chunk."""
    (folder / "meta").mkdir(parents=True)
    info = {
        "codebase_version": "v2.1",
        "fps": FPS,
        "chunks_size": chunk,
        "total_frames": TOTAL,
        "data_path": "data/chunk-{episode_chunk:03d}/episode_{episode_index:06d}.parquet",
        "video_path": "videos/chunk-{episode_chunk:03d}/{video_key}/episode_{episode_index:06d}.mp4",
        "features": features(dtype),
    }
    (folder / "meta/info.json").write_text(json.dumps(info))
    lines = {"episodes": [], "tasks": [], "episodes_stats": []}
    for episode, (first, length) in enumerate(zip(first_frames(), LENGTHS, strict=True)):
        fields = {"episode_chunk": episode // chunk, "episode_index": episode}
        path = folder / info["data_path"].format(**fields)
        path.parent.mkdir(parents=True, exist_ok=True)
        pq.write_table(frame_table(first, [episode], dtype == "image"), path)
        if dtype == "video":
            numbers = range(first, first + length)
            for camera in (FRONT, WRIST):
                video = folder / info["video_path"].format(video_key=camera, **fields)
                write_video(video, numbers, mirrored=camera == WRIST, **how)
        own = {"action": stats_of(actions()[first : first + length])}
        lines["episodes"].append({"episode_index": episode, "tasks": [TASKS[episode % 2]], "length": length})
        lines["episodes_stats"].append({"episode_index": episode, "stats": own})
    lines["tasks"] = [{"task_index": number, "task": task} for number, task in enumerate(TASKS)]
    for name, records in lines.items():
        text = "".join(json.dumps(record) + "\n" for record in records)
        (folder / f"meta/{name}.jsonl").write_text(text)
    return folder


def write_v30(folder, dtype="video", gripper=None, files=((0, 1, 2), (3, 4)), **how):
    """Write a dataset of version 3.0. Each entry of `files` lists the episodes of one table and one video."""
    (folder / "meta/episodes/chunk-000").mkdir(parents=True)
    info = {
        "codebase_version": "v3.0",
        "fps": FPS,
        "data_path": "data/chunk-{chunk_index:03d}/file-{file_index:03d}.parquet",
        "video_path": "videos/{video_key}/chunk-{chunk_index:03d}/file-{file_index:03d}.mp4",
        "features": features(dtype),
    }
    (folder / "meta/info.json").write_text(json.dumps(info))
    episodes = []
    for number, own in enumerate(files):
        first = first_frames()[own[0]]
        fields = {"chunk_index": 0, "file_index": number}
        path = folder / info["data_path"].format(**fields)
        path.parent.mkdir(parents=True, exist_ok=True)
        pq.write_table(frame_table(first, list(own), dtype == "image", gripper), path)
        count = sum(LENGTHS[episode] for episode in own)
        if dtype == "video":
            for camera in (FRONT, WRIST):
                video = folder / info["video_path"].format(video_key=camera, **fields)
                write_video(video, range(first, first + count), mirrored=camera == WRIST, **how)
        for episode in own:
            begin = first_frames()[episode] - first
            record = {"episode_index": episode, "length": LENGTHS[episode], "tasks": [TASKS[episode % 2]]}
            for camera in (FRONT, WRIST) if dtype == "video" else ():
                times = {"from_timestamp": begin / FPS, "to_timestamp": (begin + LENGTHS[episode]) / FPS}
                record |= {f"videos/{camera}/{key}": value for key, value in (fields | times).items()}
            episodes.append(record)
    pq.write_table(pa.Table.from_pylist(episodes), folder / "meta/episodes/chunk-000/file-000.parquet")
    tasks = pa.table({"task_index": list(range(len(TASKS))), "task": list(TASKS)})
    pq.write_table(tasks, folder / "meta/tasks.parquet")
    values = frame_table(0, list(range(len(LENGTHS))), gripper=gripper)["action"]
    values = np.array(values.to_pylist())
    quantiles = {name: np.quantile(values, q, axis=0).tolist() for name, q in (("q01", 0.01), ("q99", 0.99))}
    (folder / "meta/stats.json").write_text(json.dumps({"action": stats_of(values) | quantiles}))
    return folder
