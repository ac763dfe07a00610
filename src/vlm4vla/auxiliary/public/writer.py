"""The stage auxiliary-data for public sets: a stream of samples becomes the splits that batches come from.

A set is read once, whatever the number of backbones that learn from it, and training then needs no network.
Samples are read in blocks of `buffer`, shuffled within them by the seed, and held out by a hash of their
picture (or of the column `group`). Each block is a file; after each, `progress.json` says where the stream
was, so that a run that was killed goes on from there. Memory holds one block. Pictures that are files stay
where they are; those that are bytes of a table are copied as they are.
"""

from __future__ import annotations

import json
import shutil
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa

from vlm4vla.auxiliary.public.mixture import Mixture
from vlm4vla.auxiliary.public.opening import open_set
from vlm4vla.auxiliary.public.points import place_fault
from vlm4vla.auxiliary.public.sample import Fault, Sample, is_held_out
from vlm4vla.config.public_sets import PublicSource
from vlm4vla.config.stages import AuxiliaryDataSettings
from vlm4vla.core.artefacts import Provenance, atomic_path, file_hash, settings_hash, write_json
from vlm4vla.core.errors import UserError
from vlm4vla.core.progress import SECONDS_BETWEEN_LINES
from vlm4vla.data.pictures.files import check
from vlm4vla.data.questions.dataset import HELD_OUT, TRAIN
from vlm4vla.data.questions.encoded_dataset import INFO, SCHEMA, row_of

PROGRESS = "progress.json"  # of a run that has not ended
SPLITS = (TRAIN, HELD_OUT)
LONGEST_GAP = 1_000_000  # rows without a picture or at fault, one after another


def run(settings: AuxiliaryDataSettings, *, output: Path) -> None:
    """Make `train/`, `held_out/` and `set.json` in `output`.

    Raises UserError for a set that cannot be read, for a row that is no sample (unless `faulty` is `skip`),
    and where a split stays empty.
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
    provenance.write(output / "provenance.json", files=hashes, **writer.counts)
    (output / PROGRESS).unlink(missing_ok=True)


class _Writer:
    """Blocks of samples from the stream to files; `counts` says what became of the rows."""

    def __init__(self, settings: AuxiliaryDataSettings, source: PublicSource, output: Path):
        self.settings = settings
        self.source = source
        self.output = output
        opened = {name: open_set(each, f"auxiliary set {name}") for name, each in source.sets.items()}
        self.folders = {name: folder for name, (_, folder) in opened.items()}
        samples = {name: each for name, (each, _) in opened.items()}
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
        self._told = time.monotonic()

    def run(self) -> None:
        position = self._resume()
        stream = self.stream.read(position)
        while not self._done():
            block = self._block(stream)
            if not block:
                break
            self._write(block)
            self.block += 1
            kept = {"identity": self.identity, "block": self.block, "counts": self.counts}
            write_json(self.output / PROGRESS, kept | {"position": self.stream.position})
            self._tell()
        for split in SPLITS:
            if not self.counts[split]:
                raise UserError(
                    f"{', '.join(each.dataset for each in self.source.sets.values())}: no picture for the "
                    f"split {split!r}: take more pictures, or write another `held_out` share"
                )

    def _done(self) -> bool:
        return all(self.counts[split] >= self.wanted[split] for split in SPLITS)

    def _resume(self) -> Any:
        """Where the stream goes on: after the last whole block, or at the start."""
        (self.output / "provenance.json").unlink(missing_ok=True)  # what is there may be of other settings
        try:
            kept = json.loads((self.output / PROGRESS).read_text())
        except (OSError, ValueError):
            kept = {}
        if kept.get("identity") == self.identity:
            self.block, self.counts = kept["block"], kept["counts"]
            for split in SPLITS:
                for file in self.files(split):
                    if int(file.stem.rpartition("-")[2]) >= self.block:  # of a block that was cut off
                        file.unlink()
            return kept["position"]
        for split in SPLITS:
            shutil.rmtree(self.output / split, ignore_errors=True)
            (self.output / split).mkdir()
        return None

    def files(self, split: str) -> list[Path]:
        return sorted((self.output / split).glob("data-*.arrow"))

    def _block(self, stream: Iterator[tuple[str, Sample | Fault]]) -> list[tuple[str, Sample]]:
        """The next `buffer` usable samples with their set, shuffled."""
        block: list[tuple[str, Sample]] = []
        missed = 0
        for name, found in stream:
            settings = self.source.sets[name]
            missed += 1
            if missed > LONGEST_GAP:  # a mixture has no end
                raise UserError(f"{settings.dataset}: no usable sample in {LONGEST_GAP} rows: mend the set")
            if isinstance(found, Sample):
                found = self._checked(name, found)
            if isinstance(found, Sample):
                missed = 0
                block.append((name, found))
                if len(block) == self.buffer:
                    break
            elif found.wrong is None:
                self.counts["without_picture"] += 1
            elif settings.faulty == "skip":
                self.counts["faulty"] += 1
            else:
                raise UserError(
                    f"{found.where}: {found.wrong}; or write `faulty: skip` to leave such samples out"
                )
        random = np.random.default_rng([self.settings.seed, self.block])
        return [block[number] for number in random.permutation(len(block))]

    def _checked(self, name: str, sample: Sample) -> Sample | Fault:
        wrong = next((w for _, answer in sample.statements if (w := place_fault(answer)) is not None), None)
        wrong = wrong or check(sample.picture, self.folders[name])
        settings = self.source.sets[name]
        return sample if wrong is None else Fault(f"{settings.dataset}: sample {sample.id!r}", wrong)

    def _write(self, block: list[tuple[str, Sample]]) -> None:
        rows: dict[str, list[dict[str, Any]]] = {split: [] for split in SPLITS}
        for name, sample in block:
            held_out = is_held_out(sample.group, self.source.sets[name].held_out)
            split = HELD_OUT if held_out else TRAIN
            if self.counts[split] < self.wanted[split]:
                self.counts[split] += 1
                rows[split].append(
                    row_of(self.settings.task, name, sample.id, sample.picture, sample.statements)
                )
        for split, found in rows.items():
            if not found:
                continue
            table = pa.Table.from_pylist(found, schema=SCHEMA)
            path = self.output / split / f"data-{self.block:06d}.arrow"
            with atomic_path(path) as temporary, pa.ipc.new_stream(str(temporary), SCHEMA) as file:
                file.write_table(table)

    def _tell(self) -> None:
        """How far the set has been read, now and then."""
        if time.monotonic() - self._told < SECONDS_BETWEEN_LINES:
            return
        self._told = time.monotonic()
        skipped = ", ".join(
            f"{self.counts[key]} {key.replace('_', ' ')}"
            for key in ("without_picture", "faulty")
            if self.counts[key]
        )
        print(
            f"auxiliary data {self.settings.task}: {self.counts[TRAIN]} pictures to train on, "
            f"{self.counts[HELD_OUT]} held out" + (f"; left out: {skipped}" if skipped else ""),
            file=sys.stderr,
            flush=True,
        )
