"""What a checkpoint is as a backbone: its modules and sizes, its prompt, and what each variant freezes."""

from __future__ import annotations

import itertools
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from torch import nn

from vlm4vla.backbones.checkpoint import load_meta
from vlm4vla.backbones.loaded import LoadedBackbone
from vlm4vla.backbones.weights import stored_types

INSTRUCTION = "open the drawer"
BILLION = 1e9
REPEATED = 4  # tokens in a row that are written once
PARTS = ("vision encoder", "projector", "word embedding", "language model", "output layer")


@dataclass(frozen=True)
class PartOfModel:
    """A part of a model. `modules`: names of its modules and of parameters that belong to none."""

    parameters: int
    modules: tuple[str, ...]


@dataclass(frozen=True)
class Description:
    """A checkpoint as a backbone.

    `types`: of the weights. `image_size`: pixels a side of the images that policies give it. `prompt`: the
    text of a prompt with one image, whose repeated tokens are written once; `prompt_tokens` counts all.
    `frozen`: the number of parameters that each variant freezes.
    """

    checkpoint: str
    model: str
    model_type: str
    adapter: str
    types: tuple[str, ...]
    parameters: int
    parts: dict[str, PartOfModel]
    tied: bool
    image_size: int
    image_tokens: int
    prompt: str
    prompt_tokens: int
    template: str
    end: str
    frozen: dict[str, int]

    def json(self) -> dict[str, Any]:
        return asdict(self)


def describe(folder: Path) -> Description:
    """Describe a Hugging Face folder. Its weights are not loaded.

    Raises UserError if `vlm4vla.backbones.load` would refuse the folder before it reads the weights.
    """
    loaded = load_meta(folder)
    model, adapter = loaded.model, loaded.adapter
    output = model.get_output_embeddings()
    embedding = loaded.word_embedding()
    tied = output is not None and output.weight is embedding.weight
    parts = _parts(loaded, output)
    vision = {id(each) for module in loaded.vision_encoder() for each in module.parameters()}
    named = list(model.named_parameters())
    ids = loaded.prompt_ids(INSTRUCTION)
    return Description(
        checkpoint=str(folder),
        model=type(model).__name__,
        model_type=model.config.model_type,
        adapter="generic" if adapter.is_generic else adapter.family,
        types=tuple(stored_types(folder)),
        parameters=sum(each.numel() for _, each in named),
        parts=parts,
        tied=tied,
        image_size=loaded.image_size,
        image_tokens=adapter.image_tokens,
        prompt=_text(loaded, ids),
        prompt_tokens=len(ids),
        template=adapter.template,
        end=adapter.tokenizer.convert_ids_to_tokens(adapter.end_id()),
        frozen={
            "full": 0,
            "freeze-vision": sum(each.numel() for _, each in named if id(each) in vision),
            "freeze-embedding": sum(each.numel() for each in embedding.parameters()),
        },
    )


def _parts(loaded: LoadedBackbone, output: nn.Module | None) -> dict[str, PartOfModel]:
    """The parts of the model; each parameter belongs to the first one that has it."""
    model = loaded.model
    modules = {
        "vision encoder": loaded.vision_encoder(),
        "word embedding": [loaded.word_embedding()],
        "language model": [loaded.adapter.language_model(model)],
        "output layer": [output] if output is not None else [],
    }
    owner: dict[int, str] = {}
    for part, found in modules.items():
        for module in found:
            for each in module.parameters():
                owner.setdefault(id(each), part)
    of: dict[str, set[str]] = {part: set() for part in PARTS}
    counts = dict.fromkeys(PARTS, 0)
    for name, each in model.named_parameters():
        part = owner.get(id(each), "projector")
        of[part].add(name)
        counts[part] += each.numel()
    return {part: PartOfModel(counts[part], largest_modules(model, of[part])) for part in PARTS}


def largest_modules(model: nn.Module, names: set[str]) -> tuple[str, ...]:
    """The largest modules that consist of the parameters `names`, and the parameters that are left."""
    found: list[str] = []
    for name, module in model.named_modules():
        own = {f"{name}.{each}" if name else each for each, _ in module.named_parameters()}
        if own and own <= names and not name.startswith(tuple(f"{each}." for each in found)):
            found.append(name)
    left = {name for name in names if not name.startswith(tuple(f"{each}." for each in found))}
    return (*found, *sorted(left))


def _text(loaded: LoadedBackbone, ids: list[int]) -> str:
    """The text of a prompt, with tokens that are repeated often (those of an image) written once."""
    words, plain = "", []
    for token, group in itertools.groupby(ids):
        count = len(list(group))
        if count < REPEATED:
            plain += [token] * count
            continue
        words += loaded.tokenizer.decode(plain) + f"[{count} x {loaded.tokenizer.decode([token])}]"
        plain = []
    return words + loaded.tokenizer.decode(plain)


def text(found: Description) -> str:
    """A description as lines for a terminal."""
    rows = [
        ("checkpoint", found.checkpoint),
        ("model", f"{found.model}, model type {found.model_type}, {', '.join(found.types)}"),
        ("adapter", found.adapter),
        ("parameters", _count(found.parameters)),
        ("images", f"{found.image_size} x {found.image_size} pixels, {found.image_tokens} tokens"),
        ("prompt", f"{found.prompt_tokens} tokens: {found.prompt!r}"),
        ("chat format", found.template),
        ("end of answer", found.end),
    ]
    lines = [f"{name:<18}{value}" for name, value in rows]
    lines += ["", f"{'part':<18}{'parameters':>12}  modules"]
    for name, part in found.parts.items():
        modules = ", ".join(part.modules)
        if name == "output layer" and found.tied:
            modules = "tied to the word embedding"
        lines.append(f"{name:<18}{_count(part.parameters):>12}  {modules or 'none'}")
    lines += ["", f"{'variant':<18}{'frozen':>12}"]
    lines += [f"{name:<18}{_count(count):>12}" for name, count in found.frozen.items()]
    return "\n".join(lines)


def _count(parameters: int) -> str:
    for size, letter in ((BILLION, "B"), (1e6, "M"), (1e3, "k")):
        if parameters >= size:
            return f"{parameters / size:.3g} {letter}"
    return str(parameters)
