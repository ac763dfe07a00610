"""Question scores by lmms-eval, which runs in an environment of its own.

lmms-eval pins packages that this project's environment has in other versions, so it is another process of
another interpreter. What it has answered stays in a cache beside the scores: a run that was killed goes on.
"""

from __future__ import annotations

from pathlib import Path

from vlm4vla.config.stages import LmmsEvalSettings
from vlm4vla.core.artefacts import Provenance, write_json
from vlm4vla.core.errors import UserError
from vlm4vla.evaluation.capability.entries import entry, mean
from vlm4vla.evaluation.capability.lmms_eval import score
from vlm4vla.evaluation.capability.lmms_results import read_results


def run(settings: LmmsEvalSettings, *, backbone: Path, output: Path) -> None:
    """Write the JSON file `output`: score, questions and standard error of each task, and their mean.

    lmms-eval's own files lie in a folder beside it. Raises UserError when lmms-eval is not there or fails,
    and for a result file that does not hold what is asked for.
    """
    inputs = {"backbone": backbone / "provenance.json"}
    if settings.results is not None:
        inputs["results"] = Path(settings.results).expanduser()
    for path in inputs.values():
        if not path.is_file():
            raise UserError(f"{path}: no such file: write the path of one in capability.lmms_eval.results")
    provenance = Provenance("capability-lmms-eval", settings.model_dump(mode="json"), inputs, None)
    found = inputs.get("results") or score(settings, backbone, output.with_suffix(".lmms_eval"))
    scores = read_results(found, settings.tasks, settings.names)
    sets = {name: entry(each) for name, each in scores.items()}
    overall = entry(mean(scores.values()))
    write_json(output, {"sets": sets, "overall": overall, "provenance": provenance.record()})
