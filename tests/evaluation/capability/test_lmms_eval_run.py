"""lmms-eval itself: runs where `make env-lmms-eval` has made its environment, or LMMS_EVAL names another one.

It answers with the processor, chat template and `generate` of transformers. What it must score is known from
our own answers to the same questions.
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
from vlm4vla.backbones.answering import greedy_answers
from vlm4vla.backbones.families.chatml import ANSWER, SYSTEM, USER
from vlm4vla.backbones.logits import hidden_states, logits
from vlm4vla.config.backbones import Backbone, TinySize
from vlm4vla.config.capability import LmmsTask
from vlm4vla.config.stages import LmmsEvalSettings
from vlm4vla.core.artefacts import write_json
from vlm4vla.stages.capability_lmms_eval import run

ENVIRONMENT = Path(os.environ.get("LMMS_EVAL", ".venv-lmms-eval")).absolute()
SIZE = 224  # a multiple of 28, which qwen_vl_utils rounds to, so that no picture is resized
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
    """A small Qwen2.5-VL with larger weights than it begins with, whose answers differ."""
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
    """The backbone as a released checkpoint lies there: with its whole processor and chat template."""
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


def surest(backbone, pictures, asked):
    """The QUESTIONS whose best answers stand out most, so that bfloat16 does not change them."""
    with torch.inference_mode():
        batch = backbone.batch([list(backbone.question_ids(text)) for text in asked], pictures)
        best, second = logits(backbone, hidden_states(backbone, batch)[:, -1]).topk(2).values.T
    return torch.argsort((best - second) / best.abs(), descending=True)[:QUESTIONS].numpy()


@pytest.fixture
def tasks(backbone, tmp_path):
    """A task of lmms-eval with our answers to RIGHT of QUESTIONS questions, and another word to the rest."""
    rng = np.random.default_rng(0)
    colours = rng.integers(0, 256, (3 * QUESTIONS, 1, 1, 3), dtype=np.uint8)
    pictures = np.broadcast_to(colours, (len(colours), SIZE, SIZE, 3)).copy()
    asked = [" ".join(rng.choice(WORDS, 3)) for _ in colours]
    sure = surest(backbone, pictures, asked)
    pictures, asked = pictures[sure], [asked[index] for index in sure]
    answers = greedy_answers(backbone, pictures, asked, 1)
    assert len(set(answers)) > 4, "the answers must depend on what is asked"
    said = answers[:RIGHT] + ["nothing"] * (QUESTIONS - RIGHT)
    files = []
    for picture in pictures:
        buffer = BytesIO()
        Image.fromarray(picture).save(buffer, "PNG")
        files.append(buffer.getvalue())
    folder = tmp_path / "tasks"
    folder.mkdir()
    pq.write_table(pa.table({"picture": files, "question": asked, "answer": said}), folder / "test.parquet")
    (folder / "shapes.yaml").write_text(TASK.format(data=json.dumps(str(folder / "test.parquet"))))
    (folder / "shapes.py").write_text(FUNCTIONS)
    return folder


def test_its_score_is_what_our_own_answers_say(folder, tasks, tmp_path, monkeypatch):
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
