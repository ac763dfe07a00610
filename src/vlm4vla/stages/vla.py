"""The stage vla: a backbone becomes a policy by training on a benchmark's demonstrations."""

from __future__ import annotations

import shutil
from pathlib import Path
from typing import TYPE_CHECKING

from vlm4vla.actions.normalisation import Statistics
from vlm4vla.actions.state import StateScale
from vlm4vla.config.stages import VlaSettings
from vlm4vla.conventions.benchmarks import BENCHMARKS
from vlm4vla.core import imports, registry
from vlm4vla.core.artefacts import Provenance, file_hash
from vlm4vla.data.demonstrations.opening import open_demonstrations
from vlm4vla.training.distributed.processes import is_main

if TYPE_CHECKING:
    from vlm4vla.backbones.loaded import LoadedBackbone
    from vlm4vla.data.lerobot.reader import Demonstrations


def run(settings: VlaSettings, *, backbone: Path, demonstrations: Path, output: Path) -> None:
    """Write the trained policy's folder to `output`; resumes a training that was killed.

    Where the training has several processes, each of them calls this, and the main one writes.
    Raises UserError for demonstrations or a backbone folder that are not whole, before training starts.
    """
    inputs = {
        "backbone": backbone / "provenance.json",
        "demonstrations": demonstrations / "provenance.json",
    }
    provenance = Provenance("vla", settings.model_dump(mode="json"), inputs, settings.seed)
    if is_main():
        (output / "provenance.json").unlink(missing_ok=True)  # what is there is not of these settings
    frames = open_demonstrations(demonstrations)  # cheap faults first: torch is not loaded yet
    statistics = Statistics.from_stats(frames.stats, settings.normalisation, settings.benchmark)

    imports.load(*imports.MODULES["vla"])
    from vlm4vla.policies.heads import head_class

    state_scale = StateScale.from_stats(frames.stats) if head_class(settings.head).reads_state else None
    from vlm4vla.backbones import load
    from vlm4vla.backbones.vocabulary import without_later_words
    from vlm4vla.policies.policy import Policy
    from vlm4vla.training.batches.actions import ActionObjective
    from vlm4vla.training.batches.vla import action_samples
    from vlm4vla.training.loop import train

    loaded = without_later_words(load(backbone), backbone)
    loaded = with_instruction_words(loaded, settings.benchmark, frames)
    if settings.initial_weights == "random":
        loaded = random_like(loaded, settings.seed)
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
    policy.save(output)
    files = [*sorted((output / "backbone").glob("*.safetensors")), output / "policy.safetensors"]
    hashes = {str(path.relative_to(output)): file_hash(path) for path in files}
    provenance.write(output / "provenance.json", outputs=hashes)
    shutil.rmtree(output / "checkpoints", ignore_errors=True)  # not before the artefact is whole


def with_instruction_words(
    backbone: LoadedBackbone, benchmark: str, frames: Demonstrations
) -> LoadedBackbone:
    """`backbone` with a token for each word of its instructions.

    A tiny backbone knows whole words only, and those of the built-in benchmarks: what another one says beyond
    them is added. A real tokenizer spells every word.
    """
    from vlm4vla.backbones.vocabulary import add_words, has_word_tokens

    if not has_word_tokens(backbone):
        return backbone
    own = registry.find("benchmark", benchmark) if benchmark not in BENCHMARKS else None
    said = {*frames.tasks, *(own().instructions() if own is not None else ())}
    return add_words(backbone, sorted({word for text in said for word in text.split()}))


def random_like(backbone: LoadedBackbone, seed: int) -> LoadedBackbone:
    """The same architecture, tokenizer and image processor with fresh weights: same seed, same bytes."""
    import torch
    from transformers import AutoModelForImageTextToText

    from vlm4vla.backbones.loaded import LoadedBackbone

    adapter = backbone.adapter
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        model = AutoModelForImageTextToText.from_config(
            backbone.model.config, attn_implementation=adapter.attention
        )
        adapter.tiny_initialise(model)
    return LoadedBackbone(model, backbone.tokenizer, backbone.image_processor, adapter)
