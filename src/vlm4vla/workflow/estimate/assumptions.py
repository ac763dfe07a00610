"""What an estimate takes for granted where nothing was measured, each with the words that are printed."""

from __future__ import annotations

MFU = 0.4  # share of a GPU's stated peak that training uses
INFERENCE = 0.1  # the same in rollouts and question answering: small batches
CORE_FLOPS = 2e10  # of one CPU core, FLOP/s
START = 120.0  # seconds until a job on a GPU works: imports, weights
DOWNLOAD = 1e8  # bytes a second
ENVIRONMENTS = 8  # simulators that step at once beside one policy
ANSWER_TOKENS = 16
QUESTION_TOKENS = 60  # of a question and its answer, beside the picture
WEIGHT_BYTES = 2  # bf16
STATE_BYTES = 14  # a checkpoint in training: bf16 weights, float32 weights and both Adam moments
TRAINED_BYTES = 16  # the same in memory, with bf16 gradients

# Tokens of a VLA prompt beside the picture's, the query included, for an instruction of some ten words.
PROMPT_TOKENS = {"paligemma": 13, "paligemma2": 13, "kosmos-2": 18}
CHAT_TOKENS = 40

# Simulator steps a second of one environment that renders one camera on a CPU core: LIBERO and CALVIN were
# measured in November 2026 on shared x86-64 cores, SimplerEnv is taken to be as slow as the slower one.
SIMULATOR_STEPS = {"calvin": 18.0, "libero-10": 12.0, "bridge": 12.0}
INSTRUCTIONS = {"calvin": 5}  # a chain; elsewhere an episode has one

# Sizes of the public data sets as their pages state them: CALVIN ABC-D, Bridge V2, LIBERO-10.
DATA_BYTES = {"calvin": 517e9, "bridge": 124e9, "libero-10": 12e9}

WORDS = {
    "mfu": "GPUs train at {mfu:.0%} of their stated bf16 peak (--mfu)",
    "inference": f"policies act and VLMs answer at {INFERENCE:.0%} of it",
    "core": f"a CPU core does {CORE_FLOPS / 1e9:.0f} GFLOP/s of matrix products",
    "start": f"a job on a GPU starts to work after {START:.0f} s",
    "download": f"downloads come at {DOWNLOAD / 1e6:.0f} MB/s",
    "prompt": f"a VLA prompt has {CHAT_TOKENS} tokens beside the picture's in chat families, "
    + ", ".join(f"{count} in {family}" for family, count in PROMPT_TOKENS.items()),
    "questions": f"a question and its answer have {QUESTION_TOKENS} tokens beside the picture's",
    "episodes": f"every episode runs to its step limit, {ENVIRONMENTS} environments beside each policy",
    "simulators": "one environment steps "
    + ", ".join(f"{rate:g} times a second on {name}" for name, rate in SIMULATOR_STEPS.items()),
    "data": "data sets have the sizes that their pages state",
    "weights": f"weights are kept in bf16; a training's checkpoint has {STATE_BYTES} bytes a parameter",
    "shape": "a model whose config is not known here has the FLOPs of a known one of its family, by its size",
}


def prompt_tokens(family: str) -> int:
    """Tokens of a VLA prompt beside the picture's."""
    return PROMPT_TOKENS.get(family, CHAT_TOKENS)
