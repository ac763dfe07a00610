"""The shared parts of the Qwen-VL families: positions on three axes and packed images.

Not obvious:
- `get_rope_index` of transformers loops over samples. Here the image's position is fixed, so one table of
  positions is enough.
- The vision encoder takes index tensors that transformers would compute from `image_grid_thw` with loops.
  They depend only on the number of images, and are cached for each batch size.
- `freeze: vision` freezes `visual`, which includes the patch merger. The drop of the study's trainable size
  from 3.8B to 3.1B fits the whole module, and transformers has no projector outside it.
"""

from __future__ import annotations

from typing import Any

import numpy as np
import torch
from PIL import Image
from torch import Tensor, nn
from transformers import PreTrainedModel
from transformers.vision_utils import get_vision_cu_seqlens, get_vision_position_ids

from vlm4vla.backbones.adapter import TINY_MEAN, TINY_STD
from vlm4vla.backbones.families.chatml import ChatML
from vlm4vla.backbones.image_size import STUDY_IMAGE_SIZE, processed_side
from vlm4vla.backbones.kernels.packed_attention import use_packed_attention
from vlm4vla.backbones.tiny_sizes import PATCH

IMAGE, VIDEO = "<|image_pad|>", "<|video_pad|>"


class Qwen(ChatML):
    """One square still image between vision tags, at a fixed position."""

    image_open, image_token, image_close = "<|vision_start|>", IMAGE, "<|vision_end|>"
    has_pixel_bounds = True

    def __init__(self, config, tokenizer, image_size):
        self._vision_inputs: dict[int, dict[str, Any]] = {}
        vision = config.vision_config
        self.grid = image_size // vision.patch_size
        self.merged = self.grid // vision.spatial_merge_size
        super().__init__(config, tokenizer, image_size)

    def placeholders(self) -> list[int]:
        return [self.config.image_token_id] * self.merged**2

    def positions(self, length: int) -> Tensor:
        """(3, length): time, row, column. After the image, all three continue from the end of its grid.

        With `reading.positions: one-axis`, all three are the index of the token.
        """
        if self.reading.positions == "one-axis":
            return torch.arange(length).expand(3, -1)
        start, side = self.image_start, self.merged
        text_after = max(length - start - side**2, 0)
        before = torch.arange(start).expand(3, -1)
        rows, columns = torch.meshgrid(torch.arange(side), torch.arange(side), indexing="ij")
        image = torch.stack([torch.zeros_like(rows), rows, columns]).flatten(1) + start
        after = (torch.arange(text_after) + start + side).expand(3, -1)
        return torch.cat([before, image, after], dim=1)[:, :length]

    def resize(self, images: Tensor, processor: Any) -> Tensor:
        """Square images, resized with Pillow: the image processor takes several times as long."""
        height, width = images.shape[1:3]
        vision = self.config.vision_config
        edges = {edge: processor.size[edge] for edge in ("shortest_edge", "longest_edge")}
        factor = vision.patch_size * vision.spatial_merge_size
        if height != width or processed_side(edges, factor, height) != self.image_size:
            return images
        size = (self.image_size, self.image_size)
        sized = [Image.fromarray(each).resize(size, processor.resample) for each in images.numpy()]
        return torch.from_numpy(np.stack([np.asarray(each) for each in sized]))

    def pixels(self, pixels: Tensor) -> Tensor:
        """Patches (B * grid * grid, 3 * time * patch * patch) in merge-block order."""
        batch = pixels.shape[0]
        vision = self.config.vision_config
        patch, merge, time = vision.patch_size, vision.spatial_merge_size, vision.temporal_patch_size
        blocks = self.grid // merge
        patches = pixels.view(batch, 3, blocks, merge, patch, blocks, merge, patch)
        patches = patches.permute(0, 2, 5, 3, 6, 1, 4, 7).unsqueeze(6)  # B, rows, columns, ..., C, 1, p, p
        patches = patches.expand(*patches.shape[:6], time, patch, patch)
        return patches.reshape(batch * self.grid**2, 3 * time * patch**2)

    def check_pixels(self, pixel_values: Tensor, images: Tensor) -> None:
        """Check the grid: Qwen's processor keeps an image's size if possible, but only one size fits here."""
        patches = len(pixel_values) // len(images)
        if patches != self.grid**2:
            height, width = images.shape[1:3]
            raise ValueError(
                f"images of {height}x{width} pixels become {patches} patches each, but {self.grid**2} are "
                f"expected: resize them to {STUDY_IMAGE_SIZE}x{STUDY_IMAGE_SIZE} first"
            )

    def vision_inputs(self, batch: int) -> dict[str, Any]:
        """`image_grid_thw` (B, 3) and the index tensors for B = `batch` images."""
        if batch not in self._vision_inputs:
            with torch.inference_mode(False):  # training may later use a tensor that a rollout created
                grids = torch.tensor([[1, self.grid, self.grid]]).repeat(batch, 1)
                self._vision_inputs[batch] = {"image_grid_thw": grids, **self.index_tensors(grids)}
        return self._vision_inputs[batch]

    def index_tensors(self, grids: Tensor) -> dict[str, Any]:
        """The inputs that transformers would otherwise derive from the grids in every forward."""
        merge = self.config.vision_config.spatial_merge_size
        return {
            "image_position_ids": get_vision_position_ids(grids, merge),
            "image_cu_seqlens": get_vision_cu_seqlens(grids),
            "image_max_seqlen": self.grid**2,
        }

    def vision_encoder(self, model: PreTrainedModel) -> list[nn.Module]:
        return [model.model.visual]

    def projector(self, model: PreTrainedModel) -> nn.Module:
        return model.model.visual

    def prepare(self, model: PreTrainedModel) -> None:
        use_packed_attention(model.model.visual)

    @staticmethod
    def token_ids(tokenizer) -> dict[str, int]:
        """The special token ids of a tiny config."""
        names = {
            "image_token_id": IMAGE,
            "video_token_id": VIDEO,
            "vision_start_token_id": "<|vision_start|>",
            "vision_end_token_id": "<|vision_end|>",
        }
        return {key: tokenizer.convert_tokens_to_ids(token) for key, token in names.items()}

    @staticmethod
    def tiny_image_processor(image_size: int) -> Any:
        """Qwen's image processor with patches that match `tiny_config`: one frame, no merging."""
        from transformers.models.qwen2_vl.image_processing_pil_qwen2_vl import Qwen2VLImageProcessorPil

        area = image_size**2
        return Qwen2VLImageProcessorPil(
            size={"shortest_edge": area, "longest_edge": area},
            patch_size=PATCH,
            temporal_patch_size=1,
            merge_size=1,
            image_mean=TINY_MEAN,
            image_std=TINY_STD,
        )
