"""A plain training step, for comparison. It follows the description of the study's released code.

- Each image and each text is prepared alone, inside the step.
- The whole model is called, so it computes logits over the vocabulary for every token and keeps the states of
  every layer.
- The vision encoder attends to one image at a time.
- Weights stay in float32 under autocast, and AdamW is not fused.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import torch
from PIL import Image
from torch import Tensor, nn

from vlm4vla.policies.heads.base import Targets
from vlm4vla.policies.policy import Policy
from vlm4vla.training.components.devices import to_device


class PlainStep:
    """Trains `policy` on images (B, H, W, 3) uint8: call `accumulate` for each micro-batch, then `finish`."""

    def __init__(self, policy: Policy, device: torch.device, rate: float, clip: float, *, bf16: bool):
        self.policy, self.device, self.clip, self.bf16 = policy, device, clip, bf16
        policy.to(device).train()
        vision = getattr(policy.model.model, "visual", None) if hasattr(policy.model, "model") else None
        if vision is not None:
            vision.config._attn_implementation = "sdpa"  # a loop over the images
        self.logits_shape: tuple[int, ...] = ()  # of the last step
        self.optimiser = torch.optim.AdamW(policy.parameters(), lr=rate, weight_decay=0.0, foreach=True)

    def accumulate(
        self, images: np.ndarray, instructions: Sequence[str], targets: Targets, share: float
    ) -> Tensor:
        """Add the gradient of `share` times the mean loss of these samples; return the mean loss."""
        inputs = to_device(self.prepare(images, instructions), self.device)
        with torch.autocast(self.device.type, torch.bfloat16, enabled=self.bf16):
            loss = self.loss(inputs, to_device(targets, self.device))
        (share * loss).backward()
        return loss.detach()

    def finish(self) -> None:
        """Update the weights."""
        nn.utils.clip_grad_norm_(self.policy.parameters(), self.clip)
        self.optimiser.step()
        self.optimiser.zero_grad()

    def prepare(self, images: np.ndarray, instructions: Sequence[str]) -> dict[str, Any]:
        """Prepare the inputs of the model, sample by sample."""
        backbone = self.policy.backbone
        adapter = backbone.adapter
        pixels, samples = [], []
        for image, instruction in zip(images, instructions, strict=True):
            picture = Image.fromarray(image)
            pixels.append(backbone.image_processor(images=[picture], return_tensors="pt")["pixel_values"])
            ids = backbone.question_ids(adapter.instruction(instruction))
            offset = torch.arange(len(ids)) - adapter.image_start
            samples.append((torch.tensor(ids), (offset >= 0) & (offset < adapter.image_tokens)))
        longest = max(len(ids) for ids, _ in samples)
        rows = []
        for ids, is_image in samples:
            left = (longest - len(ids), 0)
            positions = adapter.positions(len(ids))
            rows.append(
                (
                    nn.functional.pad(ids, left, value=backbone.tokenizer.pad_token_id),
                    nn.functional.pad(torch.ones_like(ids), left),
                    nn.functional.pad(positions, left, value=int(positions.flatten()[0])),
                    nn.functional.pad(is_image, left),
                )
            )
        ids, mask, positions, is_image = zip(*rows, strict=True)
        inputs = {
            "input_ids": torch.stack(ids),
            "attention_mask": torch.stack(mask),
            "position_ids": torch.stack(positions, dim=-2),
            "pixel_values": torch.cat(pixels),
        }
        inputs |= adapter.extras(torch.stack(is_image), inputs["attention_mask"].bool())
        grids = adapter.vision_inputs(len(images)).get("image_grid_thw")
        return inputs if grids is None else inputs | {"image_grid_thw": grids}

    def loss(self, inputs: dict[str, Any], targets: Targets) -> Tensor:
        """The study's loss on the last hidden state of the query, from a whole forward pass with logits."""
        policy, inputs = self.policy, dict(inputs)
        words = policy.backbone.word_embedding()(inputs.pop("input_ids"))
        query = policy.head.query.to(words.dtype).expand(len(words), 1, -1)
        more = policy.backbone.adapter.extend(inputs)
        # The output of the last norm, because families list their hidden states differently.
        states: list[Tensor] = []
        norm = policy.backbone.adapter.last_layer(policy.model)[-1]
        hook = norm.register_forward_hook(lambda _, before, after: states.append(after))
        output = policy.model(
            inputs_embeds=torch.cat([words, query], dim=1),
            output_hidden_states=True,
            use_cache=False,
            **more,
        )
        hook.remove()
        self.logits_shape = tuple(output.logits.shape)
        pose, gripper = policy.head.mlp(states[-1][:, -1])
        settings = policy.settings
        motion = nn.functional.huber_loss(pose.float(), targets["pose"], reduction="none").mean(-1)
        grip = nn.functional.binary_cross_entropy_with_logits(
            gripper.float().squeeze(-1), targets["gripper"], reduction="none"
        )
        each = motion + settings.gripper_loss_weight * grip
        return (each * targets["mask"]).sum() / targets["mask"].sum()
