"""A released pi0 as a policy: images, state and instruction in, actions out, by transformers' own model.

Prompt, padding and scaling are those of transformers' PI0Processor, and the actions come from
`PI0ForConditionalGeneration.sample_actions`. The first seven numbers of an action, un-normalised, are the
benchmark's action in the benchmark's units. The gripper takes whichever of its two commands is closer.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import ClassVar

import numpy as np
import torch
from torch import Tensor, nn
from transformers import PI0ForConditionalGeneration, PreTrainedTokenizerBase

from vlm4vla.backbones.checkpoint import OWN_CODE, check_weights, in_one_line
from vlm4vla.backbones.finite import check_finite_folder
from vlm4vla.backbones.folder_files import AGAIN, COPY
from vlm4vla.backbones.generic.processor import load_tokenizer
from vlm4vla.backbones.weights import stored_dtype
from vlm4vla.config.released_policies import PolicyStatistics, ReleasedPolicy
from vlm4vla.config.stages import RolloutSettings
from vlm4vla.conventions.actions import ACTION_SIZE, POSE_SIZE
from vlm4vla.conventions.benchmarks import gripper
from vlm4vla.core.errors import UserError
from vlm4vla.policies.released.folder import check_pi0, check_state_size, key_of
from vlm4vla.policies.released.images import PI0ImageProcessorPil

EPSILON = 1e-8  # that transformers' processor adds to a standard deviation
UNUSED = "model.dit.embed_tokens.weight"  # the action expert reads no words


def load_released(folder: Path, settings: RolloutSettings) -> ReleasedPi0:
    """The released policy of a rollout, from its folder. Raises UserError (one line) for a bad folder."""
    policy = settings.released
    assert policy is not None
    key = key_of(settings.benchmark, settings.backbone)
    return ReleasedPi0.load(folder, policy, settings.benchmark, settings.evaluation.execution_horizon, key)


class ReleasedPi0:
    """A pi0 with its tokenizer, image processor and statistics.

    `noise_shape`: the shape of the noise of one prediction. `key`: the key of config.yaml, for messages.
    """

    reads_state: ClassVar[bool] = True
    samples: ClassVar[bool] = True

    def __init__(
        self,
        model: PI0ForConditionalGeneration,
        tokenizer: PreTrainedTokenizerBase,
        image_processor: PI0ImageProcessorPil,
        statistics: PolicyStatistics,
        benchmark: str,
        key: str,
    ):
        self.model = model.eval()
        self.tokenizer, self.image_processor = tokenizer, image_processor
        self.statistics, self.key = statistics, key
        self.gripper = gripper(benchmark)
        config = model.config
        self.noise_shape = (config.chunk_size, config.max_action_dim)
        self.image_id: int = config.vlm_config.image_token_id
        vision = config.vlm_config.vision_config
        self.image_side: int = vision.image_size
        self.image_tokens = (vision.image_size // vision.patch_size) ** 2

    @classmethod
    def load(
        cls, folder: Path, policy: ReleasedPolicy, benchmark: str, horizon: int, key: str
    ) -> ReleasedPi0:
        """Load the policy in `folder`, on a GPU if there is one.

        `horizon`: the number of executed actions. `key`: the key of config.yaml that holds `policy`. Raises
        UserError (one line) if a file is missing or damaged, or does not fit the others.
        """
        statistics = check_pi0(folder, policy, horizon, key)
        with in_one_line(folder):
            model, report = PI0ForConditionalGeneration.from_pretrained(
                folder,
                dtype=getattr(torch, stored_dtype(folder)),
                use_safetensors=True,
                ignore_mismatched_sizes=True,  # they are in the report
                output_loading_info=True,
                **OWN_CODE,
            )
        check_weights(folder, {**report, "missing_keys": set(report["missing_keys"]) - {UNUSED}})
        check_finite_folder(model.state_dict(), folder, AGAIN)
        with in_one_line(folder):
            tokenizer = load_tokenizer(folder)
            images = PI0ImageProcessorPil.from_pretrained(folder)
        found = cls(model, tokenizer, images, statistics, benchmark, key)
        found._check_parts(folder)
        model.to("cuda" if torch.cuda.is_available() else "cpu")
        return found

    def _check_parts(self, folder: Path) -> None:
        """Raise UserError if tokenizer or image processor do not fit the model."""
        if self.tokenizer.bos_token is None:
            raise UserError(f"{folder}/tokenizer_config.json: no bos_token: {COPY}")
        rows = self.model.get_input_embeddings().num_embeddings
        largest = max(number for number in self.tokenizer.get_vocab().values() if number != self.image_id)
        if largest >= rows:  # only the image's token has no embedding in released models
            raise UserError(
                f"{folder}: the tokenizer has the id {largest}, but the word embedding has {rows} rows: "
                f"{COPY}"
            )
        side = self.image_side
        with in_one_line(folder):
            found = tuple(self.image_processor.pixels(np.zeros((1, side, side, 3), np.uint8)).shape[1:])
        if found != (3, side, side):
            raise UserError(
                f"{folder}: the image processor makes images of {found[1]} x {found[2]} pixels, but the "
                f"vision encoder reads {side} x {side}: {AGAIN}"
            )
        if self.image_processor.image_seq_length != self.image_tokens:
            raise UserError(
                f"{folder}: the image processor states {self.image_processor.image_seq_length} tokens for an "
                f"image (image_seq_length), but the vision encoder makes {self.image_tokens}: {AGAIN}"
            )

    def prompt_ids(self, instruction: str) -> list[int]:
        """The ids of one image and the instruction, as PI0Processor writes them."""
        text = f"{self.tokenizer.bos_token}{instruction}\n"
        return [self.image_id] * self.image_tokens + self.tokenizer(text, add_special_tokens=False)[
            "input_ids"
        ]

    @torch.inference_mode()
    def predict(
        self,
        images: np.ndarray | Tensor,
        instructions: Sequence[str],
        states: np.ndarray,
        noise: np.ndarray,
    ) -> np.ndarray:
        """Predict actions (B, chunk, 7), float32, in the benchmark's units and with its gripper polarity.

        `images`: (B, H, W, 3) uint8, from one camera. `states`: (B, S) in the robot's units. `noise`: (B,
        chunk, max_action_dim), standard normal; the same noise gives the same actions. Raises UserError for a
        state of another length than the statistics.
        """
        check_state_size(self.statistics, np.shape(states)[-1], self.key)
        device, dtype = self.model.device, self.model.dtype
        prompts = [torch.tensor(self.prompt_ids(instruction)) for instruction in instructions]
        pad = self.tokenizer.pad_token_id or 0
        ids = nn.utils.rnn.pad_sequence(prompts, batch_first=True, padding_value=pad)
        lengths = torch.tensor([len(prompt) for prompt in prompts])
        mask = (torch.arange(ids.shape[1]) < lengths[:, None]).long()
        found = self.model.sample_actions(
            state=self._scaled(states).to(device, dtype),
            input_ids=ids.to(device),
            attention_mask=mask.to(device),
            pixel_values=self.image_processor.pixels(images)[:, None].to(device, dtype),
            pixel_attention_mask=torch.ones(len(ids), 1, dtype=torch.bool, device=device),
            noise=torch.as_tensor(noise).to(device, dtype),
        )
        return self._unscaled(found.float().cpu().numpy())

    def _scaled(self, states: np.ndarray) -> Tensor:
        """States (B, S), scaled as in PI0Processor, padded with zeros to the width that the model reads."""
        mean, std = torch.tensor(self.statistics.state_mean), torch.tensor(self.statistics.state_std)
        scaled = (torch.as_tensor(states, dtype=torch.float32) - mean) / (std + EPSILON)
        return nn.functional.pad(scaled, (0, self.model.config.max_state_dim - scaled.shape[-1]))

    def _unscaled(self, actions: np.ndarray) -> np.ndarray:
        """The benchmark's actions (B, chunk, 7) for the model's actions (B, chunk, max_action_dim)."""
        mean, std = np.array(self.statistics.actions_mean), np.array(self.statistics.actions_std)
        found = actions[..., :ACTION_SIZE] * (std + EPSILON) + mean
        is_high = found[..., POSE_SIZE] > self.gripper.middle
        found[..., POSE_SIZE] = np.where(is_high, self.gripper.high, self.gripper.low)
        return found.astype(np.float32)
