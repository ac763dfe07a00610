"""A VLA policy: a backbone and an action head.

The study's head appends one learnable action query to the prompt as its last token, and computes the actions
from the query's last hidden state. It reads one image and an instruction, but no robot state and no history.
Expert VLAs have other heads (heads/). A policy's folder holds `backbone/` (an ordinary Hugging Face folder),
`policy.safetensors` (the head, including the query) and `policy.json` (everything else that inference needs,
and a description of images and actions). It also holds the processor of the backbone, in the files that
transformers' AutoProcessor reads (backbones/processor_files.py).
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

from vlm4vla.actions.normalisation import StateScale, Statistics
from vlm4vla.backbones import load
from vlm4vla.backbones.finite import DIVERGED, check_finite
from vlm4vla.backbones.folder_files import LONGEST_REASON
from vlm4vla.backbones.generic.parts import output_layer
from vlm4vla.backbones.image_size import STUDY_IMAGE_SIZE
from vlm4vla.backbones.loaded import LoadedBackbone
from vlm4vla.backbones.processor_files import write_processor_files
from vlm4vla.config.policies import HeadSettings
from vlm4vla.config.reading import Reading
from vlm4vla.conventions.actions import ACTION_SIZE
from vlm4vla.core.artefacts import atomic_path, write_json
from vlm4vla.core.errors import UserError, one_line
from vlm4vla.core.inside import outside
from vlm4vla.data.pictures.augmentation import centre_cropped
from vlm4vla.policies.heads import head_class
from vlm4vla.policies.heads.base import Targets
from vlm4vla.policies.interface import Interface

MOST_ACTIONS = 10_000  # of a chunk
FORMAT = 2  # version of policy.json and policy.safetensors
GENERIC = "generic"  # value of `adapter` in policy.json


class Policy(nn.Module):
    """A backbone with an action head. Parameters: `model.*` (the backbone) and `head.*`.

    `state_scale` is None if the head does not read the robot's state. `centre_crop` is the fraction of the
    image area that `predict` looks at, around the centre of each image; None is the whole image. `interface`
    describes images and actions (policies/interface.py).
    """

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
        head_type = head_class(head)
        backbone = head_type.prepare_backbone(backbone, head)
        self.backbone = backbone
        self.model = backbone.model
        self.settings = head
        self.chunk = chunk
        self.benchmark = benchmark
        self.statistics = statistics
        self.state_scale = state_scale if head_type.reads_state else None
        self.centre_crop: float | None = None
        self.interface = Interface(min(backbone.image_size, STUDY_IMAGE_SIZE))
        state_size = {"state_size": self.state_scale.size} if self.state_scale else {}
        self.head = head_type(backbone, head, chunk, **state_size)
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
        """Create a policy with a new head; the same seed gives the same bytes."""
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(seed)
            return cls(backbone, head, chunk, benchmark, statistics, state_scale)

    @property
    def reads_state(self) -> bool:
        """Whether `predict` needs the robot's state."""
        return self.head.reads_state

    @property
    def samples(self) -> bool:
        """Whether `predict` needs noise."""
        return self.head.samples

    @property
    def noise_shape(self) -> tuple[int, int]:
        """The shape of the noise of one prediction."""
        return self.chunk, ACTION_SIZE

    def freeze(self, what: Literal["none", "vision", "embedding"]) -> None:
        """Train all parameters, or freeze the vision encoder or the word embedding.

        An output layer that is not tied to the word embedding trains only if the head predicts tokens: the
        actions of other heads do not depend on the output layer.
        """
        for parameter in self.parameters():
            parameter.requires_grad_(True)
        output = output_layer(self.model)
        if output is not None and not self.head.trains_output_layer:
            for parameter in output.parameters():
                if parameter is not self.backbone.word_embedding().weight:
                    parameter.requires_grad_(False)
        frozen = {
            "none": list,
            "vision": self.backbone.vision_encoder,
            "embedding": lambda: [self.backbone.word_embedding()],
        }
        for module in frozen[what]():
            module.requires_grad_(False)

    def forward(self, batch: dict[str, Any]) -> tuple[Tensor, Tensor]:
        """Pose (B, chunk, 6) in [-1, 1] and gripper logits (B, chunk, 1) for a `LoadedBackbone.batch`.

        Only for heads that neither read the state nor sample.
        """
        return self.head.actions(self.backbone, batch, None, None)

    def loss(self, batch: dict[str, Any], targets: Targets) -> Tensor:
        """The head's loss on a `LoadedBackbone.batch`: a mean over the steps that are not padded."""
        return self.head.loss(self.backbone, batch, targets)

    @torch.inference_mode()
    def predict(
        self,
        images: np.ndarray | Tensor,
        instructions: Sequence[str],
        states: np.ndarray | None = None,
        noise: np.ndarray | None = None,
    ) -> np.ndarray:
        """Predict actions (B, chunk, 7), float32, in the benchmark's units and with its gripper polarity.

        `images`: (B, H, W, 3) uint8. `instructions`: one for each image; each instruction's prompt is cached.
        `states`: (B, S) in the robot's units, required if the head reads the state. `noise`: (B, chunk, 7),
        standard normal, required if the head samples; the same noise gives the same actions. With
        `centre_crop`, the centre of each image is cut out and resized to the full image first.

        Raises ValueError if a required argument is missing.
        """
        if len(images) != len(instructions):
            raise ValueError(f"{len(images)} images for {len(instructions)} instructions")
        if (self.head.reads_state and states is None) or (self.head.samples and noise is None):
            raise ValueError(f"a {self.settings.kind} head needs states and noise")
        training = self.training
        self.eval()
        try:
            ids = [self.backbone.prompt_ids(instruction) for instruction in instructions]
            device = next(self.parameters()).device
            if self.centre_crop is not None:
                images = centre_cropped(np.asarray(images), self.centre_crop)
            batch = self.backbone.batch(ids, images)
            scaled = torch.from_numpy(self.state_scale.scale(states)) if self.state_scale else None
            noise_tensor = torch.as_tensor(noise, dtype=torch.float32) if self.head.samples else None
            pose, logits = self.head.actions(
                self.backbone,
                {name: _to_device(value, device) for name, value in batch.items()},
                _to_device(scaled, device),
                _to_device(noise_tensor, device),
            )
        finally:
            self.train(training)
        return self.statistics.denormalise(pose.float().cpu().numpy(), logits.float().cpu().numpy())

    def act(
        self,
        image: np.ndarray,
        instruction: str,
        state: np.ndarray | None = None,
        generator: np.random.Generator | None = None,
    ) -> np.ndarray:
        """Predict the next actions (chunk, 7), float32, for one image of any size.

        `image`: (H, W, 3) uint8 or a Pillow image in RGB. It is resized as in training, to a square.
        `state`: (S,) in the robot's units, required if the head reads the state. `generator`: the source of
        the noise of a head that samples; by default a new one, so that two calls give different actions.

        Raises ValueError (one line) for an image of another shape or type, for an instruction that is no
        text, and for a state that is missing or has another number of values.
        """
        if not isinstance(instruction, str) or not instruction.strip():
            raise ValueError(f"the instruction must be text, such as 'open the drawer', not {instruction!r}")
        inputs: dict[str, np.ndarray] = {}
        if self.state_scale is not None:
            robot = None if state is None else np.asarray(state, dtype=np.float32)
            if robot is None or robot.shape != (self.state_scale.size,):
                raise ValueError(
                    f"this policy needs states: pass the robot's state, {self.state_scale.size} numbers, as "
                    f"the third argument, not {'nothing' if robot is None else f'the shape {robot.shape}'}"
                )
            inputs["states"] = robot[None]
        if self.head.samples:
            noise = (generator or np.random.default_rng()).standard_normal((1, self.chunk, ACTION_SIZE))
            inputs["noise"] = noise
        return self.predict(self.interface.fit(image)[None].copy(), [instruction], **inputs)[0]

    def check_centre_crop(self, wanted: float | None, folder: Path) -> None:
        """Raise UserError if the policy in `folder` does not crop its images as `wanted`."""
        if self.centre_crop != wanted:
            own, other = (f"{area:g} of" if area else "the whole of" for area in (self.centre_crop, wanted))
            raise UserError(
                f"{folder}/policy.json: the policy looks at {own} each image, but evaluation.centre_crop "
                f"asks for {other} it: train the policy again, or change evaluation.centre_crop"
            )

    # Files --------------------------------------------------------------------------------------------

    def save(self, folder: Path) -> None:
        """Write the policy's folder. Each file is written atomically, policy.json last.

        Raises UserError, before it writes anything, if a weight is NaN or infinite.
        """
        folder = Path(folder)
        check_finite(self.state_dict(), str(folder), DIVERGED)
        self.backbone.save(folder / "backbone")
        write_processor_files(self.backbone.adapter, folder / "backbone", folder)
        head_tensors = {
            name: value.detach().contiguous()
            for name, value in self.state_dict().items()
            if not name.startswith("model.")
        }
        with atomic_path(folder / "policy.safetensors") as temporary:
            save_file(head_tensors, temporary)
        record = {
            "format": FORMAT,
            "benchmark": self.benchmark,
            "chunk": self.chunk,
            "head": self.settings.model_dump(mode="json"),
            "statistics": self.statistics.to_json(),
            "state": self.state_scale.to_json() if self.state_scale else None,
            "interface": self.interface.to_json(self.benchmark),
        }
        reading = self.backbone.adapter.reading
        record |= {"centre_crop": self.centre_crop} if self.centre_crop is not None else {}
        record |= {"reading": reading.model_dump(mode="json")} if reading != Reading() else {}
        record |= {"image_tokens": self.backbone.adapter.image_tokens}
        record |= {"adapter": GENERIC} if self.backbone.adapter.is_generic else {}
        write_json(folder / "policy.json", record)

    @classmethod
    def load(cls, folder: Path) -> Policy:
        """Load a policy's folder, with the backbone in the type in which it is stored.

        Raises UserError if a file is missing, truncated or in another format.
        """
        folder = Path(folder)
        record_file, weights = folder / "policy.json", folder / "policy.safetensors"
        for file in (record_file, weights):
            if not file.is_file():
                raise UserError(f"{folder}: {file.name} is missing: train the policy again")
        for name in ("policy.json", "policy.safetensors", "backbone"):
            if (problem := outside(folder, name)) is not None:
                raise UserError(f"{folder / name}: {problem}")
        try:
            record = json.loads(record_file.read_text())
            if not isinstance(record, dict):
                raise ValueError("policy.json is not a JSON object")
            tensors = load_file(weights)
        except (ValueError, RecursionError, OSError, SafetensorError) as error:
            raise UserError(
                f"{folder}: a file of the policy is damaged ({one_line(str(error))}): train the policy again"
            ) from None
        check_finite(tensors, str(weights), "train the policy again")
        if record.get("format") != FORMAT:
            raise UserError(
                f"{record_file}: format is {record.get('format')!r}, but this version reads {FORMAT}: "
                "train the policy again"
            )
        try:
            return cls._from_record(folder, record, tensors)
        except (LookupError, TypeError, ValueError, AttributeError, ArithmeticError) as error:
            reason = f"{type(error).__name__}: {one_line(str(error))[:LONGEST_REASON]}"
            raise UserError(
                f"{record_file}: not the record of a policy ({reason}): train the policy again"
            ) from error

    @classmethod
    def _from_record(cls, folder: Path, record: dict[str, Any], tensors: dict[str, Tensor]) -> Policy:
        """The policy of the record policy.json. Raises UserError, and other errors for a damaged record."""
        weights = folder / "policy.safetensors"
        if not isinstance(record["chunk"], int) or not 0 < record["chunk"] <= MOST_ACTIONS:
            raise ValueError(f"chunk is {str(record['chunk'])[:20]}, not a number of actions")
        if not isinstance(record["benchmark"], str):
            raise TypeError("benchmark is not a name")
        statistics = Statistics.from_json(record["statistics"])
        reading = Reading.model_validate(record.get("reading", {}))
        backbone = load(folder / "backbone", dtype="stored").read_as(reading)
        if backbone.adapter.is_generic != (record.get("adapter") == GENERIC):
            # Another adapter would write other prompts, without an error.
            raise UserError(
                f"{folder}: the policy was trained with another adapter for {backbone.adapter.family!r}: "
                + (
                    "import the file that registers the family first"
                    if backbone.adapter.is_generic
                    else "remove the file that registers the family"
                )
            )
        head = TypeAdapter(HeadSettings).validate_python(record["head"])
        state = StateScale.from_json(record["state"]) if record["state"] else None
        policy = cls.create(backbone, head, record["chunk"], record["benchmark"], statistics, 0, state)
        policy.centre_crop = record.get("centre_crop")
        if "interface" in record:
            policy.interface = Interface.from_json(record["interface"])
        try:
            differences = policy.load_state_dict(tensors, strict=False)
        except RuntimeError as error:  # sizes
            line = one_line(str(error).strip().splitlines()[-1].strip())
            raise UserError(
                f"{weights}: does not match policy.json ({line}): train the policy again"
            ) from None
        missing = [name for name in differences.missing_keys if not name.startswith("model.")]
        if missing or differences.unexpected_keys:
            name = (missing or differences.unexpected_keys)[0]
            raise UserError(f"{weights}: {one_line(name)} does not match policy.json: train the policy again")
        return policy


def _to_device(value: Any, device: torch.device) -> Any:
    """Move a tensor to `device`; return any other value unchanged."""
    return value.to(device) if isinstance(value, Tensor) else value
