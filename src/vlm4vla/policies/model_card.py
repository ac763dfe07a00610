"""The model card (README.md) of a policy: data, training, scores, use and licence.

The metadata block is written by huggingface_hub, so it is what the hub reads. The stage vla writes the card
without scores, because rollouts come later. The stage rollout writes it again with the scores, and
`vlm4vla push` with the name on the hub.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from vlm4vla.conventions.benchmarks import AVERAGE_LENGTH, facts
from vlm4vla.core.artefacts import parse_json
from vlm4vla.core.markup import markdown_line, markdown_text

CARD = "README.md"
OWN_LICENCE = "apache-2.0"  # of weights that the study has trained from random ones
TAGS = ("robotics", "vision-language-action", "vlm4vla")
_VARIANTS = {
    "full": "All weights were trained",
    "freeze-vision": "The vision encoder was frozen",
    "freeze-embedding": "The word embedding was frozen",
    "scratch": "All weights were trained, starting from random values",
}


@dataclass(frozen=True)
class CardScore:
    """A score of a table, with its 95 % interval.

    `value`, `low`, `high`: in the units of the table (success rates from 0 to 1); the bounds are None if the
    table has no interval. `seeds`: the number of policies that the value is a mean of. `planned`: the number
    of all initial states, if the rollout ended before them.
    """

    metric: str
    value: float
    low: float | None
    high: float | None
    episodes: int
    seeds: int
    scale: str
    planned: int | None = None


@dataclass(frozen=True)
class Sources:
    """The provenance records of a policy's inputs, as far as they are there; empty records otherwise."""

    backbone: Mapping[str, Any]
    demonstrations: Mapping[str, Any]

    @property
    def checkpoint(self) -> str | None:
        """The released checkpoint of the backbone, or None for a backbone that the study has trained."""
        settings = self.backbone.get("settings", {})
        if self.backbone.get("stage") == "auxiliary":
            return settings.get("checkpoint")
        return (settings.get("backbone") or {}).get("checkpoint")

    @property
    def hub_name(self) -> str | None:
        """The checkpoint's name on the hub, or None for a local folder."""
        return _hub_name(self.checkpoint)

    @property
    def dataset(self) -> str | None:
        """The dataset of the demonstrations, or None if a scripted expert was recorded."""
        return (self.demonstrations.get("settings", {}).get("demonstrations") or {}).get("dataset")


def _hub_name(name: str | None) -> str | None:
    if name is None or name.startswith(("/", "~", ".")) or name.count("/") != 1 or Path(name).is_dir():
        return None
    return name


def read_sources(provenance: Mapping[str, Any], locate: Callable[[str], Path] = Path) -> Sources:
    """The records of a policy's inputs. `locate` gives the present path of a recorded one.

    For a backbone after fine-tuning, this is the record of the backbone that it was made from, unless a
    checkpoint has replaced the fine-tuning.
    """
    inputs = provenance.get("inputs") or {}
    backbone = _record(inputs.get("backbone"), locate)
    replaced = (backbone.get("settings") or {}).get("checkpoint")
    if backbone.get("stage") == "auxiliary" and not replaced:
        backbone = _record((backbone.get("inputs") or {}).get("backbone"), locate)
    return Sources(backbone, _record(inputs.get("demonstrations"), locate))


def _record(entry: Any, locate: Callable[[str], Path]) -> dict[str, Any]:
    """A provenance record, or an empty one if the file is not there any more."""
    if not isinstance(entry, Mapping):
        return {}
    try:
        found = parse_json(locate(entry["path"]).read_text())
    except (OSError, ValueError, KeyError):
        return {}
    return found if isinstance(found, dict) else {}


