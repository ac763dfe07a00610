"""The stage capability-lmms-eval: question scores by lmms-eval, which has an environment of its own.

lmms-eval requires other package versions than this project, so it runs as a process of another interpreter.
It caches its answers next to the scores: an interrupted run resumes.
"""

from __future__ import annotations

from pathlib import Path

from vlm4vla.backbones.complete_folder import check_chat_template
from vlm4vla.config.stages import LmmsEvalSettings
from vlm4vla.core.artefacts import Provenance, write_json
from vlm4vla.core.errors import UserError
from vlm4vla.evaluation.capability.lmms_eval import read_results, score
from vlm4vla.evaluation.capability.published_scores import mean_score, score_json


def run(settings: LmmsEvalSettings, *, backbone: Path, output: Path) -> None:
    """Write the JSON file `output`: score, questions and standard error of each task, and their mean.

    lmms-eval's own files are in a folder next to `output`. Raises UserError if lmms-eval is not installed or
    fails, and for a result file without the required results.
    """
    inputs = {"backbone": backbone / "provenance.json"}
    if settings.results is not None:
        inputs["results"] = Path(settings.results).expanduser()
    for path in inputs.values():
        if not path.is_file():
            raise UserError(
                f"{path}: no such file: write the path of a result file in capability.lmms_eval.results"
            )
    if settings.results is None and (backbone / "config.json").is_file():
        check_chat_template(backbone)
    provenance = Provenance("capability-lmms-eval", settings.model_dump(mode="json"), inputs, None)
    found = inputs.get("results") or score(settings, backbone, output.with_suffix(".lmms_eval"))
    scores = read_results(found, settings.tasks, settings.names, settings.limit)
    sets = {name: score_json(each) for name, each in scores.items()}
    overall = score_json(mean_score(scores.values()))
    write_json(output, {"sets": sets, "overall": overall, "provenance": provenance.record()})
