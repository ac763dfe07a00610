"""Small backbones for tests: their words and widths."""

from vlm4vla.backbones import build
from vlm4vla.config.backbones import Backbone, TinySize

SENTENCE = "pick up the red green blue block and put it in drawer where is ? describe <loc3> <loc4>"
WORDS = SENTENCE.split()
SIZE = TinySize(
    hidden=32, intermediate=48, heads=4, layers=3, vision_hidden=32, vision_intermediate=48,
    experts=4, experts_per_token=2,
)  # fmt: skip


def make(family: str, seed: int = 0):
    settings = Backbone(family=family, parameters_b=1, tiny=SIZE, pretraining="any")
    return build(settings, family, WORDS, 64, seed)
