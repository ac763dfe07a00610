#!/bin/bash
# Finding: for a folder of the model type qwen3_5, AutoTokenizer does not use the tokenizer that the folder holds. It
# takes the class Qwen3_5Tokenizer, whatever `tokenizer_class` says, and this class keeps the special tokens of
# tokenizer.json but replaces its model and its splitting of texts by those of Qwen's byte-level tokenizer. A tokenizer
# of whole words then has no words: every text without special tokens becomes an empty list of ids, without a warning
# or an error. The same files in a folder of the type qwen2_vl give three ids, and so does the class that the folder
# names.
#
# Version: transformers 5.23.0 with tokenizers 0.23.3, Python 3.11, without torch. Output:
#
#     qwen2_vl, AutoTokenizer: TokenizersBackend [1, 2, 3]
#     qwen3_5, AutoTokenizer: Qwen3_5Tokenizer []
#     qwen3_5, TokenizersBackend: TokenizersBackend [1, 2, 3]
#
# Exits non-zero if this changes.
set -euo pipefail
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
cd "$folder"
"${PYTHON:-python3.11}" -m venv venv
venv/bin/python -m pip install --quiet transformers==5.23.0 tokenizers==0.23.3 numpy==2.4.6

cat >load.py <<'END'
import json
from pathlib import Path

from tokenizers import Tokenizer, models, pre_tokenizers
from transformers import AutoTokenizer, PreTrainedTokenizerFast

words = Tokenizer(models.WordLevel({"?": 0, "open": 1, "the": 2, "drawer": 3}, unk_token="?"))
words.pre_tokenizer = pre_tokenizers.WhitespaceSplit()
saved = PreTrainedTokenizerFast(tokenizer_object=words, unk_token="?")
found = {}
for model_type, kind in (
    ("qwen2_vl", AutoTokenizer),
    ("qwen3_5", AutoTokenizer),
    ("qwen3_5", PreTrainedTokenizerFast),  # another name of TokenizersBackend
):
    folder = Path(model_type)
    saved.save_pretrained(folder)
    (folder / "config.json").write_text(json.dumps({"model_type": model_type}))
    loaded = kind.from_pretrained(folder)
    name = f"{model_type}, {kind.__name__}"
    found[name] = f"{type(loaded).__name__} {loaded('open the drawer')['input_ids']}"

for name, text in found.items():
    print(f"{name}: {text}")
expected = ["TokenizersBackend [1, 2, 3]", "Qwen3_5Tokenizer []", "TokenizersBackend [1, 2, 3]"]
assert list(found.values()) == expected, "the behaviour has changed"
END
venv/bin/python load.py
