"""What a checkpoint's processor makes of one image and one text, found out by asking it.

Prompts follow the chat template of the checkpoint: one turn of the user with the image and the text, then
the start of the answer. A processor without a chat template gets the plain form: the image's placeholder,
if it has one, followed by the text.

The processor is asked with images of the backbone's size, so that the ids of the image and what belongs
to them are the same for all samples. They are computed once.
"""

from __future__ import annotations

import inspect
from collections.abc import Collection, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from PIL import Image
from torch import Tensor
from transformers.processing_utils import ProcessorMixin
from transformers.utils.chat_template_utils import render_jinja_template

from vlm4vla.core.errors import UserError

# Texts that no template contains, of two lengths.
SHORT, LONG = "open the drawer", "move the red block to the left of the large green bowl"
ANSWER = "cupboard"
IDS, MASK = "input_ids", "attention_mask"
PATCH_TOKEN = "img_patch_token"  # Llama 4 has one token for an image, and others for its patches
OPTIONS = {"enable_thinking": False}  # templates with a mode of thinking start the answer at once
NEW_NAMES = "return_legacy_image_output"  # Fuyu's processor has an old name for the pixels by default
TARGETS = "labels"  # which some processors return beside the inputs, for the model's own training
# Processors that put the images of a list behind the text, and a single image before it
SINGLE = {"IdeficsProcessor"}


@dataclass(frozen=True)
class PromptLayout:
    """The prompt of a processor for one image.

    `prefix`: ids up to and with the last one that stands for the image, or before the text where none does.
    `first`: index of the image's first id in `prefix`. `count`: ids from there on that are the image's.
    `after`: the text behind the prefix, with `SHORT` in the place of the question. `turn`: the text from an
    answer's end to the next answer, with `SHORT` as the question, or None. `end`: the token that ends an
    answer. `behind`: ids that the processor adds behind the text. `tokens`: further inputs of the model for
    each id, by name: the values (P + 1, ...) for the P ids of the prefix and for any id behind it.
    """

    prefix: list[int]
    first: int
    count: int
    after: str
    turn: str | None
    end: str
    behind: list[int]
    tokens: dict[str, Tensor]

    def text(self, question: str) -> str:
        """The text behind the prefix, for `question`."""
        return self.after.replace(SHORT, question)

    def next_turn(self, question: str) -> str:
        """The text between an answer with its end token and the next answer, for `question`."""
        return (self.turn if self.turn is not None else self.after).replace(SHORT, question)


def find_layout(
    processor: ProcessorMixin, image_size: int, source: str, model_ids: Collection[int] = ()
) -> PromptLayout:
    """Ask `processor` for its layout of an image of `image_size` pixels a side.

    `model_ids`: ids in whose places the model puts the image, beside those that the processor names.

    Raises UserError, which begins with `source`, if the processor puts an image behind the text, or if its
    ids do not consist of those of the image and those of the text.
    """
    whole = rendered(processor, [SHORT])
    short, long = (
        ask(processor, [whole.replace(SHORT, text)], random_images(1, image_size)) for text in (SHORT, LONG)
    )
    ids, longer = ids_of(short), ids_of(long)
    if ids == longer:
        raise UserError(f"{source}: its processor does not read the text that it is given")
    marks = image_token_ids_of(processor) | set(model_ids)
    placed = [index for index, token in enumerate(ids) if token in marks]
    after = _behind_image(processor, whole, marks)
    text_ids = encode(processor, after)
    end = len(ids) - len(text_ids)
    while end >= 0 and ids[end : end + len(text_ids)] != text_ids:
        end -= 1
    if end < 0 or longer[:end] != ids[:end] or (placed and placed[-1] >= end):
        raise UserError(
            f"{source}: the prompt of its processor is not an image with a text behind it: register a family "
            "of your own for it (docs/your-own-study.md)"
        )
    after += _added_behind(processor, after, ids[end:])
    first, count = (placed[0], placed[-1] + 1 - placed[0]) if placed else (end, 0)
    end_token, turn = _behind_answer(processor)
    return PromptLayout(
        prefix=ids[:end],
        first=first,
        count=count,
        after=after,
        turn=turn,
        end=end_token,
        behind=ids[end + len(text_ids) :],
        tokens=_token_inputs(processor, short, long, end),
    )


# Asking the processor -------------------------------------------------------------------------------------


def random_images(count: int, side: int, seed: int = 0) -> np.ndarray:
    """Random images (count, side, side, 3) uint8."""
    return np.random.default_rng(seed).integers(0, 256, (count, side, side, 3), dtype=np.uint8)


