"""Run lmms-eval itself, in the environment of `make env-lmms-eval` or the environment that LMMS_EVAL names.

lmms-eval answers with the processor, chat template and `generate` of transformers. The expected score follows
from our own answers to the same questions.
"""

from __future__ import annotations

import json
import os
from io import BytesIO
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
import torch
from PIL import Image

from vlm4vla.backbones import build
from vlm4vla.backbones.families.chatml import ANSWER, SYSTEM, USER
from vlm4vla.backbones.logits import greedy_answers, hidden_states, logits
from vlm4vla.config.backbones import Backbone, TinySize
from vlm4vla.config.capability import LmmsTask
from vlm4vla.config.stages import LmmsEvalSettings
from vlm4vla.core.artefacts import write_json
from vlm4vla.stages.capability_lmms_eval import run

ENVIRONMENT = Path(os.environ.get("LMMS_EVAL", ".venv-lmms-eval")).absolute()
SIZE = 224  # a multiple of 28, which qwen_vl_utils rounds to, so that no image is resized
QUESTIONS, RIGHT = 12, 9
WORDS = [f"word{number}" for number in range(40)]
TASK = """
task: shapes
dataset_path: parquet
dataset_kwargs: {{data_files: {{test: {data}}}}}
test_split: test
output_type: generate_until
doc_to_visual: !function shapes.picture
doc_to_text: !function shapes.question
doc_to_target: answer
generation_kwargs: {{max_new_tokens: 1, temperature: 0, do_sample: false}}
process_results: !function shapes.score
metric_list: [{{metric: accuracy, aggregation: mean, higher_is_better: true}}]
metadata: [{{version: 0.0}}]
"""
FUNCTIONS = """
import io
from PIL import Image

def picture(doc):
    return [Image.open(io.BytesIO(doc["picture"])).convert("RGB")]

def question(doc, lmms_eval_specific_kwargs=None):
    return doc["question"]

def score(doc, results):
    return {"accuracy": float(results[0].strip() == doc["answer"])}
"""

pytestmark = pytest.mark.skipif(
    not (ENVIRONMENT / "bin" / "python").exists(),
    reason="lmms-eval is not installed: make env-lmms-eval, or name its environment in LMMS_EVAL",
)


@pytest.fixture
def backbone():
    """A small Qwen2.5-VL whose weights are enlarged, so that its answers differ."""
    size = TinySize(hidden=64, intermediate=96, heads=4, layers=2, vision_hidden=64, vision_heads=4)
    settings = Backbone(family="qwen2_5_vl", parameters_b=1, tiny=size, pretraining="any")
    made = build(settings, "tiny", WORDS, SIZE, 0)
    with torch.no_grad():
        for parameter in made.model.parameters():
            if parameter.ndim > 1:
                parameter.mul_(8)
    return made


@pytest.fixture
def folder(backbone, tmp_path):
    """The backbone in the form of a released checkpoint, with its complete processor and chat template."""
    folder = tmp_path / "backbones" / "tiny"
    backbone.save(folder)
    vision = backbone.model.config.vision_config
    patches = {
        "patch_size": vision.patch_size,
        "merge_size": vision.spatial_merge_size,
        "temporal_patch_size": vision.temporal_patch_size,
        "image_mean": list(backbone.image_processor.image_mean),
        "image_std": list(backbone.image_processor.image_std),
    }
    system, user, answer = ("{{ " + json.dumps(text) + " }}" for text in (SYSTEM, USER, ANSWER))
    picture = "<|vision_start|><|image_pad|><|vision_end|>"
    template = (
        system + "{% for message in messages %}" + user + "{% for part in message.content %}"
        "{% if part.type == 'image' %}" + picture + "{% else %}{{ part.text }}{% endif %}{% endfor %}"
        "{% endfor %}" + answer
    )
    kinds = {"preprocessor": "Qwen2VLImageProcessor", "video_preprocessor": "Qwen2VLVideoProcessor"}
    for name, kind in kinds.items():
        key = f"{name.removesuffix('preprocessor').rstrip('_') or 'image'}_processor_type"
        more = {key: kind, "processor_class": "Qwen2_5_VLProcessor"}
        write_json(folder / f"{name}_config.json", patches | more)
    (folder / "chat_template.jinja").write_text(template)
    write_json(folder / "provenance.json", {"stage": "backbone"})
    return folder


def most_certain(backbone, images, questions):
    """Indices of the QUESTIONS with the largest margin of the best answer, which bfloat16 does not change."""
    with torch.inference_mode():
        batch = backbone.batch([list(backbone.question_ids(text)) for text in questions], images)
        best, second = logits(backbone, hidden_states(backbone, batch)[:, -1]).topk(2).values.T
    return torch.argsort((best - second) / best.abs(), descending=True)[:QUESTIONS].numpy()


@pytest.fixture
def tasks(backbone, tmp_path):
    """A task of lmms-eval with QUESTIONS questions, of which our answers to RIGHT are correct."""
    rng = np.random.default_rng(0)
    colours = rng.integers(0, 256, (3 * QUESTIONS, 1, 1, 3), dtype=np.uint8)
    images = np.broadcast_to(colours, (len(colours), SIZE, SIZE, 3)).copy()
    questions = [" ".join(rng.choice(WORDS, 3)) for _ in colours]
    certain = most_certain(backbone, images, questions)
    images, questions = images[certain], [questions[index] for index in certain]
    answers = greedy_answers(backbone, images, questions, 1)
    assert len(set(answers)) > 4, "the answers must depend on the questions"
    expected = answers[:RIGHT] + ["nothing"] * (QUESTIONS - RIGHT)
    files = []
    for image in images:
        buffer = BytesIO()
        Image.fromarray(image).save(buffer, "PNG")
        files.append(buffer.getvalue())
    folder = tmp_path / "tasks"
    folder.mkdir()
    pq.write_table(
        pa.table({"picture": files, "question": questions, "answer": expected}), folder / "test.parquet"
    )
    (folder / "shapes.yaml").write_text(TASK.format(data=json.dumps(str(folder / "test.parquet"))))
    (folder / "shapes.py").write_text(FUNCTIONS)
    return folder


def test_the_score_agrees_with_our_own_answers(folder, tasks, tmp_path, monkeypatch):
    monkeypatch.setenv("HF_HUB_OFFLINE", "1")
    monkeypatch.setenv("HF_HOME", str(tmp_path / "hub"))
    settings = LmmsEvalSettings(
        name="tiny",
        auxiliary="none",
        tasks={"shapes": LmmsTask(metric="accuracy")},
        names=["backbones/tiny"],
        model="qwen2_5_vl",
        batch=4,
        arguments={"device": "cpu", "device_map": "cpu", "min_pixels": SIZE**2, "max_pixels": SIZE**2},
        include=str(tasks),
        environment=str(ENVIRONMENT),
    )
    output = tmp_path / "capability" / "tiny" / "none.json"
    run(settings, backbone=folder, output=output)
    found = json.loads(output.read_text())["sets"]["shapes"]
    assert found["score"] == pytest.approx(RIGHT / QUESTIONS)
    assert found["questions"] == QUESTIONS
