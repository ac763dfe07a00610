"""Folders of backbones whose weights are stored in other types than float32."""

import json

import torch
from safetensors.torch import load_file, save_file


def store(folder, change):
    """Store each floating-point weight of a folder in the type `change(name)`, as in config.json."""
    file = folder / "model.safetensors"
    tensors = load_file(file)
    converted = {
        name: value.to(change(name)) if value.is_floating_point() else value
        for name, value in tensors.items()
    }
    file.unlink()  # the file may be a link to the weights of another folder
    save_file(converted, file, metadata={"format": "pt"})
    return folder


def declare(folder, name):
    """Write a type into config.json and into its parts."""
    file = folder / "config.json"
    config = json.loads(file.read_text())
    config["dtype"] = name
    for part in config.values():
        if isinstance(part, dict) and "model_type" in part:
            part["dtype"] = name
    file.unlink()
    file.write_text(json.dumps(config))
    return folder


def store_half(folder, dtype=torch.bfloat16):
    """Store all weights of a folder in `dtype`, and say so in its config.json, like a released checkpoint."""
    return declare(store(folder, lambda name: dtype), str(dtype).removeprefix("torch."))
