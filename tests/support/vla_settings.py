"""Settings of a VLA training with six updates, for the study's head and for expert heads."""

from vlm4vla.config.policies import MlpHeadSettings
from vlm4vla.config.stages import VlaSettings
from vlm4vla.config.training import Optimiser, Training


def settings(**changes):
    optimiser = Optimiser(learning_rate=1e-3, average=0.5)
    training = Training(steps=6, batch=4, optimiser=optimiser, checkpoint_every=2, log_every=3)
    values = {
        "backbone": "tiny",
        "variant": "full",
        "benchmark": "calvin",
        "seed": 5,
        "freeze": "none",
        "initial_weights": "backbone",
        "chunk": 3,
        "normalisation": "range",
        "shift": 2,
        "colour_jitter": 0.1,
        "head": MlpHeadSettings(features=16, hidden=[16], gripper_loss_weight=0.1),
        "training": training,
    }
    return VlaSettings.model_validate(values | changes)


def expert_settings(kind, **changes):
    heads = {
        "tokens": {"kind": "tokens", "bins": 16},
        "flow": {"kind": "flow", "width": 16, "intermediate": 16},
        "planned-flow": {"kind": "planned-flow", "plan": [1, 3], "width": 16, "heads": 2},
    }
    return settings(head=heads[kind], **changes)
