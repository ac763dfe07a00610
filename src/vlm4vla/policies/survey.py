"""Whether a model type of transformers works as a backbone, found out on its tiny twin with random weights.

Each check is a property that a policy needs. The reference is the model's own forward pass, and for prompts
and images the model's own processor. docs/backbones.md has the results of all model types.
"""

from __future__ import annotations

import copy
import tempfile
from collections.abc import Callable
from dataclasses import replace
from importlib import metadata
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor
from torch.utils._python_dispatch import TorchDispatchMode
from transformers import PreTrainedModel

from vlm4vla.actions.normalisation import Statistics
from vlm4vla.backbones.checkpoint import load_folder
from vlm4vla.backbones.description import largest_modules
from vlm4vla.backbones.generic import layout as layouts
from vlm4vla.backbones.generic.image_codes import has_image_codes
from vlm4vla.backbones.generic.kinds import generic_adapter_class
from vlm4vla.backbones.generic.parts import find_parts
from vlm4vla.backbones.generic.surveyed import SurveyResult
from vlm4vla.backbones.generic.twin import SPARE, build_twin, needed_packages
from vlm4vla.backbones.loaded import LoadedBackbone
from vlm4vla.config.backbones import TinySize
from vlm4vla.config.policies import MlpHeadSettings
from vlm4vla.core.errors import UserError, one_line
from vlm4vla.core.registry import FAMILIES
from vlm4vla.policies.policy import Policy

SIDE = 64  # of the images in pixels
SAME = 1e-5  # largest difference between two states that are the same
DIFFERENT = 1e-4  # least difference that another image or instruction has to make
INSTRUCTIONS = ("open the drawer", "move the red block to the left of the large green bowl")
OTHER = "open the bowl"
WORDS = (f"{' '.join(INSTRUCTIONS)} cupboard what action should robotic arm take").split()
HEAD = MlpHeadSettings(features=32, hidden=[32, 16], gripper_loss_weight=0.1)
LONGEST_REASON = 160
USUAL = ("input_ids", "attention_mask", "position_ids")  # what every batch has


class SurveyFault(Exception):
    """A check that failed, with what it found."""


def survey(model_type: str, size: TinySize | None = None) -> SurveyResult:
    """Build the twin of `model_type` and check it, up to the first check that fails."""
    found = SurveyResult(model_type, "twin", transformers=metadata.version("transformers"))
    try:
        model, processor = build_twin(model_type, size or TinySize(), WORDS, SIDE, seed=0)
        found = replace(found, failed="prompt", needs=needed_packages(model, processor))
        adapter = generic_adapter_class(model.config)(model.config, processor, SIDE, model_type)
        own = copy.deepcopy(model)
        loaded = LoadedBackbone(model, processor.tokenizer, processor.image_processor, adapter)
        twin = Twin(own, loaded)
        inputs = [name for name in twin.batch(INSTRUCTIONS[:1], [0]) if name not in USUAL]
        found = replace(found, image_tokens=adapter.image_tokens, inputs=tuple(inputs))
        for name, check in CHECKS.items():
            found = replace(found, failed=name)
            unused = check(twin)
            found = replace(found, unused=unused or found.unused)
    except Exception as error:  # transformers raises errors of many types
        kind = "" if isinstance(error, (SurveyFault, UserError)) else f"{type(error).__name__}: "
        reason = kind + one_line(str(error)).removeprefix(f"{model_type}: ")
        return replace(found, reason=reason[:LONGEST_REASON].strip())
    return replace(found, failed="")


class Twin:
    """A backbone, and the model as transformers has it, with the same weights."""

    def __init__(self, own: PreTrainedModel, loaded: LoadedBackbone):
        self.own = own
        self.loaded = loaded
        self.adapter = loaded.adapter
        width = loaded.word_embedding()(torch.tensor([[loaded.end_id]])).shape[-1]
        self.query = torch.from_numpy(np.random.default_rng(5).normal(size=width).astype(np.float32))

    def batch(self, texts: Any, seeds: Any, loaded: LoadedBackbone | None = None) -> dict[str, Any]:
        """A padded batch with one image for each text."""
        loaded = loaded or self.loaded
        images = np.concatenate([layouts.random_images(1, SIDE, seed) for seed in seeds])
        return loaded.batch([list(loaded.prompt_ids(text)) for text in texts], images)

    @torch.no_grad()
    def states(self, texts: Any, seeds: Any) -> Tensor:
        """The states (B, d) of the query."""
        return self.loaded.hidden(self.batch(texts, seeds), self.query)


def _equal(found: Tensor, expected: Tensor, what: str) -> None:
    if found.shape != expected.shape:
        raise SurveyFault(f"{what}: the shape {tuple(found.shape)}, not {tuple(expected.shape)}")
    difference = (found.double() - expected.double()).abs().max().item() if found.numel() else 0.0
    if not difference <= SAME:
        raise SurveyFault(f"{what}: differs by {difference:.1g}")


