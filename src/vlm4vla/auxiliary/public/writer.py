"""The stage auxiliary-data for public datasets: write a stream of samples as training and held-out splits.

The data is written once and serves every backbone; the training then needs no network. The writer reads
blocks of `buffer` samples and shuffles each block by the seed. A hash of the image, or of the column `group`,
decides which samples are held out. Each block is one file. After each block, `progress.json` records the
position of the stream, so that an interrupted run resumes there. Memory holds one block. Images in files stay
where they are. Images in tables are copied as encoded bytes.
"""

from __future__ import annotations

import shutil
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa

from vlm4vla.auxiliary.points import decimal_points_error
from vlm4vla.auxiliary.public.demonstrations import DemonstrationFrames
from vlm4vla.auxiliary.public.mixture import Mixture
from vlm4vla.auxiliary.public.opening import open_set
from vlm4vla.auxiliary.public.sample import InvalidRow, Sample, is_held_out
from vlm4vla.config.public_sets import PublicSource
from vlm4vla.config.stages import AuxiliaryDataSettings
from vlm4vla.core.artefacts import (
    Provenance,
    atomic_path,
    file_hash,
    files_of,
    parse_json,
    settings_hash,
    write_json,
)
from vlm4vla.core.errors import UserError
from vlm4vla.core.progress import SECONDS_BETWEEN_LINES
from vlm4vla.data.instructions import LeftOut
from vlm4vla.data.pictures.files import picture_problem
from vlm4vla.data.questions.dataset import HELD_OUT, TRAIN
from vlm4vla.data.questions.encoded_dataset import INFO, SCHEMA, dataset_row

PROGRESS = "progress.json"  # exists until the run ends
SPLITS = (TRAIN, HELD_OUT)
LONGEST_GAP = 1_000_000  # consecutive rows that are invalid or have no image


def run(settings: AuxiliaryDataSettings, *, output: Path) -> None:
    """Write `train/`, `held_out/` and `set.json` to `output`.

    Raises UserError if a dataset cannot be read, if a row is invalid (unless `faulty` is `skip`), or if a
    split stays empty.
    """
    source = settings.public
    provenance = Provenance("auxiliary-data", settings.model_dump(mode="json"), {}, settings.seed)
    output.mkdir(parents=True, exist_ok=True)
    writer = _Writer(settings, source, output)
    writer.run()
    write_json(
        output / INFO,
        {
            "task": settings.task,
            "image_size": settings.image_size,
            "folders": {name: str(folder.resolve()) for name, folder in writer.folders.items()},
            "layouts": {name: each.layout for name, each in source.sets.items()},
        },
    )
    hashes = {}
    for split in SPLITS:
        files = writer.files(split)
        write_json(output / split / "state.json", {"_data_files": [{"filename": f.name} for f in files]})
        hashes[split] = {file.name: file_hash(file) for file in files}
    blank = {name: left_out.record() for name, left_out in writer.left_out.items()}
    provenance.write(
        output / "provenance.json",
        files=hashes,
        **writer.counts,
        **({"without_instruction": blank} if blank else {}),
    )
    (output / PROGRESS).unlink(missing_ok=True)


