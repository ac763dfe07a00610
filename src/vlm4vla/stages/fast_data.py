"""The stage fast-data: demonstrations as questions that FAST tokens answer, and the tokenizer."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import numpy as np

from vlm4vla.actions.chunks import indexed_chunks
from vlm4vla.actions.fast import UNIVERSAL_FILES, FastTokenizer, check_universal, load_universal
from vlm4vla.actions.normalisation import Statistics
from vlm4vla.auxiliary.tasks.fast_injection import SET, TOKENIZER, write_tokens
from vlm4vla.config.stages import FastDataSettings
from vlm4vla.core.artefacts import Provenance, write_json
from vlm4vla.core.errors import UserError
from vlm4vla.data.demonstrations.frame_index import FrameIndex, FramePictures, open_demonstrations
from vlm4vla.data.lerobot.reader import DemonstrationSet
from vlm4vla.data.questions.statements import Picture, Statement
from vlm4vla.data.questions.writer import write_split

HELD_OUT_EPISODES = 10  # one in this many episodes is held out


def run(settings: FastDataSettings, *, demonstrations: Path, output: Path) -> None:
    """Write `train/`, `held_out/` (of other episodes), `fast.json` and `report.json` to `output`."""
    fast = settings.fast
    inputs = {"demonstrations": demonstrations / "provenance.json"}
    if fast.tokenizer is not None:
        universal = Path(fast.tokenizer).expanduser()
        check_universal(universal)
        inputs |= {name: universal / name for name in UNIVERSAL_FILES}
    provenance = Provenance("fast-data", settings.model_dump(mode="json"), inputs, fast.seed)
    frames = open_demonstrations(demonstrations)
    statistics = Statistics.from_stats(frames.stats, settings.normalisation, fast.benchmark)
    chunks = normalised_chunks(frames, statistics, settings.chunk)
    held_out = frames.episode_index % HELD_OUT_EPISODES == HELD_OUT_EPISODES - 1
    if not held_out.any():
        raise UserError(
            f"{demonstrations}: has {len(set(frames.episode_index.tolist()))} episodes, and FAST injection "
            f"holds out one in {HELD_OUT_EPISODES}: record at least {HELD_OUT_EPISODES}"
        )
    if fast.tokenizer is not None:
        tokenizer = load_universal(universal, chunk=settings.chunk, dimensions=chunks.shape[2])
    else:
        tokenizer = FastTokenizer.fit(chunks[~held_out], vocabulary=fast.vocabulary, scale=fast.scale)
    output.mkdir(parents=True, exist_ok=True)
    tokenizer.save(output / TOKENIZER)
    ids = tokenizer.encode(chunks)
    write_json(output / "report.json", report(tokenizer, chunks[held_out], ids, held_out))
    hashes = {}
    random = np.random.default_rng(fast.seed)
    parts = (
        ("train", ~held_out, fast.pictures),
        ("held_out", held_out, fast.held_out_pictures or fast.pictures),
    )
    for split, chosen, most in parts:
        numbers = random.permutation(np.nonzero(chosen)[0])[:most]
        pictures = _pictures(frames, ids, numbers)
        hashes[split] = write_split(output, split, pictures, len(numbers), f"fast {split}")
    provenance.write(output / "provenance.json", files=hashes)


def normalised_chunks(
    frames: DemonstrationSet | FrameIndex, statistics: Statistics, chunk: int
) -> np.ndarray:
    """Chunks (N, chunk, 7) in [-1, 1]: pose, and the gripper as -1 or 1. Last actions repeat."""
    actions, _ = indexed_chunks(frames.actions, frames.episode_index, chunk)
    pose, gripper = statistics.normalise(actions)
    return np.concatenate([pose, 2 * gripper[..., None] - 1], axis=-1)


def report(
    tokenizer: FastTokenizer, chunks: np.ndarray, ids: list[list[int]], held_out: np.ndarray
) -> dict[str, float | int]:
    """Round-trip error, tokens per chunk and vocabulary size, on the held-out `chunks` (N, T, D).

    `ids`: the tokens of all chunks. `held_out`: bool, whether each of them is held out.
    """
    tokens = [numbers for numbers, out in zip(ids, held_out, strict=True) if out]
    errors = [np.abs(tokenizer.decode(n)[0] - chunk) for n, chunk in zip(tokens, chunks, strict=True)]
    return {
        "round_trip_error": float(np.mean(errors)),
        "largest_error": float(np.max(errors)),
        "error_bound": tokenizer.error_bound,
        "tokens_a_chunk": float(np.mean([len(numbers) for numbers in tokens])),
        "vocabulary": tokenizer.size,
        "chunks": len(tokens),
    }


def _pictures(
    frames: DemonstrationSet | FrameIndex, ids: list[list[int]], numbers: np.ndarray
) -> Iterator[Picture]:
    picture = FramePictures(frames).picture if isinstance(frames, FrameIndex) else frames.images.__getitem__
    for number in map(int, numbers):
        instruction = frames.tasks[frames.task_index[number]]
        yield Picture(picture(number), {}, [Statement(SET, instruction, write_tokens(ids[number]))])
