"""Write images with statements as an Arrow dataset that `vlm4vla.data.questions.reading` reads."""

from __future__ import annotations

import shutil
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any

import pyarrow as pa

from vlm4vla.core.artefacts import file_hash, files_of
from vlm4vla.core.progress import Progress
from vlm4vla.data.pictures.png import encode_small
from vlm4vla.data.questions.dense import DEPTH, SEGMENTATION
from vlm4vla.data.questions.statements import Picture

ROWS_PER_BATCH = 512
COMPRESSION = "zstd"  # of the columns in the Arrow files, which every reader of Arrow undoes


def write_split(
    folder: Path, split: str, pictures: Iterable[Picture], count: int, title: str, dense: bool = False
) -> dict[str, str]:
    """Write `count` images to `folder`/`split` with the columns image (PNG), statements and scene.

    The split appears in one step when it is complete. Equal images and statements give equal bytes in every
    file, including state.json, whose fingerprint is the hash of the rows. `dense` adds two columns for
    `vlm4vla.data.questions.dense`: depth (H * W float16, metres) and segmentation (H * W uint8, classes).
    `title` begins each progress line. Returns the SHA-256 (hex) of each Arrow file by file name.
    """
    import datasets  # takes half a second, which other commands need not spend

    datasets.disable_progress_bars()
    statement = {name: datasets.Value("string") for name in ("set", "question", "answer")}
    columns = {"image": datasets.Value("binary"), "statements": [statement], "scene": datasets.Value("int64")}
    if dense:
        columns |= {DEPTH: datasets.Value("binary"), SEGMENTATION: datasets.Value("binary")}
    features = datasets.Features(columns)
    target, scratch = folder / split, folder / f".{split}.part"
    shutil.rmtree(scratch, ignore_errors=True)
    scratch.mkdir(parents=True)
    with datasets.arrow_writer.ArrowWriter(
        features=features, path=str(scratch / "data.arrow"), writer_batch_size=ROWS_PER_BATCH
    ) as writer:
        for row in _rows(pictures, count, title, dense):
            writer.write(row)
        writer.finalize()
    written = datasets.Dataset.from_file(str(scratch / "data.arrow"))
    # By default, `datasets` computes the fingerprint in state.json from the time of the file.
    fingerprint = file_hash(scratch / "data.arrow")[:16]
    datasets.Dataset(written.data, info=written.info, fingerprint=fingerprint).save_to_disk(scratch / "saved")
    for path in files_of(scratch / "saved", "*.arrow"):
        _compress(path, scratch / "compressed.arrow")
    shutil.rmtree(target, ignore_errors=True)
    (scratch / "saved").rename(target)
    shutil.rmtree(scratch)
    return {path.name: file_hash(path) for path in files_of(target, "*.arrow")}


def _compress(path: Path, part: Path) -> None:
    """Write the Arrow stream `path` again with compressed columns. `part` is a file that does not stay.

    `datasets` reads such files, but has no option to write them.
    """
    table = pa.ipc.open_stream(pa.memory_map(str(path))).read_all()
    options = pa.ipc.IpcWriteOptions(compression=COMPRESSION)
    with pa.OSFile(str(part), "wb") as file, pa.ipc.new_stream(file, table.schema, options=options) as stream:
        for batch in table.to_batches():
            stream.write_batch(batch)
    part.replace(path)


def _rows(pictures: Iterable[Picture], count: int, title: str, dense: bool) -> Iterator[dict[str, Any]]:
    progress = Progress(title, count)
    for index, picture in enumerate(pictures):
        progress.update(index + 1)
        row = {
            "image": encode_small(picture.image),
            "statements": [
                {"set": s.set, "question": s.question, "answer": s.answer} for s in picture.statements
            ],
            "scene": index,
        }
        if dense:
            row[DEPTH] = picture.depth.astype("<f2").tobytes()
            row[SEGMENTATION] = picture.classes.tobytes()
        yield row
