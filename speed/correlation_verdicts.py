"""How often the verdict on a correlation is right, in simulated studies of ten backbones.

A straight line: the question score explains the policy score everywhere, over evenly spaced, uniform or
normal question scores. Groups: clusters of backbones without any relation inside, `distance` standard
deviations apart. The program prints, as JSON, the share of significant correlations (t test at 5 %) that each
verdict gets. A line should rarely be "a difference of groups", and groups should rarely be "positive".
It does not look for single backbones that carry a correlation.

With --transfer: what the table transfer says about the rankings on two benchmarks, for each true correlation
of the backbones' success rates and each number of initial states, with lineages at random.

    python speed/correlation_verdicts.py --runs 300
    python speed/correlation_verdicts.py --transfer --runs 100
"""

from __future__ import annotations

import argparse
import json
from collections import Counter

import numpy as np
from scipy import stats

from vlm4vla.analysis.correlation import correlate
from vlm4vla.analysis.groups import groupings
from vlm4vla.analysis.sensitivity import SIGNIFICANT, by_family, leave_one_out, read
from vlm4vla.analysis.transfer import ceiling, read_transfer, reliability, testable

POINTS = 10
LINEAGES = ["Qwen"] * 6 + ["PaliGemma"] * 2 + ["Kosmos", "InternVL"]  # those of the paper's backbones
SPACINGS = ("even", "uniform", "normal")


def line(spacing: str, r: float, random: np.random.Generator) -> tuple[np.ndarray, np.ndarray]:
    """Scores with the true correlation `r`."""
    x = {
        "even": np.linspace(-1, 1, POINTS) * np.sqrt(3 * (POINTS - 1) / (POINTS + 1)),
        "uniform": random.uniform(-1, 1, size=POINTS) * np.sqrt(3),
        "normal": random.normal(size=POINTS),
    }[spacing]
    return x, r * x + np.sqrt(1 - r * r) * random.normal(size=POINTS)


def clusters(
    sizes: tuple[int, ...], distance: float, random: np.random.Generator
) -> tuple[np.ndarray, np.ndarray]:
    """Groups with the same standard deviation 1 in both scores, and no relation inside."""
    centre = distance * np.repeat(np.arange(len(sizes)), sizes)
    return centre + random.normal(size=POINTS), centre + random.normal(size=POINTS)


def verdict(x: np.ndarray, y: np.ndarray, families: bool, random: np.random.Generator) -> str | None:
    """The outcome of a study, None if r is not significant. `families`: drawn at random from `LINEAGES`."""
    r, p = stats.pearsonr(x, y)
    if p >= SIGNIFICANT:
        return None
    given = random.permutation(LINEAGES).tolist() if families else None
    return read(float(r), float(p), groups=groupings(x, y, given=given)).outcome


def transferred(r: float, states: int, random: np.random.Generator) -> str:
    """What a pair of benchmarks says, for success rates of 50 +- 15 % with the correlation `r`."""
    rates = [np.clip(0.5 + 0.15 * side, 0.02, 0.98) for side in line("normal", r, random)]
    solved = [(random.random((POINTS, 1, states)) < rate[:, None, None]).astype(float) for rate in rates]
    x, y = (side.mean(axis=(1, 2)) for side in solved)
    given, found = random.permutation(LINEAGES).tolist(), correlate(x, y)
    if found is None:
        return "not defined"
    return read_transfer(
        found.spearman,
        found.spearman_p,
        leave_one_out(x, y, [str(place) for place in range(POINTS)], ranks=True),
        testable(by_family(x, y, given, ranks=True), given),
        groups=groupings(x, y, given=given),
        interval=found.spearman_ci,
        limit=ceiling(*(reliability(side, np.zeros(states, dtype=int)) for side in solved)),
        count=POINTS,
    ).outcome


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--runs", type=int, default=300, help="simulated studies for each number")
    parser.add_argument("--transfer", action="store_true", help="verdicts on the rankings of two benchmarks")
    runs, transfer = vars(parser.parse_args()).values()
    if transfer:
        shares = {}
        for r, states in [(r, states) for states in (100, 500) for r in (0.0, 0.5, 0.9, 0.97, 1.0)]:
            random = np.random.default_rng([7, states, round(100 * r)])
            outcomes = Counter(transferred(r, states, random) for _ in range(runs))
            shares[f"r {r:g}, {states} states"] = {name: n / runs for name, n in sorted(outcomes.items())}
        print(json.dumps(shares, indent=1))
        return
    cases = {
        f"line, {spacing}, r {r}": (lambda random, s=spacing, r=r: line(s, r, random), False)
        for spacing in SPACINGS
        for r in (0.8, 0.9, 0.95)
    }
    cases |= {
        f"line, {spacing}, r 0.9, four lineages at random": (
            lambda random, s=spacing: line(s, 0.9, random),
            True,
        )
        for spacing in SPACINGS
    }
    cases |= {
        f"groups of {' and '.join(map(str, sizes))}, distance {distance}": (
            lambda random, s=sizes, d=distance: clusters(s, d, random),
            False,
        )
        for sizes in ((3, 7), (5, 5), (3, 3, 4))
        for distance in (4, 5, 6, 8, 12)
    }
    found = {}
    for name, (draw, families) in cases.items():
        random = np.random.default_rng(5)
        said = Counter(verdict(*draw(random), families, random) for _ in range(runs))
        significant = runs - said.pop(None, 0)
        shares = {outcome: round(count / significant, 3) for outcome, count in said.most_common()}
        found[name] = {"significant": significant} | shares
    print(json.dumps({"runs": runs, "verdicts": found}, indent=2))


if __name__ == "__main__":
    main()
