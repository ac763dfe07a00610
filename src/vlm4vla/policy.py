"""A VLA: a backbone, one learnable action query and an action head.

The query is appended to the prompt as its last token; its last hidden state goes to the head. No robot
state, no history, one picture. A policy's folder holds `backbone/` (an ordinary Hugging Face folder),
`policy.safetensors` (query and head) and `policy.json` (what else is needed to act).
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any, Literal

import numpy as np
import torch
from safetensors import SafetensorError
from safetensors.torch import load_file, save_file
from torch import Tensor, nn

from vlm4vla.actions.normalisation import Statistics
from vlm4vla.artefacts import UserError, atomic_path, write_json
from vlm4vla.backbones import load
from vlm4vla.backbones.loaded import LoadedBackbone
from vlm4vla.config import Head
from vlm4vla.heads.mlp import MlpHead

FORMAT = 1  # of policy.json and policy.safetensors


class Policy(nn.Module):
    """Parameters: `model.*` (the backbone), `query` (d), `head.*`."""

    def __init__(
        self,
        backbone: LoadedBackbone,
        head: Head,
        chunk: int,
        benchmark: str,
        statistics: Statistics,
    ):
        super().__init__()
        self.backbone = backbone
        self.model = backbone.model
        self.settings = head
        self.chunk = chunk
        self.benchmark = benchmark
        self.statistics = statistics
        # It starts as the prompt's last token, where the backbone has learnt to read off an answer
        # (docs/decisions.md: a random query saw far less of it).
        last = torch.tensor(backbone.prompt_ids("")[-1])
        with torch.no_grad():
            self.query = nn.Parameter(backbone.word_embedding()(last).clone())
        self.head = MlpHead(backbone.hidden_size, head.features, head.hidden, chunk, head.trunk)
        self.freeze("none")

    @classmethod
    def create(
        cls,
        backbone: LoadedBackbone,
        head: Head,
        chunk: int,
        benchmark: str,
        statistics: Statistics,
        seed: int,
    ) -> Policy:
        """A policy with a new query and head; same seed, same bytes."""
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(seed)
            return cls(backbone, head, chunk, benchmark, statistics)

    def freeze(self, what: Literal["none", "vision", "embedding"]) -> None:
        """Choose what trains: everything, all but the vision encoder, or all but the word embedding.

        An output layer that is not tied to the word embedding never trains: no action depends on it.
        """
        for parameter in self.parameters():
            parameter.requires_grad_(True)
        output = self.model.get_output_embeddings()
        if output is not None and output.weight is not self.backbone.word_embedding().weight:
            output.requires_grad_(False)
        frozen = {
            "none": list,
            "vision": self.backbone.vision_encoder,
            "embedding": lambda: [self.backbone.word_embedding()],
        }
        for module in frozen[what]():
            module.requires_grad_(False)

    def forward(self, batch: dict[str, Any]) -> tuple[Tensor, Tensor]:
        """Pose (B, chunk, 6) in [-1, 1] and gripper logits (B, chunk, 1) of a `LoadedBackbone.batch`."""
        return self.head(self.backbone.hidden(batch, self.query))

    def loss(self, batch: dict[str, Any], pose: Tensor, gripper: Tensor, mask: Tensor) -> Tensor:
        """Huber loss of the pose plus weighted cross-entropy of the gripper, a mean over unmasked steps.

        `pose` (B, chunk, 6) in [-1, 1]; `gripper` (B, chunk) or (B, chunk, 1) in {0, 1}; `mask` (B, chunk),
        0 or False for steps padded beyond an episode's end.
        """
        predicted, logits = self(batch)
        logits = logits.squeeze(-1)
        mask = mask.to(predicted.dtype)
        motion = nn.functional.huber_loss(
            predicted, pose, delta=self.settings.huber_delta, reduction="none"
        ).mean(-1)
        grip = nn.functional.binary_cross_entropy_with_logits(
            logits, gripper.reshape(logits.shape).to(logits.dtype), reduction="none"
        )
        each = motion + self.settings.gripper_loss_weight * grip
        return (each * mask).sum() / mask.sum().clamp(min=1)

    @torch.inference_mode()
    def predict(self, images: np.ndarray | Tensor, instructions: Sequence[str]) -> np.ndarray:
        """Actions (B, chunk, 7) float32 in the benchmark's units, from pictures (B, H, W, 3) uint8.

        The gripper has the benchmark's own polarity. Prompts are kept for each instruction.
        """
        if len(images) != len(instructions):
            raise ValueError(f"{len(images)} pictures for {len(instructions)} instructions")
        training = self.training
        self.eval()
        try:
            ids = [self.backbone.prompt_ids(instruction) for instruction in instructions]
            pose, logits = self(self.backbone.batch(ids, images))
        finally:
            self.train(training)
        return self.statistics.denormalise(pose.float().numpy(), logits.float().numpy())

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
        head = Head.model_validate(record["head"])
        policy = cls.create(backbone, head, record["chunk"], record["benchmark"], statistics, seed=0)
        wrong = policy.load_state_dict(tensors, strict=False)
        missing = [name for name in wrong.missing_keys if not name.startswith("model.")]
        if missing or wrong.unexpected_keys:
            name = (missing or wrong.unexpected_keys)[0]
            raise UserError(f"{weights}: {name} is not as policy.json says: train the policy again")
        return policy
