"""What `vlm4vla survey` has found about the model types of transformers, and the page about it.

This module loads neither torch nor transformers, so that a run can refuse a model type before any job.
"""

from __future__ import annotations

import csv
import functools
import importlib.util
import io
from collections.abc import Iterable
from dataclasses import dataclass
from importlib import metadata
from pathlib import Path

from vlm4vla.core.markup import markdown_text

FILE = Path(__file__).with_name("surveyed.csv")
COLUMNS = ("model_type", "transformers", "needs", "failed", "reason", "image_tokens", "inputs", "unused")
PACKAGES = ("torchvision", "timm")  # those of `make env-torchvision` that some types need
PAGE = """# Model types

`vlm4vla survey` builds a tiny twin of a model type with random weights and checks what a policy needs. The
reference is the model's own forward pass, and its own processor. A test surveys each type again and compares
the result with this page.

- **processor**: the prompt and the inputs of an image are what the model's processor makes of them.
- **state**: the state of the action query gives the logits of the model's own forward pass, to {same:g}.
- **padding**: the state in a padded batch differs by at most {same:g} from the state of the sample alone.
- **image**, **instruction**: another image, or another instruction, gives another state.
- **vocabulary**: a policy computes no product with the vocabulary. The products are counted.
- **answers**: the logits of a text are those of the model's own forward pass, for fine-tuning.
- **training**: after a training step, frozen weights are the same bytes, and all others have changed. The
  modules that get no gradient are listed: no action depends on them, or the model turns images into codes.
  A code is a choice, which has no gradient. Training does not change the vision encoder of such a model,
  and a run with `freeze-vision` is refused. All other models need a gradient in the vision encoder.
- **folder**: a saved policy is loaded again and predicts the same actions.

{works} of the {count} types that transformers {version} lists for images and text
work{environments}. *Needs* names the packages beside the usual environment: `make env-torchvision` has them
([set-up](set-up.md)). A checkpoint of such a type needs no timm if its `config.json` names a vision encoder
of transformers. *Image tokens* are those of the twin with an image of 64 x 64 pixels. A released
checkpoint has more: `vlm4vla backbone CHECKPOINT` counts them. 0 means that the image is not among the ids,
or that the processor does not say which ids are the image's. The built-in families have adapters of their
own; here, the generic adapter was checked with their types, too. No code of a folder is run, and none of
these types needs any.

| model type | works | needs | image tokens | inputs beside ids and mask | modules that get no gradient |
| --- | --- | --- | --- | --- | --- |
{rows}

## Types that do not work

| model type | check | reason |
| --- | --- | --- |
{others}
"""


@dataclass(frozen=True)
class SurveyResult:
    """The result for one model type.

    `failed`: the check that failed, or "". `reason`: what it found, or "". `needs`: packages beside the usual
    environment. `image_tokens`: ids of one image in the prompt. `inputs`: what the model gets beside ids and
    mask. `unused`: modules that get no gradient, such as a pooling head, on which no action depends,
    or the vision encoder of a model that turns images into codes.
    """

    model_type: str
    failed: str = ""
    reason: str = ""
    image_tokens: int = 0
    inputs: tuple[str, ...] = ()
    unused: tuple[str, ...] = ()
    needs: tuple[str, ...] = ()
    transformers: str = ""

    @property
    def works(self) -> bool:
        return not self.failed

    def lacking(self) -> list[str]:
        """The packages that the type needs and that are not installed."""
        return [name for name in self.needs if importlib.util.find_spec(name) is None]


@functools.cache
def findings() -> dict[str, SurveyResult]:
    """The results by model type."""
    return {each.model_type: each for each in read(FILE.read_text(encoding="utf-8"))}


def read(text: str) -> list[SurveyResult]:
    """The results in the text of a CSV file."""
    return [
        SurveyResult(
            model_type=row["model_type"],
            failed=row["failed"],
            reason=row["reason"],
            image_tokens=int(row["image_tokens"]),
            inputs=tuple(row["inputs"].split()),
            unused=tuple(row["unused"].split()),
            needs=tuple(row["needs"].split()),
            transformers=row["transformers"],
        )
        for row in csv.DictReader(io.StringIO(text))
    ]


def written(found: Iterable[SurveyResult]) -> str:
    """The text of a CSV file with these results."""
    text = io.StringIO()
    writer = csv.writer(text, lineterminator="\n")
    writer.writerow(COLUMNS)
    for each in sorted(found, key=lambda finding: finding.model_type):
        values = {name: getattr(each, name) for name in COLUMNS}
        writer.writerow(" ".join(value) if isinstance(value, tuple) else value for value in values.values())
    return text.getvalue()


def problem(model_type: str) -> str | None:
    """Why a type does not work with the installed transformers; None if it does or if it is not known."""
    found = findings().get(model_type)
    if found is None or found.transformers != metadata.version("transformers"):
        return None
    return None if found.works else found.reason


def page(same: float) -> str:
    """The text of docs/backbones.md. `same`: the largest difference between two states that are the same."""
    found = list(findings().values())
    working = [each for each in found if each.works]
    usual = sum(not each.needs for each in working)
    return PAGE.format(
        same=same,
        works=len(working),
        count=len(found),
        version=found[0].transformers,
        environments=f": {usual} in the usual environment, {len(working) - usual} with further packages"
        if usual < len(working)
        else "",
        rows="\n".join(
            f"| {each.model_type} | yes | {', '.join(each.needs)} | {each.image_tokens} | "
            f"{', '.join(f'`{name}`' for name in each.inputs)} | "
            f"{', '.join(f'`{name}`' for name in each.unused)} |"
            for each in working
        ),
        others="\n".join(
            f"| {each.model_type} | {each.failed} | {markdown_text(each.reason)} |"
            for each in found
            if not each.works
        ),
    )