def policy_card(
    policy: Mapping[str, Any],
    provenance: Mapping[str, Any],
    sources: Sources,
    *,
    name: str | None = None,
    scores: Sequence[CardScore] = (),
    licence: str | None = None,
) -> str:
    """The text of the card.

    `policy`: the content of policy.json. `provenance`: the record of the stage vla. `name`: the name on the
    hub, for the example. `licence`: an identifier of the hub, such as `mit`. By default it is Apache-2.0 for
    weights that the study has trained from random ones, and `other` for those of a released checkpoint.
    """
    from huggingface_hub import EvalResult, ModelCard, ModelCardData

    settings = provenance["settings"]
    title = f"{settings['backbone']} on {facts(policy['benchmark']).title}"
    is_own = sources.checkpoint is None and bool(sources.backbone)
    licence = licence or (OWN_LICENCE if is_own else "other")
    results = [
        EvalResult(
            task_type="robotics",
            task_name="Robot manipulation",
            dataset_type=policy["benchmark"],
            dataset_name=f"{facts(policy['benchmark']).title} ({each.scale})",
            metric_type=each.metric,
            metric_value=each.value,
            metric_args={"ci_low": each.low, "ci_high": each.high, "episodes": each.episodes},
        )
        for each in scores
    ]
    data = ModelCardData(
        license=licence,
        license_name="see-the-backbone" if licence == "other" else None,
        library_name="vlm4vla",
        pipeline_tag="robotics",
        tags=list(TAGS),
        base_model=sources.hub_name,
        datasets=[_hub_name(sources.dataset)] if _hub_name(sources.dataset) else None,
        model_name=title if results else None,
        eval_results=results or None,
    )
    parts = [
        f"# {markdown_line(title)}",
        "A vision-language-action policy: a vision-language model with an action head. It reads one image "
        "and an instruction, and predicts the next actions of a robot arm.",
        "## Data\n\n" + _data_text(policy, settings, sources),
        "## Training\n\n" + _training_text(policy, settings, sources),
        "## Scores\n\n" + _scores_text(scores),
        "## Use\n\n" + _use_text(policy, name),
        "## Licence\n\n" + _licence_text(licence, sources, is_own),
    ]
    return str(ModelCard(f"---\n{data.to_yaml()}\n---\n\n" + "\n\n".join(parts) + "\n"))


def _data_text(policy: Mapping[str, Any], settings: Mapping[str, Any], sources: Sources) -> str:
    title = facts(policy["benchmark"]).title
    wanted = sources.demonstrations.get("settings", {}).get("demonstrations") or {}
    if sources.dataset is not None:
        hub = _hub_name(sources.dataset)
        link = f"[{hub}](https://huggingface.co/datasets/{hub})"
        shown = link if hub else markdown_text(Path(sources.dataset).name)
        revision = f" at revision `{wanted['revision']}`" if wanted.get("revision") else ""
        frames = sources.demonstrations.get("frames")
        size = f", {frames} frames" if frames else ""
        text = f"Demonstrations for {title}: the LeRobot dataset {shown}{revision}{size}."
    elif wanted.get("episodes"):
        text = (
            f"Demonstrations for {title}: {wanted['episodes']} episodes of a scripted expert in the embedded "
            f"benchmark, a small MuJoCo model of the real one (seed {wanted.get('seed', 0)}, noise "
            f"{wanted.get('noise', 0):g})."
        )
    else:
        text = f"Demonstrations for {title}. The record of the data was not kept with the policy."
    if settings.get("first_episodes"):
        text += f" Only the first {settings['first_episodes']} episodes were used."
    return text


