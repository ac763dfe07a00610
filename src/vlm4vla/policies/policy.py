"""A VLA: a backbone and an action head.

With the study's head, one learnable action query is appended to the prompt as its last token, and its last
hidden state becomes the actions: no robot state, no history, one picture. Expert VLAs have other heads
(heads/). A policy's folder holds `backbone/` (an ordinary Hugging Face folder), `policy.safetensors` (the
head, with the query) and `policy.json` (what else is needed to act).
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any, Literal

import numpy as np
import torch
from pydantic import TypeAdapter
from safetensors import SafetensorError
from safetensors.torch import load_file, save_file
from torch import Tensor, nn

from vlm4vla.actions.normalisation import Statistics
from vlm4vla.actions.state import StateScale
from vlm4vla.backbones import load
from vlm4vla.backbones.loaded import LoadedBackbone
from vlm4vla.config.heads import HeadSettings
from vlm4vla.core.artefacts import atomic_path, write_json
from vlm4vla.core.errors import UserError
from vlm4vla.policies.heads import head_class
from vlm4vla.policies.heads.base import Targets

FORMAT = 2  # of policy.json and policy.safetensors


class Policy(nn.Module):
    """Parameters: `model.*` (the backbone) and `head.*`; `state_scale` is None where the head reads none."""

    def __init__(
        self,
        backbone: LoadedBackbone,
        head: HeadSettings,
        chunk: int,
        benchmark: str,
        statistics: Statistics,
        state_scale: StateScale | None = None,
    ):
        super().__init__()
        kind = head_class(head)
        backbone = kind.prepared(backbone, head)
        self.backbone = backbone
        self.model = backbone.model
        self.settings = head
        self.chunk = chunk
        self.benchmark = benchmark
        self.statistics = statistics
        self.state_scale = state_scale if kind.reads_state else None
        more = {"state_size": self.state_scale.size} if self.state_scale else {}
        self.head = kind(backbone, head, chunk, **more)
        self.freeze("none")

    @classmethod
    def create(
        cls,
        backbone: LoadedBackbone,
        head: HeadSettings,
        chunk: int,
        benchmark: str,
        statistics: Statistics,
        seed: int,
        state_scale: StateScale | None = None,
    ) -> Policy:
        """A policy with a new head; same seed, same bytes."""
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(seed)
            return cls(backbone, head, chunk, benchmark, statistics, state_scale)

    def freeze(self, what: Literal["none", "vision", "embedding"]) -> None:
        """Choose what trains: everything, all but the vision encoder, or all but the word embedding.

        An output layer that is not tied to the word embedding trains only with a head that says words: no
        other action depends on it.
        """
        for parameter in self.parameters():
            parameter.requires_grad_(True)
        output = self.model.get_output_embeddings()
        tied = output is None or output.weight is self.backbone.word_embedding().weight
        if not tied and not self.head.says_words:
            output.requires_grad_(False)
        frozen = {
            "none": list,
            "vision": self.backbone.vision_encoder,
            "embedding": lambda: [self.backbone.word_embedding()],
        }
        for module in frozen[what]():
            module.requires_grad_(False)

    def forward(self, batch: dict[str, Any]) -> tuple[Tensor, Tensor]:
        """Pose (B, chunk, 6) in [-1, 1] and gripper logits (B, chunk, 1) of a `LoadedBackbone.batch`, for
        heads that read no state and do not sample."""
        return self.head.actions(self.backbone, batch, None, None)

    def loss(self, batch: dict[str, Any], targets: Targets) -> Tensor:
        """The head's loss on a `LoadedBackbone.batch`: a mean over steps that are not padded."""
        return self.head.loss(self.backbone, batch, targets)

    @torch.inference_mode()
    def predict(
        self,
        images: np.ndarray | Tensor,
        instructions: Sequence[str],
        states: np.ndarray | None = None,
        noise: np.ndarray | None = None,
    ) -> np.ndarray:
        """Actions (B, chunk, 7) float32 in the benchmark's units, from pictures (B, H, W, 3) uint8.

        The gripper has the benchmark's own polarity. Prompts are kept for each instruction. `states` (B, S),
        in the robot's units, for a head that reads them; `noise` (B, chunk, 7), standard normal, for one that
        samples: the same noise, the same actions.
        """
        if len(images) != len(instructions):
            raise ValueError(f"{len(images)} pictures for {len(instructions)} instructions")
        if (self.head.reads_state and states is None) or (self.head.samples and noise is None):
            raise ValueError(f"a {self.settings.kind} head needs states and noise")
        training = self.training
        self.eval()
        try:
            ids = [self.backbone.prompt_ids(instruction) for instruction in instructions]
            device = next(self.parameters()).device
            batch = self.backbone.batch(ids, images)
            scaled = torch.from_numpy(self.state_scale.scale(states)) if self.state_scale else None
            sampled = torch.as_tensor(noise, dtype=torch.float32) if self.head.samples else None
            pose, logits = self.head.actions(
                self.backbone,
                {name: _on(device, value) for name, value in batch.items()},
                _on(device, scaled),
                _on(device, sampled),
            )
        finally:
            self.train(training)
        return self.statistics.denormalise(pose.float().cpu().numpy(), logits.float().cpu().numpy())

    # Files --------------------------------------------------------------------------------------------

    def save(self, folder: Path) -> None:
        """Write the policy's folder; policy.json comes last and each file appears whole or not at all."""
        folder = Path(folder)
        self.backbone.save(folder / "backbone")
        own = {
            name: value.detach().contiguous()
            for name, value in self.state_dict().items()
            if not name.startswith("model.")
        }
        with atomic_path(folder / "policy.safetensors") as temporary:
            save_file(own, temporary)
        record = {
            "format": FORMAT,
            "benchmark": self.benchmark,
            "chunk": self.chunk,
            "head": self.settings.model_dump(mode="json"),
            "statistics": self.statistics.to_json(),
            "state": self.state_scale.to_json() if self.state_scale else None,
        }
        write_json(folder / "policy.json", record)

    @classmethod
    def load(cls, folder: Path) -> Policy:
        """Read a policy's folder. Raises UserError when a part is missing, cut short or of another format."""
        folder = Path(folder)
        record_file, weights = folder / "policy.json", folder / "policy.safetensors"
        for file in (record_file, weights):
            if not file.is_file():
                raise UserError(f"{folder}: {file.name} is missing: train the policy again")
        try:
            record = json.loads(record_file.read_text())
            tensors = load_file(weights)
        except (json.JSONDecodeError, SafetensorError) as error:
            raise UserError(f"{folder}: not a whole policy ({error}): train the policy again") from None
        if record.get("format") != FORMAT:
            raise UserError(
                f"{record_file}: format {record.get('format')!r}, this version reads {FORMAT}: train it again"
            )
        statistics = Statistics.from_json(record["statistics"])
        backbone = load(folder / "backbone")
        head = TypeAdapter(HeadSettings).validate_python(record["head"])
        state = StateScale.from_json(record["state"]) if record["state"] else None
        policy = cls.create(backbone, head, record["chunk"], record["benchmark"], statistics, 0, state)
        wrong = policy.load_state_dict(tensors, strict=False)
        missing = [name for name in wrong.missing_keys if not name.startswith("model.")]
        if missing or wrong.unexpected_keys:
            name = (missing or wrong.unexpected_keys)[0]
            raise UserError(f"{weights}: {name} is not as policy.json says: train the policy again")
        return policy


def _on(device: torch.device, value: Any) -> Any:
    """A tensor on `device`; anything else as it is."""
    return value.to(device) if isinstance(value, Tensor) else value
