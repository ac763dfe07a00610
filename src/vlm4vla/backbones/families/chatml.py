"""The chat format of Qwen-VL and InternVL: a system turn, a user turn with an image, an assistant turn."""

from __future__ import annotations

from typing import ClassVar

from vlm4vla.backbones.adapter import INSTRUCTION, Adapter

SYSTEM = "<|im_start|>system\nYou are a helpful assistant.<|im_end|>\n"
USER = "<|im_start|>user\n"
ANSWER = "<|im_end|>\n<|im_start|>assistant\n"
END = "<|im_end|>"


class ChatML(Adapter):
    """ChatML turns around one image; subclasses define the tags around the image."""

    end = END
    plainly_causal = True
    image_open: ClassVar[str]
    image_token: ClassVar[str]
    image_close: ClassVar[str]

    def __init_subclass__(cls, **kwargs):
        super().__init_subclass__(**kwargs)
        if hasattr(cls, "image_open"):
            cls.before_image = SYSTEM + USER + cls.image_open
            cls.phrases = (
                SYSTEM, USER, "\n" + USER, ANSWER, END, INSTRUCTION,
                cls.image_open, cls.image_token, cls.image_close,
            )  # fmt: skip

    def after_image(self, text: str) -> str:
        return self.image_close + text + ANSWER

    def next_turn(self, text: str) -> str:
        return "\n" + USER + text + ANSWER