def check_processor(twin: Twin) -> None:
    """The batch of a prompt is what the model's own processor makes of it."""
    processor = twin.adapter.processor
    instruction = "take the green cupboard"
    text = layouts.rendered(processor, [twin.adapter.instruction(instruction)])
    expected = layouts.ask(processor, [text], layouts.random_images(1, SIDE, 3))
    found = twin.adapter.own_inputs(twin.batch([instruction], [3]))
    ids = found["input_ids"][0].tolist()
    wanted = layouts.ids_of(expected)
    # Some processors add an end token, after which no query can stand.
    if wanted[: len(ids)] != ids or not set(wanted[len(ids) :]) <= set(processor.tokenizer.all_special_ids):
        raise SurveyFault("the ids of a prompt are not those of the processor")
    for name, value in found.items():
        if name not in (layouts.IDS, layouts.MASK) and not name.startswith("decoder_"):
            wanted = torch.as_tensor(expected[name])
            if name in twin.adapter.layout.tokens:
                wanted = wanted[:, : len(ids)]
            _equal(torch.as_tensor(value), wanted, name)


@torch.no_grad()
def check_state(twin: Twin) -> None:
    """The query's state gives the logits that the model's own forward pass gives for the query as a word."""
    adapter, own = twin.adapter, copy.deepcopy(twin.own)
    embedding = own.get_input_embeddings()
    word = adapter.tokenizer.convert_tokens_to_ids(SPARE[-1])
    scale = (embedding(torch.tensor([[word]]))[0, 0] / embedding.weight[word]).mean()  # of Gemma's words
    embedding.weight[word] = twin.query / scale
    query = embedding(torch.tensor([[word]]))[0, 0]  # some embeddings end with a normalisation
    inputs = twin.batch([INSTRUCTIONS[1]], [1])
    expected = adapter.own_logits(own, inputs, word)[0, -1]
    query_id, adapter.query_id = adapter.query_id, word
    try:
        found = adapter.query_state(twin.loaded.model, inputs, query)
        # An output layer with the words' weights gets the query as one of its rows, too.
        rows = torch.arange(len(expected)) != word
        _equal(adapter.logits(twin.loaded.model, found)[0][rows], expected[rows], "its logits")
    finally:
        adapter.query_id = query_id


def check_padding(twin: Twin) -> None:
    """A sample has the same state alone and in a padded batch."""
    together = twin.states(INSTRUCTIONS, [1, 2])
    for row, (text, seed) in enumerate(zip(INSTRUCTIONS, (1, 2), strict=True)):
        _equal(together[row], twin.states([text], [seed])[0], "a state in a padded batch")


def check_image(twin: Twin) -> None:
    """Another image gives another state."""
    _differs(twin.states(INSTRUCTIONS[:1], [1]), twin.states(INSTRUCTIONS[:1], [9]), "the image")


def check_text(twin: Twin) -> None:
    """Another instruction gives another state."""
    _differs(twin.states(INSTRUCTIONS[:1], [1]), twin.states([OTHER], [1]), "the instruction")


def _differs(one: Tensor, other: Tensor, what: str) -> None:
    difference = (one - other).abs().max().item()
    if not difference > DIFFERENT:
        raise SurveyFault(f"another {what.removeprefix('the ')} changes the state by {difference:.1g} only")