class _Writer:
    """Writes the stream of samples to files, block by block. `counts`: the number of rows of each outcome."""

    def __init__(self, settings: AuxiliaryDataSettings, source: PublicSource, output: Path):
        self.settings = settings
        self.source = source
        self.output = output
        opened = {name: open_set(each, f"auxiliary set {name}") for name, each in source.sets.items()}
        self.folders = {name: folder for name, (_, folder) in opened.items()}
        samples = {name: each for name, (each, _) in opened.items()}
        self.left_out: dict[str, LeftOut] = {}
        for name, each in samples.items():
            if isinstance(each, DemonstrationFrames) and (left_out := each.check()).episodes:
                self.left_out[name] = left_out
                print(f"note: {self.folders[name]}: {left_out.sentence()}", flush=True)
        weights = {name: each.weight for name, each in source.sets.items()}
        self.stream = Mixture(samples, weights, settings.seed)
        self.buffer = max(each.buffer for each in source.sets.values())
        wanted = source.train_pictures or settings.train_pictures
        self.wanted = {
            TRAIN: sys.maxsize if wanted == "all" else wanted,
            HELD_OUT: settings.held_out_pictures,
        }
        self.counts: dict[str, Any] = {TRAIN: 0, HELD_OUT: 0, "without_picture": 0, "faulty": 0}
        self.identity = settings_hash(settings.model_dump(mode="json"))
        self.block = 0
        self._last_report = time.monotonic()

    def run(self) -> None:
        position = self._resume()
        stream = self.stream.read(position)
        while not self._done():
            block = self._next_block(stream)
            if not block:
                break
            self._write(block)
            self.block += 1
            progress = {"identity": self.identity, "block": self.block, "counts": self.counts}
            write_json(self.output / PROGRESS, progress | {"position": self.stream.position})
            self._report_progress()
        for split in SPLITS:
            if not self.counts[split]:
                raise UserError(
                    f"{', '.join(each.dataset for each in self.source.sets.values())}: no image in the split "
                    f"{split!r}: use more images, or write another share as `held_out`"
                )

    def _done(self) -> bool:
        return all(self.counts[split] >= self.wanted[split] for split in SPLITS)

    def _resume(self) -> Any:
        """Return the position after the last complete block, or None to start from the beginning."""
        (self.output / "provenance.json").unlink(missing_ok=True)  # it may belong to other settings
        try:
            progress = parse_json((self.output / PROGRESS).read_text())
        except (OSError, ValueError):
            progress = {}
        if progress.get("identity") == self.identity:
            self.block, self.counts = progress["block"], progress["counts"]
            for split in SPLITS:
                for file in self.files(split):
                    if int(file.stem.rpartition("-")[2]) >= self.block:  # from an incomplete block
                        file.unlink()
            return progress["position"]
        for split in SPLITS:
            shutil.rmtree(self.output / split, ignore_errors=True)
            (self.output / split).mkdir()
        return None

    def files(self, split: str) -> list[Path]:
        return files_of(self.output / split, "data-*.arrow")

    def _next_block(self, stream: Iterator[tuple[str, Sample | InvalidRow]]) -> list[tuple[str, Sample]]:
        """Return the next `buffer` usable samples, each with the name of its dataset, in random order."""
        block: list[tuple[str, Sample]] = []
        gap = 0
        for name, row in stream:
            settings = self.source.sets[name]
            gap += 1
            if gap > LONGEST_GAP:  # a mixture never ends
                raise UserError(
                    f"{settings.dataset}: no usable sample in {LONGEST_GAP} rows: fix the dataset, or "
                    "write another one"
                )
            if isinstance(row, Sample):
                row = self._validate(name, row)
            if isinstance(row, Sample):
                gap = 0
                block.append((name, row))
                if len(block) == self.buffer:
                    break
            elif row.problem is None:
                self.counts["without_picture"] += 1
            elif settings.faulty == "skip":
                self.counts["faulty"] += 1
            else:
                raise UserError(f"{row.where}: {row.problem}; or write `faulty: skip` to skip such samples")
        random = np.random.default_rng([self.settings.seed, self.block])
        return [block[number] for number in random.permutation(len(block))]

    def _validate(self, name: str, sample: Sample) -> Sample | InvalidRow:
        """Return the sample, or an `InvalidRow` if a point or the image is wrong."""
        errors = (decimal_points_error(answer) for _, answer in sample.statements)
        problem = next((error for error in errors if error is not None), None)
        problem = problem or picture_problem(sample.picture, self.folders[name])
        if problem is None:
            return sample
        return InvalidRow(sample.where or f"{self.source.sets[name].dataset}: sample {sample.id!r}", problem)

    def _write(self, block: list[tuple[str, Sample]]) -> None:
        rows: dict[str, list[dict[str, Any]]] = {split: [] for split in SPLITS}
        for name, sample in block:
            held_out = is_held_out(sample.group, self.source.sets[name].held_out)
            split = HELD_OUT if held_out else TRAIN
            if self.counts[split] < self.wanted[split]:
                self.counts[split] += 1
                rows[split].append(
                    dataset_row(self.settings.task, name, sample.id, sample.picture, sample.statements)
                )
        for split, found in rows.items():
            if not found:
                continue
            table = pa.Table.from_pylist(found, schema=SCHEMA)
            path = self.output / split / f"data-{self.block:06d}.arrow"
            with atomic_path(path) as temporary, pa.ipc.new_stream(str(temporary), SCHEMA) as file:
                file.write_table(table)

    def _report_progress(self) -> None:
        """Print the number of images so far, at most once in `SECONDS_BETWEEN_LINES`."""
        if time.monotonic() - self._last_report < SECONDS_BETWEEN_LINES:
            return
        self._last_report = time.monotonic()
        skipped = ", ".join(
            f"{self.counts[key]} {key.replace('_', ' ')}"
            for key in ("without_picture", "faulty")
            if self.counts[key]
        )
        print(
            f"auxiliary data {self.settings.task}: {self.counts[TRAIN]} training images, "
            f"{self.counts[HELD_OUT]} held-out images" + (f"; skipped rows: {skipped}" if skipped else ""),
            file=sys.stderr,
            flush=True,
        )
