"""FAST injection: answers decode to the data, vision is frozen or trained, the policy drops the tokens."""

from __future__ import annotations

import json

import numpy as np
import pytest
import torch
from safetensors.torch import load_file
from tokenizers import Tokenizer, decoders, models, pre_tokenizers

from vlm4vla.actions.fast import FastTokenizer
from vlm4vla.actions.normalisation import Statistics
from vlm4vla.auxiliary.lookup import get_task
from vlm4vla.auxiliary.tasks.fast_injection import SET, read_tokens, write_tokens
from vlm4vla.backbones import build, load
from vlm4vla.backbones.vocabulary import missing_words
from vlm4vla.config.auxiliary import FastTokens
from vlm4vla.config.backbones import Backbone, TinySize
from vlm4vla.config.demonstrations import Demonstrations
from vlm4vla.config.policies import MlpHeadSettings
from vlm4vla.config.stages import AuxiliarySettings, DemonstrationsSettings, FastDataSettings, VlaSettings
from vlm4vla.config.training import Optimiser, Training
from vlm4vla.core.artefacts import write_json
from vlm4vla.core.errors import UserError
from vlm4vla.data.lerobot.reader import read_demonstrations
from vlm4vla.data.questions.dataset import HELD_OUT, TRAIN
from vlm4vla.data.questions.reading import read_questions
from vlm4vla.policies.policy import Policy
from vlm4vla.stages import auxiliary as stage
from vlm4vla.stages import demonstrations as demonstrations_stage
from vlm4vla.stages import fast_data as fast_stage
from vlm4vla.stages import vla as vla_stage
from vlm4vla.stages.questions import vocabulary

CHUNK = 4
TRAINING = Training(
    steps=4, batch=8, optimiser=Optimiser(name="adamw", learning_rate=1e-2), checkpoint_every=4, log_every=4
)


def fast_settings(**changes) -> FastDataSettings:
    fast = {"benchmark": "bridge", "vocabulary": 128, "scale": 10, "pictures": 1000} | changes
    return FastDataSettings(fast=FastTokens(**fast), chunk=CHUNK, normalisation="quantile")


@pytest.fixture(scope="module")
def demonstrations(tmp_path_factory):
    folder = tmp_path_factory.mktemp("demonstrations")
    wanted = Demonstrations(episodes=20, noise=0.1)
    settings = DemonstrationsSettings(benchmark="bridge", demonstrations=wanted, image_size=64, max_steps=60)
    demonstrations_stage.run(settings, output=folder)
    return folder


@pytest.fixture(scope="module")
def data(tmp_path_factory, demonstrations):
    folder = tmp_path_factory.mktemp("fast")
    fast_stage.run(fast_settings(), demonstrations=demonstrations, output=folder)
    return folder


@pytest.fixture(scope="module")
def backbone(tmp_path_factory):
    folder = tmp_path_factory.mktemp("backbone")
    torch.set_num_threads(1)
    size = TinySize(hidden=32, intermediate=32, layers=2, vision_hidden=32, vision_intermediate=32)
    settings = Backbone(family="qwen3_vl", parameters_b=1, tiny=size, pretraining="r")
    build(settings, "tiny", vocabulary(), 64, 0).save(folder)
    write_json(folder / "provenance.json", {"stage": "backbone"})
    return folder


@pytest.fixture(scope="module", params=["fast-freeze-vision", "fast-unfreeze-vision"])
def injected(request, tmp_path_factory, backbone, data):
    folder = tmp_path_factory.mktemp(request.param)
    settings = AuxiliarySettings(
        name="tiny", task=request.param, training=TRAINING, questions=10, image_size=64, seed=0
    )
    stage.run(settings, backbone=backbone, data=data, output=folder)
    return request.param, folder


def test_answers_decode_to_the_chunks_of_the_demonstrations(data, demonstrations):
    frames = read_demonstrations(demonstrations)
    statistics = Statistics.from_stats(frames.stats, "quantile", "bridge")
    tokenizer = FastTokenizer.load(data / "fast.json")
    by_picture = {frames.images[i].tobytes(): i for i in range(len(frames))}
    report = json.loads((data / "report.json").read_text())
    episodes, lengths, errors = {}, [], []
    for split in (TRAIN, HELD_OUT):
        questions = read_questions(data, split)
        for picture in range(len(questions)):
            (number,) = questions.statement_numbers(picture)
            statement = questions.statements[number]
            frame = by_picture[questions.images([picture])[0].tobytes()]
            assert statement.set == SET and statement.question == frames.tasks[frames.task_index[frame]]
            own = frames.episode_index == frames.episode_index[frame]
            actions = frames.actions[own][frame - np.argmax(own) :][:CHUNK]
            pose, gripper = statistics.normalise(actions)
            chunk, is_valid = tokenizer.decode(read_tokens(statement.answer))
            assert is_valid
            error = np.abs(chunk[: len(actions)] - np.c_[pose, 2 * gripper - 1])
            assert error.max() <= report["error_bound"] + 1e-6
            episodes.setdefault(split, set()).add(int(frames.episode_index[frame]))
            if split == HELD_OUT:
                lengths.append(len(read_tokens(statement.answer)))
                errors.append(error.max())
    assert not episodes[TRAIN] & episodes[HELD_OUT]
    assert report["tokens_a_chunk"] == pytest.approx(np.mean(lengths)) and report["vocabulary"] <= 128
    assert report["largest_error"] >= max(errors) - 1e-6


