"""Names and numbers as tables, figures and captions print them."""

from __future__ import annotations

from collections.abc import Iterable, Mapping

from vlm4vla.conventions.benchmarks import AVERAGE_LENGTH, BENCHMARKS, SUCCESS_RATE, facts
from vlm4vla.conventions.scales import StudyScale

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


def model(name: str) -> str:
    """The label of a model. A backbone that only the configuration defines is shown under its own key."""
    return MODELS.get(name, name)


def variant(name: str) -> str:
    """The label of a variant of the policy."""
    return VARIANTS.get(name, name)


def auxiliary(name: str) -> str:
    """The label of an auxiliary task."""
    return AUXILIARIES.get(name, name)


def benchmark(name: str, scale: str = "paper") -> str:
    """`CALVIN (embedded)`. The name of a real benchmark stands alone: `MetaWorld`.

    `scale`: a StudyScale if some benchmarks run on real simulators at a scale of tiny models.
    """
    shown, known = facts(name).title, scale if isinstance(scale, StudyScale) else StudyScale(scale)
    return shown if known.is_real(name) else f"{shown} ({scale})"


def words(key: str) -> str:
    """A key in words: the name of a question set, a task or a metric without underscores."""
    return key.replace("_", " ")


def in_order(benchmarks: Iterable[str]) -> list[str]:
    """Each benchmark once: first the built-in ones in the order of BENCHMARKS, then the others as given."""
    unique = dict.fromkeys(benchmarks)
    return [*(name for name in BENCHMARKS if name in unique), *(n for n in unique if n not in BENCHMARKS)]


def joined(words: list[str], last: str = "and") -> str:
    """`a`, `a and b`, `a, b and c`; with another word before the `last` one."""
    return words[0] if len(words) == 1 else f"{', '.join(words[:-1])} {last} {words[-1]}"


def steps(count: int | Mapping[str, int]) -> str:
    """`1000`, or, if benchmarks differ, `30000 (CALVIN) and 50000 (Bridge, LIBERO-10)`."""
    if isinstance(count, int):
        return str(count)
    benchmarks: dict[int, list[str]] = {}
    for name in in_order(count):
        benchmarks.setdefault(count[name], []).append(facts(name).title)
    return joined([f"{number} ({', '.join(titles)})" for number, titles in benchmarks.items()])


def factor(metric: str) -> int:
    """Converts a value of `metric` into the unit that is printed: rates are printed in percent."""
    return 1 if metric == AVERAGE_LENGTH else 100


def number(metric: str, value: float, signed: bool = False) -> str:
    """A value of `metric` as tables print it: average lengths with two decimals, rates in percent."""
    sign = "+" if signed else ""
    return f"{value:{sign}.2f}" if metric == AVERAGE_LENGTH else f"{100 * value:{sign}.1f}"


def published(metric: str, value: float) -> str:
    """A published value with the decimals that the paper prints: 3.856, 48.0, 46.75."""
    if metric == AVERAGE_LENGTH:
        return f"{value:.3f}"
    percent = f"{100 * value:.2f}"
    return percent.removesuffix("0")


def metric(benchmark: str, name: str) -> str:
    """The label of metric `name` of `benchmark`."""
    if name == AVERAGE_LENGTH:
        return f"average length (0 to {facts(benchmark).instructions_per_episode})"
    return "success rate" if name == SUCCESS_RATE else name.replace("_", " ")


def unit(benchmark: str) -> str:
    """The unit of the score of `benchmark`."""
    known = facts(benchmark)
    return f"average length, 0 to {known.instructions_per_episode}" if known.is_chain else "success, %"


def p_value(p: float) -> str:
    """`p = 0.012`, or `p < 0.001`."""
    return "p < 0.001" if p < 0.001 else f"p = {p_number(p)}"


def p_number(p: float) -> str:
    """`0.012`, or `< 0.001`, for the cells of a column of p values."""
    return "< 0.001" if p < 0.001 else f"{p:.3f}"
