"""Write the scores of a rollout on the model card of its policy."""

from __future__ import annotations

from pathlib import Path

from vlm4vla.core.artefacts import write_text
from vlm4vla.policies.model_card import CARD, policy_card, read_sources
from vlm4vla.study.layout import EXECUTED, PROVENANCE
from vlm4vla.study.results_folder import read_json, study_of


def write_scores(vla: Path | None, episodes: Path, checkpoint: str) -> None:
    """Write the card of the policy in the folder `vla` again, with the scores in the records `episodes`.

    `checkpoint`: the hash of the policy. Nothing is written for a policy without a card (an earlier version
    saved it, or its server is elsewhere), and for rollouts that execute another number of steps than the
    benchmark's. A folder that cannot be written is named on standard output: the rollout itself is whole.
    """
    if vla is None or not (vla / CARD).is_file() or EXECUTED in episodes.parent.name:
        return
    from vlm4vla.policies.card_scores import rollout_scores  # imports pandas, which takes 0.7 CPU seconds

    names = ("policy.json", PROVENANCE)
    policy, provenance = (read_json(vla / name, "train the policy again") for name in names)
    study = study_of(vla)
    sources = read_sources(provenance, study.locate if study else Path)
    text = policy_card(policy, provenance, sources, scores=rollout_scores(episodes, checkpoint))
    try:
        write_text(vla / CARD, text)
    except OSError as error:
        print(f"{vla / CARD}: cannot be written ({error.strerror or error}): it lacks the scores", flush=True)
