"""How models, variants, benchmarks and metrics are called in front of a reader."""

from __future__ import annotations

from collections.abc import Iterable, Mapping

MODELS = {
    "qwen2.5-vl-3b": "Qwen2.5-VL-3B",
    "qwen2.5-vl-7b": "Qwen2.5-VL-7B",
    "qwen3-vl-2b": "Qwen3-VL-2B",
    "qwen3-vl-4b": "Qwen3-VL-4B",
    "qwen3-vl-8b": "Qwen3-VL-8B",
    "qwen3-vl-30b-a3b": "Qwen3-VL-30B-A3B",
    "paligemma-1": "PaliGemma-1",
    "paligemma-2": "PaliGemma-2",
    "kosmos-2": "Kosmos-2",
    "internvl3.5-4b": "InternVL3.5-4B",
    "openvla": "OpenVLA (expert)",
    "pi0": "pi0 (expert)",
    "thinkact": "ThinkAct (expert)",
    "random": "random actions (floor)",
    "expert": "scripted expert (ceiling)",
}
BENCHMARKS = {"calvin": "CALVIN", "bridge": "Bridge", "libero-10": "LIBERO-10"}
PAPER_BENCHMARKS = {"calvin": "CALVIN ABC-D", "bridge": "SimplerEnv Bridge", "libero-10": "LIBERO-10"}
VARIANTS = {
    "full": "all trained",
    "freeze-vision": "vision encoder frozen",
    "freeze-embedding": "word embedding frozen",
    "scratch": "from random weights",
}
AUXILIARIES = {
    "none": "no auxiliary task",
    "omni-generation": "omni-generation",
    "vqa-mix": "VQA mix",
    "robobrain2": "RoboBrain 2",
    "bridgevqa": "BridgeVQA",
    "robo2vlm": "Robo2VLM",
    "robopoint": "RoboPoint",
    "vica-332k": "ViCA-332k",
    "fast-freeze-vision": "FAST (vision encoder frozen)",
    "fast-unfreeze-vision": "FAST (vision encoder trained)",
}
METRICS = {"average_length": "average length (0 to 5)", "success_rate": "success rate"} | {
    f"success_at_{count}": f"success at {count}" for count in range(1, 6)
}


def model(name: str) -> str:
    """A row's label; a backbone that config adds is shown under its own key."""
    return MODELS.get(name, name)


def variant(name: str) -> str:
    return VARIANTS.get(name, name)


def auxiliary(name: str) -> str:
    return AUXILIARIES.get(name, name)


def benchmark(name: str, scale: str = "paper") -> str:
    """`CALVIN (embedded)`: only at paper scale does a benchmark bear the real one's name alone. One that is
    not built in is shown under its own key."""
    shown = BENCHMARKS.get(name, name)
    return shown if scale == "paper" else f"{shown} ({scale})"


def in_order(benchmarks: Iterable[str]) -> list[str]:
    """Each benchmark once: the built-in ones in the order of BENCHMARKS, then the others as they come."""
    found = dict.fromkeys(benchmarks)
    return [*(name for name in BENCHMARKS if name in found), *(n for n in found if n not in BENCHMARKS)]


def joined(words: list[str]) -> str:
    """`a`, `a and b`, `a, b and c`."""
    return words[0] if len(words) == 1 else ", ".join(words[:-1]) + " and " + words[-1]


def steps(count: int | Mapping[str, int]) -> str:
    """`1000`, or where benchmarks differ `30000 (CALVIN) and 50000 (Bridge, LIBERO-10)`."""
    if isinstance(count, int):
        return str(count)
    shared: dict[int, list[str]] = {}
    for name in in_order(count):
        shared.setdefault(count[name], []).append(BENCHMARKS.get(name, name))
    return joined([f"{number} ({', '.join(called)})" for number, called in shared.items()])


def number(metric: str, value: float, signed: bool = False) -> str:
    """A value of `metric` as it is printed: two decimals for lengths, percent points for rates."""
    sign = "+" if signed else ""
    return f"{value:{sign}.2f}" if metric == "average_length" else f"{100 * value:{sign}.1f}"


def published(metric: str, value: float) -> str:
    """A published value with the decimals that the paper prints: 3.856, 48.0, 46.75."""
    if metric == "average_length":
        return f"{value:.3f}"
    percent = f"{100 * value:.2f}"
    return percent.removesuffix("0")


def unit(metric: str) -> str:
    return "average length, 0 to 5" if metric == "average_length" else "success, %"


def p_value(p: float) -> str:
    """`p = 0.012`, or `p < 0.001`."""
    return "p < 0.001" if p < 0.001 else f"p = {p:.3f}"
