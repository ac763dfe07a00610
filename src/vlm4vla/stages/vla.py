"""The stage vla: train a policy from a backbone on the demonstrations of a benchmark."""

from __future__ import annotations

import json
import shutil
from pathlib import Path
from typing import TYPE_CHECKING

from vlm4vla.actions.normalisation import StateScale, Statistics
from vlm4vla.backbones.model_hashes import model_hashes
from vlm4vla.config.stages import VlaSettings
from vlm4vla.conventions.benchmarks import BENCHMARKS, facts
from vlm4vla.core import imports, registry
from vlm4vla.core.artefacts import Provenance, file_hash, write_text
from vlm4vla.data.demonstrations.frame_index import FrameIndex, open_demonstrations
from vlm4vla.data.lerobot.reader import IMAGE
from vlm4vla.policies.model_card import CARD, Sources, policy_card, read_sources
from vlm4vla.training.distributed.processes import is_main

if TYPE_CHECKING:
    from vlm4vla.backbones.loaded import LoadedBackbone
    from vlm4vla.data.lerobot.reader import DemonstrationSet
    from vlm4vla.policies.interface import Interface


def run(settings: VlaSettings, *, backbone: Path, demonstrations: Path, output: Path) -> None:
    """Write the trained policy to the folder `output`. An interrupted training resumes.

    If a training has several processes, each of them calls this function and the main process writes. Raises
    UserError for incomplete demonstrations and for an incomplete backbone, before the training starts.
    """
    inputs = {
        "backbone": backbone / "provenance.json",
        "demonstrations": demonstrations / "provenance.json",
    }
    provenance = Provenance("vla", settings.model_dump(mode="json"), inputs, settings.seed)
    if is_main():
        (output / "provenance.json").unlink(missing_ok=True)  # an old one is not of these settings
    frames = open_demonstrations(
        demonstrations
    )  # errors that are cheap to find come first, before torch is loaded
    statistics = Statistics.from_stats(
        frames.stats, settings.normalisation, settings.benchmark, settings.second_bounds
    )

    imports.load(*imports.MODULES["vla"])
    from vlm4vla.policies.heads import head_class

    state_scale = StateScale.from_stats(frames.stats) if head_class(settings.head).reads_state else None
    from vlm4vla.backbones.vocabulary import restore_original_vocabulary
    from vlm4vla.policies.policy import Policy
    from vlm4vla.training.batches.actions import ActionObjective, action_samples
    from vlm4vla.training.components.precision import load_to_train
    from vlm4vla.training.loop import train

    loaded = restore_original_vocabulary(load_to_train(backbone, settings.training), backbone)
    loaded = with_instruction_words(loaded, settings.benchmark, frames)
    if settings.initial_weights == "random":
        loaded = random_like(loaded, settings.seed)
    loaded = loaded.read_as(settings.reading)
    policy = Policy.create(
        loaded, settings.head, settings.chunk, settings.benchmark, statistics, settings.seed, state_scale
    )
    policy.freeze(settings.freeze)
    samples = action_samples(policy, frames, settings)
    train(
        ActionObjective(policy),
        samples,
        training=settings.training,
        seed=settings.seed,
        folder=output,
        identity={
            "settings": settings.model_dump(mode="json"),
            "inputs": {name: file_hash(path) for name, path in inputs.items()},
        },
        title=f"VLA {settings.backbone} {settings.variant} {settings.benchmark} seed {settings.seed}",
    )
    samples.close()
    if not is_main():
        return
    policy.centre_crop = settings.centre_crop
    record = provenance.record()
    sources = read_sources(record)
    policy.interface = interface_of(frames, settings.benchmark, sources)
    policy.save(output)
    described = json.loads((output / "policy.json").read_text())
    write_text(output / CARD, policy_card(described, record, sources))
    backbone_files = model_hashes(output / "backbone")
    hashes = {f"backbone/{name}": digest for name, digest in backbone_files.items()} | model_hashes(output)
    provenance.write(output / "provenance.json", outputs=hashes)
    shutil.rmtree(output / "checkpoints", ignore_errors=True)  # only after the artefact is finished


def interface_of(frames: DemonstrationSet | FrameIndex, benchmark: str, sources: Sources) -> Interface:
    """What policy.json says about the images and the actions of `frames`.

    The units of a dataset are those of the real benchmark, and those of recorded demonstrations are those of
    the embedded one.
    """
    from vlm4vla.policies.interface import Interface

    known = facts(benchmark)
    units = known.embedded_units if sources.dataset is None else known.real_units
    if isinstance(frames, FrameIndex):
        return Interface(frames.image_size, frames.camera, frames.fps, units)
    assert frames.images is not None
    return Interface(frames.images.shape[1], IMAGE, frames.info["fps"], units)


def with_instruction_words(
    backbone: LoadedBackbone, benchmark: str, frames: DemonstrationSet
) -> LoadedBackbone:
    """Return `backbone` with a token for each word of the instructions of `benchmark` and `frames`.

    The tokenizer of a tiny backbone has whole words only, those of the built-in benchmarks. The missing words
    of another benchmark are added. The tokenizer of a real backbone can encode every word.
    """
    from vlm4vla.backbones.vocabulary import add_words, has_word_tokens

    if not has_word_tokens(backbone):
        return backbone
    own = registry.find("benchmark", benchmark) if benchmark not in BENCHMARKS else None
    instructions = {*frames.tasks, *(own().instructions() if own is not None else ())}
    return add_words(backbone, sorted({word for text in instructions for word in text.split()}))


def random_like(backbone: LoadedBackbone, seed: int) -> LoadedBackbone:
    """Return a copy of the backbone with random weights, which depend on `seed` only."""
    import torch
    from transformers import AutoModelForImageTextToText

    from vlm4vla.backbones.loaded import LoadedBackbone

    adapter = backbone.adapter
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        model = AutoModelForImageTextToText.from_config(
            backbone.model.config, attn_implementation=adapter.attention, dtype=backbone.model.dtype
        )
        adapter.tiny_initialise(model)
    return LoadedBackbone(model, backbone.tokenizer, backbone.image_processor, adapter)
