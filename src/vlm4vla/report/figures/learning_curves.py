"""The training loss of every VLA of the main table, from its train.jsonl."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from matplotlib.ticker import FuncFormatter, LogLocator, MaxNLocator

from vlm4vla.core.artefacts import parse_json
from vlm4vla.core.errors import UserError
from vlm4vla.report import names
from vlm4vla.report.figures import style

_COLOURS = (style.BLUE, style.ORANGE, style.GREEN, style.VERMILION, style.PURPLE)
_DASHES = ("-", (0, (4, 1.5)), (0, (1, 1)), (0, (5, 1, 1, 1)))


@dataclass(frozen=True)
class Curve:
    """The losses (n,) of one VLA at its training steps (n,)."""

    model: str
    variant: str
    benchmark: str
    seed: int
    steps: list[int]
    losses: list[float]


def read_curves(paths: Sequence[Path]) -> list[Curve]:
    """One curve for each VLA folder, or the provenance.json in it, sorted. Raises UserError."""
    curves = []
    for path in map(Path, paths):
        folder = path if path.is_dir() else path.parent
        try:
            settings = parse_json((folder / "provenance.json").read_text())["settings"]
            rows = [parse_json(line) for line in (folder / "train.jsonl").read_text().splitlines()]
            by_step = {int(row["step"]): float(row["loss"]) for row in rows if "loss" in row}
            key = (settings["backbone"], settings["variant"], settings["benchmark"], int(settings["seed"]))
        except (OSError, ValueError, KeyError, TypeError) as error:
            raise UserError(
                f"{folder}: not a trained VLA ({error!r}): delete the folder and train again"
            ) from None
        steps = sorted(by_step)
        curves.append(Curve(*key, steps, [by_step[step] for step in steps]))
    return sorted(curves, key=lambda curve: (curve.benchmark, curve.model, curve.variant, curve.seed))


def read_image_tokens(paths: Sequence[Path]) -> dict[str, int]:
    """The tokens of an image for each backbone with a trained VLA among `paths`, as `read_curves` takes them.

    Policies of earlier versions do not state them.
    """
    found = {}
    for path in map(Path, paths):
        folder = path if path.is_dir() else path.parent
        try:
            tokens = parse_json((folder / "policy.json").read_text()).get("image_tokens")
            model = parse_json((folder / "provenance.json").read_text())["settings"]["backbone"]
        except (OSError, ValueError, KeyError, TypeError, AttributeError):
            continue  # `read_curves` says what is wrong
        if isinstance(tokens, int):
            found[model] = tokens
    return found


def draw_learning_curves(curves: Sequence[Curve], scale: str, stem: Path) -> None:
    """Write `stem`.{pdf,png}: one panel per benchmark, with one line per training.

    Each model has its own colour and dashes, which its training seeds share.
    """
    benchmarks = names.in_order(curve.benchmark for curve in curves)
    labels = list(dict.fromkeys(curve.model for curve in curves))
    styles = {
        model: {"color": _COLOURS[i % len(_COLOURS)], "linestyle": _DASHES[i // len(_COLOURS) % len(_DASHES)]}
        for i, model in enumerate(labels)
    }
    with style.panels(max(1, len(benchmarks)), 3.1, 3.2) as (figure, axes):
        if not benchmarks:
            style.empty(axes[0], "no training record")
        for axis, benchmark in zip(axes, benchmarks, strict=False):
            for curve in curves:
                if curve.benchmark == benchmark:
                    label = names.model(curve.model)
                    # A line of one point would not be seen.
                    alone = {"marker": "o"} if len(curve.steps) == 1 else {}
                    line = {"linewidth": 1.2, "markersize": 4} | styles[curve.model] | alone
                    axis.plot(curve.steps, curve.losses, label=label, **line)
            losses = [loss for curve in curves if curve.benchmark == benchmark for loss in curve.losses]
            if losses and min(losses) > 0:
                axis.set_yscale("log")
                few = max(losses) < 100 * min(losses)
                axis.yaxis.set_minor_locator(LogLocator(subs=(2, 3, 5) if few else ()))
                for which in (axis.yaxis.set_major_formatter, axis.yaxis.set_minor_formatter):
                    which(FuncFormatter(lambda value, _: f"{value:g}"))
            axis.set_xlabel("training step")
            axis.set_ylabel("training loss")
            axis.xaxis.set_major_locator(MaxNLocator(5, integer=True))
            axis.set_title(names.benchmark(benchmark, scale))
        style.shared_legend(figure, axes, columns=5)
        style.save(figure, stem)