def test_vision_is_frozen_or_trained(injected, backbone):
    name, folder = injected
    before = load_file(backbone / "model.safetensors")
    after = load_file(folder / "model.safetensors")
    vision = [key for key in before if "visual" in key]
    same = [key for key in vision if torch.equal(before[key], after[key])]
    assert vision and (same == vision if name == "fast-freeze-vision" else not same)
    text = [key for key in before if "language_model.layers" in key]
    assert text and not any(torch.equal(before[key], after[key]) for key in text)


def test_the_policy_does_not_keep_the_tokens(injected, backbone, demonstrations, tmp_path):
    _, folder = injected
    words = ["<fast0>", "<fast40>"]
    grown, base = load(folder), load(backbone)
    assert not missing_words(grown, words[:1])
    settings = VlaSettings(
        backbone="tiny", auxiliary=injected[0], variant="full", benchmark="bridge", seed=0, freeze="none",
        initial_weights="backbone", chunk=CHUNK, normalisation="quantile", shift=0, colour_jitter=0.0,
        head=MlpHeadSettings(features=16, hidden=[16], gripper_loss_weight=0.1), training=TRAINING,
    )  # fmt: skip
    vla_stage.run(settings, backbone=folder, demonstrations=demonstrations, output=tmp_path)
    policy = Policy.load(tmp_path)
    assert missing_words(policy.backbone, words) == words
    assert policy.backbone.word_embedding().weight.shape == base.word_embedding().weight.shape
    assert grown.word_embedding().weight.shape[0] > base.word_embedding().weight.shape[0]


def test_score_decreases_with_the_error_of_the_chunk(data):
    task = get_task("fast-freeze-vision", data)
    tokenizer = FastTokenizer.load(data / "fast.json")
    low, high = (write_tokens(tokenizer.encode(np.full((1, CHUNK, 7), v))[0]) for v in (-0.5, 0.5))
    assert task.score(low, low) == 1
    apart = np.abs(tokenizer.decode(read_tokens(low))[0] - tokenizer.decode(read_tokens(high))[0]).mean()
    assert task.score(low, high) == pytest.approx(1 - apart / task.blind_error)
    assert task.score("", low) == task.score("red block", low) == task.score("<fast999999>", low) == 0


def test_too_few_episodes_raise(tmp_path):
    folder = tmp_path / "demonstrations"
    settings = DemonstrationsSettings(
        benchmark="bridge", demonstrations=Demonstrations(episodes=4, noise=0), image_size=64, max_steps=60
    )
    demonstrations_stage.run(settings, output=folder)
    with pytest.raises(UserError, match="has 4 episodes, and FAST injection holds out one in 10"):
        fast_stage.run(fast_settings(), demonstrations=folder, output=tmp_path / "out")


def test_a_vocabulary_smaller_than_the_alphabet_raises(tmp_path, demonstrations):
    with pytest.raises(UserError, match=r"fast\.vocabulary: 20 .* write at least 41"):
        fast_stage.run(fast_settings(vocabulary=20), demonstrations=demonstrations, output=tmp_path)


def test_a_published_tokenizer_replaces_fitting(tmp_path, demonstrations):
    folder = tmp_path / "universal"
    folder.mkdir()
    alphabet = sorted(pre_tokenizers.ByteLevel.alphabet())
    bpe = Tokenizer(models.BPE(vocab={symbol: i for i, symbol in enumerate(alphabet)}, merges=[]))
    bpe.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    bpe.decoder = decoders.ByteLevel()
    bpe.save(str(folder / "tokenizer.json"))
    config = {"scale": 10, "vocab_size": len(alphabet), "min_token": -354}
    (folder / "processor_config.json").write_text(json.dumps(config))
    settings = fast_settings(tokenizer=str(folder), vocabulary=None, scale=None)
    output = tmp_path / "fast"
    fast_stage.run(settings, demonstrations=demonstrations, output=output)
    report = json.loads((output / "report.json").read_text())
    # There are no merges, and each coefficient near 354 is a character of two bytes.
    assert (report["vocabulary"], report["tokens_a_chunk"]) == (256, 2 * CHUNK * 7)
    assert 0 < report["largest_error"] <= report["error_bound"] == pytest.approx(0.05 * CHUNK**0.5)
    inputs = json.loads((output / "provenance.json").read_text())["inputs"]
    assert set(inputs) == {"demonstrations", "tokenizer.json", "processor_config.json"}
    answer = read_questions(output, HELD_OUT).statements[0].answer
    chunk, is_valid = FastTokenizer.load(output / "fast.json").decode(read_tokens(answer))
    assert is_valid and chunk.shape == (CHUNK, 7)


def test_the_best_constant_chunk_scores_zero(data):
    """`blind_error` is the error of the best constant answer, computed here from the training answers."""
    task = get_task("fast-freeze-vision", data)
    answers = [statement.answer for statement in read_questions(data, TRAIN).statements]
    chunks = np.array([task.tokenizer.decode(read_tokens(answer))[0] for answer in answers])
    constant = np.median(chunks, axis=0)
    errors = np.abs(chunks - constant).mean(axis=(1, 2))
    assert task.blind_error == pytest.approx(errors.mean(), rel=1e-6)
    assert np.mean(1 - errors / task.blind_error) == pytest.approx(0, abs=1e-6)
    other = np.abs(chunks - chunks.mean(axis=0)).mean()
    assert task.blind_error <= other  # the mean is not a better constant