def ask(processor: ProcessorMixin, texts: list[str], images: np.ndarray) -> dict[str, Any]:
    """What the processor returns for B texts with one image each, as tensors where it can be."""
    given = [Image.fromarray(image) for image in images]
    options = {"add_special_tokens": _adds_special(processor, texts[0]), "return_tensors": "pt"}
    options |= {"return_mm_token_type_ids": True} if hasattr(processor, "return_mm_token_type_ids") else {}
    if NEW_NAMES in inspect.signature(type(processor).__call__).parameters:
        options[NEW_NAMES] = False
    try:
        # One list for each text: some processors take a flat list for the images of one text.
        lists = given if type(processor).__name__ in SINGLE else [[image] for image in given]
        found = processor(text=texts, images=lists, **options)
    except (TypeError, ValueError):
        found = processor(text=texts, images=given, **options)
    # Llama 4's processor gives bfloat16, which a model with other weights does not take.
    return {
        name: value.float() if isinstance(value, Tensor) and value.is_floating_point() else value
        for name, value in found.items()
        if name != TARGETS
    }


def _adds_special(processor: ProcessorMixin, text: str) -> bool:
    """Whether the tokenizer shall add special tokens: not to a template's text, which has them."""
    beginning = processor.tokenizer.bos_token
    return chat_template(processor) is None or not (beginning and text.startswith(beginning))


def encode(processor: ProcessorMixin, text: str) -> list[int]:
    """Ids of a text without added special tokens."""
    return processor.tokenizer(text, add_special_tokens=False)[IDS]


def ids_of(asked: dict[str, Any]) -> list[int]:
    """The ids of the only text."""
    return asked[IDS][0].tolist()


def image_token_ids_of(processor: ProcessorMixin) -> set[int]:
    """The ids that stand for a part of an image."""
    tokenizer = processor.tokenizer
    found = {getattr(processor, "image_token_id", None), getattr(tokenizer, "image_token_id", None)}
    found |= set(getattr(processor, "image_token_ids", None) or ())
    for owner in (processor, tokenizer):
        for name in ("image_token", PATCH_TOKEN):
            token = getattr(owner, name, None)
            if isinstance(token, str):
                found.add(tokenizer.convert_tokens_to_ids(token))
    return {token for token in found if isinstance(token, int) and token != tokenizer.unk_token_id}


def image_ids_of_model(config: Any) -> set[int]:
    """The ids in whose places a model puts an image, by its configuration."""
    found = {getattr(config, name, None) for name in ("image_token_id", "image_token_index")}
    return {token for token in found if isinstance(token, int)}


# Templates ------------------------------------------------------------------------------------------------


def rendered(processor: ProcessorMixin, questions: Sequence[str], answers: Sequence[str] = ()) -> str:
    """A conversation about one image, up to the start of an answer, or with the last answer."""
    template = chat_template(processor)
    if template is None:
        return plain_placeholder(processor) + questions[0]
    turns: list[dict[str, Any]] = []
    for turn, question in enumerate(questions):
        image = [] if turn else [{"type": "image"}]
        turns.append({"role": "user", "content": [*image, {"type": "text", "text": question}]})
        if turn < len(answers):
            turns.append({"role": "assistant", "content": [{"type": "text", "text": answers[turn]}]})
    texts, _ = render_jinja_template(
        conversations=[turns],
        chat_template=template,
        add_generation_prompt=len(answers) < len(questions),
        **processor.tokenizer.special_tokens_map,
        **OPTIONS,
    )
    return texts[0]


def chat_template(processor: ProcessorMixin) -> str | None:
    """The processor's own template, or its tokenizer's."""
    for owner in (processor, processor.tokenizer):
        template = getattr(owner, "chat_template", None)
        if isinstance(template, dict):
            template = template.get("default")
        if template:
            return template
    return None


def plain_placeholder(processor: ProcessorMixin) -> str:
    """The text that stands for an image in a prompt without a template; empty if the processor adds it."""
    # A processor may replace a token in the text by others.
    names = ("image_placeholder_token", "image_token")
    found = (getattr(processor, name, None) for name in names)
    token = next((each for each in found if isinstance(each, str)), "")
    if not token or not hasattr(processor, "prepare_inputs_layout"):
        return token
    image = Image.fromarray(random_images(1, 8)[0])
    try:
        placed = processor.prepare_inputs_layout(images=[[image]], text=[token + SHORT])[1]
    except KeyError:  # GOT-OCR 2's needs options of a call
        return token
    # Florence-2's processor puts a placeholder before every text.
    return "" if placed[0].count(token) > 1 else token


def _behind_image(processor: ProcessorMixin, whole: str, ids: Collection[int]) -> str:
    """The part of a rendered prompt behind the image's placeholder."""
    if chat_template(processor) is None:
        return SHORT
    before, _, _ = whole.partition(SHORT)
    start = max(
        (before.rfind(mark) + len(mark) for mark in _marks(processor, ids) if mark in before), default=0
    )
    return whole[start:]