def _training_text(policy: Mapping[str, Any], settings: Mapping[str, Any], sources: Sources) -> str:
    training, optimiser = settings["training"], settings["training"]["optimiser"]
    if sources.checkpoint is not None:
        hub = sources.hub_name
        origin = f"the released checkpoint {hub or Path(sources.checkpoint).name}"
    elif sources.backbone:
        origin = "a tiny model of the same architecture, pre-trained on generated questions"
    else:
        origin = "a model whose record was not kept with the policy"
    auxiliary = settings.get("auxiliary", "none")
    tuned = "" if auxiliary == "none" else f" It was fine-tuned on the auxiliary task {auxiliary} first."
    rows = [
        ("backbone", settings["backbone"]),
        ("variant", settings["variant"]),
        ("head", settings["head"]["kind"]),
        ("actions per prediction", policy["chunk"]),
        ("updates", training["steps"]),
        ("batch", training["batch"]),
        ("optimiser", optimiser["name"]),
        ("learning rate", f"{optimiser['learning_rate']:g}"),
        ("normalisation of actions", settings["normalisation"]),
        ("seed", settings["seed"]),
    ]
    table = "\n".join(f"| {name} | {markdown_text(str(value))} |" for name, value in rows)
    how = _VARIANTS.get(settings["variant"], markdown_text(f"Variant {settings['variant']}"))
    return (
        f"The backbone is {markdown_text(origin)}.{markdown_text(tuned)} {how}, by imitation of the "
        "demonstrations.\n\n"
        f"| setting | value |\n| --- | --- |\n{table}\n\n"
        "`provenance.json` holds all settings, the versions of the packages and the hashes of the inputs."
    )


def _scores_text(scores: Sequence[CardScore]) -> str:
    if not scores:
        return "No rollout of this policy is finished yet, so its scores are not known."
    lines = ["| metric | value | 95 % interval | episodes |", "| --- | ---: | ---: | ---: |"]
    for each in scores:
        low, high = (_number(each.metric, bound) for bound in (each.low, each.high))
        interval = "-" if each.low is None or each.high is None else f"{low} to {high}"
        lines.append(f"| {each.metric} | {_number(each.metric, each.value)} | {interval} | {each.episodes} |")
    text = "\n".join(lines) + f"\n\nScale of the study: {scores[0].scale}."
    if scores[0].scale == "smoke":
        text += " This scale tests the program. Its scores say nothing about the policy."
    if scores[0].planned is not None:
        text += (
            f" The rollout ended early, after {scores[0].episodes} of {scores[0].planned} initial states, "
            "because its comparison was decided."
        )
    if scores[0].seeds > 1:
        text += (
            f" Each value is the mean over {scores[0].seeds} policies, which differ in their training seed. "
            "This policy is one of them."
        )
    return text


def _number(metric: str, value: float | None) -> str:
    if value is None:
        return "-"
    return f"{value:.2f}" if metric == AVERAGE_LENGTH else f"{100 * value:.1f} %"


def _use_text(policy: Mapping[str, Any], name: str | None) -> str:
    example = _example(policy, name)
    if "interface" not in policy:  # saved by an earlier version
        return example
    image, action = policy["interface"]["image"], policy["interface"]["action"]
    gripper, scale = action["gripper"], action["scale"]
    units = (
        f"1 is {scale[0]:g} m of motion and {scale[3]:g} rad of rotation"
        if scale
        else "the units are those of the dataset"
    )
    opens = f"the gripper opens at {gripper['open']:g} and closes at {gripper['close']:g}" if gripper else ""
    rate = policy["interface"]["rate_hz"]
    details = [
        f"Images: {image['height']} x {image['width']} pixels"
        + (f", camera `{image['camera']}`" if image["camera"] else "")
        + ". Images of any other size are resized.",
        f"Actions: {', '.join(action['names'])}; {units}; {opens}".rstrip("; ") + ".",
        *([f"Rate: {rate:g} actions per second."] if rate else []),
    ]
    return example + "\n\n" + "\n".join(f"- {line}" for line in details)


def _example(policy: Mapping[str, Any], name: str | None) -> str:
    states = "" if policy.get("state") is None else ", state"
    return (
        "```python\n"
        "from vlm4vla.policies.loading import load_policy\n\n"
        f'policy = load_policy("{name or "FOLDER"}")\n'
        f'actions = policy.act(image, "open the drawer"{states})  # ({policy["chunk"]}, 7)\n'
        "```"
    )


def _licence_text(licence: str, sources: Sources, is_own: bool) -> str:
    if licence != "other":
        return f"The weights are under the licence `{licence}`."
    origin = sources.hub_name or (Path(sources.checkpoint).name if sources.checkpoint else "its backbone")
    return f"The weights derive from {origin}. The licence of {origin} applies to them."
