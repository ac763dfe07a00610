"""The assumptions of an estimate about what was not measured, each with the sentence that is printed."""

from __future__ import annotations

from vlm4vla.conventions.benchmarks import BENCHMARKS, ONLY_REAL

MFU = 0.4  # share of a GPU's stated peak in training
INFERENCE = 0.1  # share of that peak in rollouts and answers to questions, which have small batches
CORE_FLOPS = 2e10  # FLOP/s of one CPU core
START = 120.0  # seconds that a job on a GPU needs to import packages and load weights
DOWNLOAD = 1e8  # bytes per second
ENVIRONMENTS = 8  # environments that step in parallel for one policy
ANSWER_TOKENS = 16
QUESTION_TOKENS = 60  # text tokens of a question and its answer
WEIGHT_BYTES = 2  # per parameter in bf16
STATE_BYTES = 14  # per parameter in a training checkpoint: bf16 and float32 weights, two Adam moments
TRAINED_BYTES = 16  # per parameter in memory: the same and bf16 gradients
# The same three without `execution`, where everything is float32: weights; weights and two Adam moments;
# these and the gradients, in the model and in the optimiser's buffer.
PLAIN_WEIGHT_BYTES, PLAIN_STATE_BYTES, PLAIN_TRAINED_BYTES = 4, 12, 20

# Text tokens of a VLA prompt, including the query, for an instruction of about ten words.
PROMPT_TOKENS = {"paligemma": 13, "paligemma2": 13, "kosmos-2": 18}
CHAT_TOKENS = 40  # in families with a chat template

SIMULATOR_STEPS = {
    each.name: each.simulator_steps_per_second for each in (*BENCHMARKS.values(), *ONLY_REAL.values())
}

SENTENCES = {
    "mfu": "GPUs reach {mfu:.0%} of their stated bf16 peak in training (--mfu)",
    "inference": f"GPUs reach {INFERENCE:.0%} of that peak in rollouts and when VLMs answer questions",
    "core": f"a CPU core computes {CORE_FLOPS / 1e9:.0f} GFLOP/s in matrix products",
    "start": f"a job on a GPU needs {START:.0f} s to start",
    "download": f"downloads run at {DOWNLOAD / 1e6:.0f} MB/s",
    "prompt": f"a VLA prompt has {CHAT_TOKENS} text tokens in families with a chat template, "
    + ", ".join(f"{count} in {family}" for family, count in PROMPT_TOKENS.items()),
    "questions": f"a question and its answer have {QUESTION_TOKENS} text tokens",
    "episodes": f"each episode runs to its step limit, with {ENVIRONMENTS} environments per policy",
    "stops": "rollouts that can stop early run all episodes",
    "simulators": "one environment makes "
    + ", ".join(f"{rate:g} steps per second on {name}" for name, rate in SIMULATOR_STEPS.items()),
    "data": "datasets have the sizes that their web pages state",
    "weights": f"weights are stored in bf16, and a training checkpoint has {STATE_BYTES} bytes per parameter",
    "float32": "without `execution`, trained weights are stored in float32, and a training checkpoint has "
    f"{PLAIN_STATE_BYTES} bytes per parameter",
    "shape": "a model with unknown config has the FLOPs of a known model of its family, scaled by size",
}


def prompt_tokens(family: str) -> int:
    """The number of text tokens of a VLA prompt."""
    return PROMPT_TOKENS.get(family, CHAT_TOKENS)