def _marks(processor: ProcessorMixin, ids: Collection[int]) -> set[str]:
    """The texts of tokens that a template may write for an image, whose own tokens are `ids`."""
    tokenizer = processor.tokenizer
    found = {
        getattr(owner, name, None)
        for owner in (processor, tokenizer)
        for name in ("image_token", "boi_token", "image_placeholder_token")
    }
    found |= {tokenizer.convert_ids_to_tokens(token) for token in ids}
    return {mark for mark in found if isinstance(mark, str) and mark}


def _added_behind(processor: ProcessorMixin, text: str, ids: list[int]) -> str:
    """What the processor adds behind `text` in a prompt of `ids`, such as the line's end of PaliGemma.

    Special tokens at the end, such as an end token, are not part of a prompt. A separator beside an end
    token is: Chameleon's answers stand behind it.
    """
    tokenizer = processor.tokenizer
    count = len(ids)
    ends = set(tokenizer.all_special_ids)
    if tokenizer.eos_token is not None and tokenizer.sep_token != tokenizer.eos_token:
        ends.discard(tokenizer.sep_token_id)
    while count and ids[count - 1] in ends:
        count -= 1
    more = ids[len(encode(processor, text)) : count]
    # The name of a byte's token, such as <0x04>, is decoded to the byte.
    for added in (tokenizer.decode(more), "".join(tokenizer.convert_ids_to_tokens(more))):
        if encode(processor, text + added) == ids[:count]:
            return added
    return ""


def end_of_sentence(tokenizer: Any) -> str:
    """The token that ends a text; tokenizers of BERT's kind have a separator for it."""
    return tokenizer.eos_token or tokenizer.sep_token


def _behind_answer(processor: ProcessorMixin) -> tuple[str, str | None]:
    """The token that ends an answer, and the text between it and the next answer; None without a template."""
    tokenizer = processor.tokenizer
    if chat_template(processor) is None:
        return end_of_sentence(tokenizer), None
    second = LONG
    text = rendered(processor, [SHORT, second], [ANSWER])
    between = text[text.rindex(ANSWER, 0, text.index(second)) + len(ANSWER) :].replace(second, SHORT)
    tokens = encode(processor, between)
    end = tokenizer.convert_ids_to_tokens(tokens[0])
    if tokens[0] not in tokenizer.all_special_ids or not between.startswith(end):
        return end_of_sentence(tokenizer), between
    return end, between[len(end) :]


# Inputs for each id ---------------------------------------------------------------------------------------


def _token_inputs(
    processor: ProcessorMixin, short: dict[str, Any], long: dict[str, Any], prefix: int
) -> dict[str, Tensor]:
    """The inputs that have one value for each id, except ids and mask; see `PromptLayout.tokens`."""
    lengths = len(ids_of(short)), len(ids_of(long))
    found = {}
    for name in token_names(short, long):
        values, longer = short[name][0], long[name][0]
        behind = longer[prefix:]
        if (values[:prefix] != longer[:prefix]).any() or (behind != behind[:1]).any() or lengths[0] <= prefix:
            raise UserError(
                f"the processor's {name} differs between words of one text: register a family of your own "
                "for it (docs/your-own-study.md)"
            )
        found[name] = longer[: prefix + 1].clone()
    return found


def token_names(short: dict[str, Any], long: dict[str, Any]) -> list[str]:
    """Names of the inputs whose second axis is that of the ids, except ids and mask."""
    lengths = len(ids_of(short)), len(ids_of(long))
    return [
        name
        for name, value in short.items()
        if name not in (IDS, MASK)
        and isinstance(value, Tensor)
        and value.ndim > 1
        and (value.shape[1], long[name].shape[1]) == lengths
    ]


def vision_names(asked: dict[str, Any], tokens: Sequence[str]) -> list[str]:
    """Names of the inputs that belong to the images."""
    return [name for name in asked if name not in (IDS, MASK, *tokens)]


def vision_inputs(
    processor: ProcessorMixin, layout: PromptLayout, prompt: str, images: np.ndarray
) -> dict[str, Any]:
    """The inputs of the model that belong to images (B, H, W, 3), one for each sample.

    Raises ValueError if images of this size become other ids than those of the layout.
    """
    asked = ask(processor, [prompt] * len(images), images)
    if ids_of(asked)[: len(layout.prefix)] != layout.prefix:
        height, width = images.shape[1:3]
        raise ValueError(
            f"the processor makes other tokens of images of {height}x{width} pixels: resize them to the "
            "backbone's image size first"
        )
    return {name: asked[name] for name in vision_names(asked, list(layout.tokens))}