class Widths(TorchDispatchMode):
    """Collects the last size of each matrix product."""

    def __init__(self) -> None:
        super().__init__()
        self.seen: set[int] = set()

    def __torch_dispatch__(self, function: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        output = function(*args, **(kwargs or {}))
        if isinstance(output, Tensor) and output.ndim and "mm" in function.__name__:
            self.seen.add(output.shape[-1])
        return output


@torch.no_grad()
def check_vocabulary(twin: Twin) -> None:
    """No product with the vocabulary is computed for a policy; the model's own forward pass has one."""
    model, inputs = twin.loaded.model, twin.batch(INSTRUCTIONS[:1], [1])
    rows = find_parts(model, "twin").output.weight.shape[0]
    with Widths() as ours:
        twin.adapter.query_state(model, inputs, twin.query)
    with Widths() as plain:
        twin.adapter.own_logits(twin.own, inputs)
    if rows not in plain.seen:
        raise SurveyFault(f"its own forward pass has no product of {rows} columns")
    if rows in ours.seen:
        raise SurveyFault("the vocabulary's logits are computed")


@torch.no_grad()
def check_answers(twin: Twin) -> None:
    """The states of a padded batch give the logits of the model's own forward pass, as fine-tuning needs."""
    states = twin.adapter.hidden_states(twin.loaded.model, twin.batch(INSTRUCTIONS, [1, 2]))
    for row, (text, seed) in enumerate(zip(INSTRUCTIONS, (1, 2), strict=True)):
        alone = twin.batch([text], [seed])
        # Some models put the states of an image in front of those of the ids.
        expected = twin.adapter.own_logits(twin.own, alone)[0, -alone["input_ids"].shape[1] :]
        found = twin.adapter.logits(twin.loaded.model, states[row, -len(expected) :])
        _equal(found, expected, "the logits of a text")


def check_training(twin: Twin) -> tuple[str, ...]:
    """A training step changes all weights but the frozen ones. Returns the modules that get no gradient.

    The vision encoder is one of them where the model turns images into codes. Another check has shown before
    that another image gives another state.
    """
    policy = _policy(twin)
    _step(policy)
    still = {name for name, weight in policy.named_parameters() if weight.grad is None}
    output = find_parts(policy.model, "twin").output
    still -= {name for name, weight in policy.named_parameters() if weight is output.weight}
    still -= {name for name, weight in policy.named_parameters() if weight is getattr(output, "bias", None)}
    vision = {id(weight) for module in policy.backbone.vision_encoder() for weight in module.parameters()}
    is_reached = any(weight.grad is not None and id(weight) in vision for weight in policy.parameters())
    if not is_reached and not has_image_codes(policy.model.config):
        raise SurveyFault("no gradient reaches the vision encoder")
    for what in ("vision", "embedding"):
        _check_frozen(twin, what, still)
    return largest_modules(policy.model, {name.removeprefix("model.") for name in still})


def _check_frozen(twin: Twin, what: Any, still: set[str]) -> None:
    policy = _policy(twin)
    policy.freeze(what)
    before = {name: weight.detach().clone() for name, weight in policy.named_parameters()}
    frozen = {name for name, weight in policy.named_parameters() if not weight.requires_grad}
    _step(policy)
    kept = {name for name, weight in policy.named_parameters() if torch.equal(weight, before[name])}
    wrong = sorted((frozen - kept) | (kept - frozen - still))
    if wrong:
        raise SurveyFault(f"with freeze: {what}, {wrong[0]} {'stays' if wrong[0] in kept else 'changes'}")


def _policy(twin: Twin) -> Policy:
    statistics = Statistics("range", "calvin", np.full(6, -2.0, np.float32), np.full(6, 4.0, np.float32))
    loaded = copy.copy(twin.loaded)
    loaded.model = copy.deepcopy(twin.loaded.model)
    return Policy.create(loaded, HEAD, 2, "calvin", statistics, seed=0)


def _step(policy: Policy) -> None:
    """One update with a loss of two samples."""
    optimiser = torch.optim.AdamW([weight for weight in policy.parameters() if weight.requires_grad], 1e-3)
    loaded = policy.backbone
    images = layouts.random_images(2, SIDE, 4)
    batch = loaded.batch([list(loaded.prompt_ids(text)) for text in INSTRUCTIONS], images)
    targets = {
        "pose": torch.linspace(-1, 1, 24).view(2, 2, 6),
        "gripper": torch.tensor([[0, 1], [1, 0]]),
        "mask": torch.ones(2, 2),
    }
    policy.train()
    for module in policy.modules():
        if "drop" in type(module).__name__.lower():
            module.eval()  # a layer that is dropped by chance gets no gradient (Florence-2)
    policy.loss(batch, targets).backward()
    optimiser.step()
    policy.eval()


def check_folder(twin: Twin) -> None:
    """A saved policy is loaded again and gives the same actions."""
    policy = _policy(twin)
    images = layouts.random_images(2, SIDE, 4)
    expected = policy.predict(images, INSTRUCTIONS)
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        policy.save(folder)
        if twin.adapter.family in FAMILIES:  # a policy of this family is loaded with the family's adapter
            policy.backbone = load_folder(folder / "backbone", generic=True)
            policy.model = policy.backbone.model
        else:
            policy = Policy.load(folder)
    # Loaded weights lie in the file's memory. A copy lies as the first policy's weights do: some products
    # round otherwise where memory is not aligned.
    found = copy.deepcopy(policy).predict(images, INSTRUCTIONS)
    if not np.array_equal(found, expected):
        raise SurveyFault(f"the actions of the saved policy differ by {np.abs(found - expected).max():.1g}")


CHECKS: dict[str, Callable[[Twin], tuple[str, ...] | None]] = {
    "processor": check_processor,
    "state": check_state,
    "padding": check_padding,
    "image": check_image,
    "instruction": check_text,
    "vocabulary": check_vocabulary,
    "answers": check_answers,
    "training": check_training,
    "folder": check_folder,
}
