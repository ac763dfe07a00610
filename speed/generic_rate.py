"""The generic adapter beside the adapters of the built-in families: the same states, and its training rate.

For each tiny backbone of the configuration, the program gives the same weights to both adapters. The generic
one gets the family's own processor and prompt format. The program prints the largest difference between both
states of the action query, and the training rates in samples per CPU second with their ratio, as JSON.

    python speed/generic_rate.py [--config config.yaml] [--steps 40] [BACKBONE ...]
"""

from __future__ import annotations

import argparse
import json
import os
import sys
import tempfile
from pathlib import Path

os.environ.setdefault("OMP_NUM_THREADS", "1")

import numpy as np
import torch
import yaml
from training_rate import INSTRUCTION, demonstrations, measure

from vlm4vla.backbones import build
from vlm4vla.backbones.adapter import Adapter
from vlm4vla.backbones.families.chatml import ANSWER, SYSTEM, USER
from vlm4vla.backbones.generic import layout as layouts
from vlm4vla.backbones.generic.family import GenericAdapter
from vlm4vla.backbones.generic.processor import load_processor
from vlm4vla.backbones.loaded import LoadedBackbone
from vlm4vla.backbones.processor_files import write_processor_files
from vlm4vla.config.config import load_config
from vlm4vla.config.reading import Reading

KOSMOS = "kosmos-2"
TURNS = (
    "{%% for message in messages %%}{%% if message['role'] == 'user' %%}"
    "{%% if loop.first %%}%(system)s{%% endif %%}%(user)s{%% endif %%}"
    "{%% for part in message['content'] %%}"
    "{%% if part['type'] == 'image' %%}%(image)s{%% else %%}{{ part['text'] }}{%% endif %%}{%% endfor %%}"
    "{%% if message['role'] == 'assistant' %%}<|im_end|>\n{%% endif %%}{%% endfor %%}"
    "{%% if add_generation_prompt %%}%(answer)s{%% endif %%}"
)


def template(adapter: Adapter) -> str | None:
    """The chat template of a family with chat turns; None for a family without."""
    image = getattr(adapter, "image_token", None)
    if image is None:
        return None
    if adapter.family != "internvl":  # its processor writes the tags itself
        image = f"{adapter.image_open}{image}{adapter.image_close}"
    return TURNS % {"system": SYSTEM, "user": USER, "image": image, "answer": ANSWER}


def with_generic_adapter(backbone: LoadedBackbone) -> LoadedBackbone:
    """The same model with the generic adapter, which asks the family's own processor."""
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        backbone.save(folder / "backbone")
        write_processor_files(backbone.adapter, folder / "backbone", folder)
        (folder / "config.json").write_bytes((folder / "backbone" / "config.json").read_bytes())
        processor = load_processor(folder)
    processor.chat_template = template(backbone.adapter)
    adapter = GenericAdapter(backbone.model.config, processor, backbone.image_size, backbone.adapter.family)
    return LoadedBackbone(backbone.model, processor.tokenizer, processor.image_processor, adapter)


@torch.no_grad()
def difference(backbone: LoadedBackbone, texts: list[str]) -> float:
    """The largest difference between the states of both adapters, for prompts of different lengths."""
    generic = with_generic_adapter(backbone)
    if backbone.adapter.family.startswith("paligemma"):  # the processor's own attention
        backbone = backbone.read_as(Reading(attention="prefix"))
    side = backbone.image_size
    images = np.random.default_rng(0).integers(0, 256, (len(texts), side, side, 3), dtype=np.uint8)
    query = torch.linspace(-1, 1, backbone.hidden_size)
    states = []
    for each in (backbone, generic):
        each.model.eval()
        # Built-in families without a chat format write the instruction alone.
        own = [backbone.adapter.instruction(text) for text in texts]
        if each is generic and backbone.adapter.family == KOSMOS:  # the study puts tags around the text
            own = [backbone.adapter.after_image(text).removeprefix("</image>") for text in own]
        ids = [list(each.question_ids(text)) for text in own]
        states.append(each.hidden(each.batch(ids, images), query))
    return (states[0] - states[1]).abs().max().item()


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("backbones", nargs="*", help="names in the config (default: all tiny backbones)")
    parser.add_argument("--config", type=Path, default=Path("config.yaml"))
    parser.add_argument("--steps", type=int, default=40, help="number of timed training steps")
    arguments = parser.parse_args()
    torch.set_num_threads(1)
    config = load_config(yaml.safe_load(arguments.config.read_text()), str(arguments.config))
    names = arguments.backbones or [name for name, each in config.backbones.items() if each.tiny]
    words = f"{INSTRUCTION} {layouts.SHORT} {layouts.LONG} {layouts.ANSWER}".split()
    found = {}
    with tempfile.TemporaryDirectory() as folder:
        frames = demonstrations(Path(folder), config.image_size)
        for name in names:
            backbone = build(config.backbones[name], name, words, config.image_size, 0)
            if config.backbones[name].family == KOSMOS:
                print(f"left out: {name}, whose processor gives 64 image tokens at least", file=sys.stderr)
                continue
            own, generic = (
                measure(config, name, frames, arguments.steps, prepare, words)["samples_per_cpu_second"]
                for prepare in (lambda each: each, with_generic_adapter)
            )
            found[name] = {
                "family": config.backbones[name].family,
                "state_difference": difference(backbone, ["put the block", INSTRUCTION]),
                "own_samples_per_cpu_second": own,
                "generic_samples_per_cpu_second": generic,
                "ratio": round(generic / own, 2),
            }
    print(json.dumps({"threads": 1, "steps": arguments.steps, "backbones": found}, indent=2))


if __name__ == "__main__":
    main()
