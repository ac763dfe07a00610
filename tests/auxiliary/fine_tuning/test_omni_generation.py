"""Omni-generation: data that agree with the simulator, a loss whose gradient reaches the VLM, the scores."""

from __future__ import annotations

import json
import shutil
import subprocess
import sys

import numpy as np
import pyarrow as pa
import pytest
import torch
from safetensors.torch import load_file

from vlm4vla.auxiliary.fine_tuning.decoder import Decoder, grid_codes
from vlm4vla.auxiliary.fine_tuning.generation import GenerationFineTuning
from vlm4vla.auxiliary.tasks.omni_generation import MODALITIES, REQUESTS
from vlm4vla.backbones import build, load
from vlm4vla.backbones.vocabulary import missing_words
from vlm4vla.benchmarks import looks
from vlm4vla.benchmarks.arena import Arena
from vlm4vla.benchmarks.classes import CLASSES, PALETTE, class_of_prop
from vlm4vla.benchmarks.looks import camera_pose, project
from vlm4vla.benchmarks.painter import LAYOUT, Painter
from vlm4vla.benchmarks.props import PROPS
from vlm4vla.benchmarks.scene import HALF_TABLE, Layout
from vlm4vla.benchmarks.world import World
from vlm4vla.config.auxiliary import DiffusionDecoder
from vlm4vla.config.backbones import Backbone, TinySize
from vlm4vla.config.stages import AuxiliaryDataSettings, AuxiliarySettings
from vlm4vla.config.training import Optimiser, Training
from vlm4vla.core.artefacts import write_json
from vlm4vla.core.errors import UserError
from vlm4vla.core.registry import FAMILIES
from vlm4vla.data.questions.dataset import HELD_OUT, TRAIN, pixels, read_table
from vlm4vla.data.questions.dense import read_dense
from vlm4vla.data.questions.reading import read_questions
from vlm4vla.stages import auxiliary as stage
from vlm4vla.stages import auxiliary_data as data_stage
from vlm4vla.stages.questions import vocabulary

TASK = "omni-generation"
DECODER = DiffusionDecoder(size=16, patch=4, layers=1, heads=2, head_width=16, steps=2)


@pytest.fixture(scope="module")
def data(tmp_path_factory):
    folder = tmp_path_factory.mktemp("data")
    settings = AuxiliaryDataSettings(task=TASK, train_pictures=40, held_out_pictures=8, image_size=64, seed=0)
    data_stage.run(settings, output=folder)
    return folder


@pytest.fixture(scope="module", params=["qwen2_5_vl", "paligemma"])
def backbone(request, tmp_path_factory):
    folder = tmp_path_factory.mktemp("backbone")
    torch.set_num_threads(1)
    size = TinySize(hidden=32, intermediate=48, layers=2, vision_hidden=32, vision_intermediate=32)
    settings = Backbone(family=request.param, parameters_b=1, tiny=size, pretraining="r")
    build(settings, "tiny", vocabulary(), 64, 0).save(folder)
    write_json(folder / "provenance.json", {"stage": "backbone"})
    return folder


def settings(**changes) -> AuxiliarySettings:
    optimiser = Optimiser(name="muon", learning_rate=4e-3, muon_learning_rate=4e-3)
    training = Training(steps=4, batch=12, optimiser=optimiser, checkpoint_every=4, log_every=2)
    wanted = {"training": training, "decoder": DECODER, "questions": 18} | changes
    return AuxiliarySettings(name="tiny", task=TASK, image_size=64, seed=0, **wanted)


def without_column(data, target, column):
    shutil.copytree(data, target)
    for split in (TRAIN, HELD_OUT):
        folder = target / split
        table = read_table(folder).drop_columns([column])
        files = sorted(folder.glob("*.arrow"))
        with pa.ipc.new_stream(str(files[0]) + ".new", table.schema) as writer:
            writer.write_table(table)
        for file in files:
            file.unlink()
        files[0].with_name(files[0].name + ".new").rename(files[0])


def test_pixels_of_a_prop_have_its_class_and_its_distance_from_the_camera():
    world = World(Arena(Layout(LAYOUT.props, LAYOUT.fixtures, True, 64)))
    painter = Painter(64, "benchmark")
    look = looks.Look()
    camera, rotation = camera_pose(look)
    for name in ("red block", "blue ball", "carrot", "plate", "white mug"):
        for x, y in ((-0.12, 0.10), (0.05, -0.08), (0.15, 0.05)):
            world.reset({name: (x, y, 0.4)}, {}, look, show_hand=False)
            world.render()
            depth, geoms = world.arena.render_depth(world.model, world.data)
            at = world.position(name)
            column, row = (int(64 * v) for v in project(look, at[None])[0])
            assert CLASSES[painter.geom_classes[geoms][row, column]] == class_of_prop(name)
            # The camera sees the prop's surface, which is at most its half-size nearer than its centre.
            centre = float(-((at - camera) @ rotation)[2])
            assert centre - 0.06 < depth[row, column] < centre + 0.012, name
            # The depth of a plane is known exactly: the table's top, at a pixel without a prop.
            away = np.array([-0.2, -0.15, 0.0]) if x > -0.1 else np.array([0.2, -0.15, 0.0])
            column, row = (int(64 * v) for v in project(look, away[None])[0])
            ray = rotation @ [
                (2 * (column + 0.5) / 64 - 1) * np.tan(np.deg2rad(look.camera.field_of_view) / 2),
                (1 - 2 * (row + 0.5) / 64) * np.tan(np.deg2rad(look.camera.field_of_view) / 2),
                -1,
            ]
            assert depth[row, column] == pytest.approx(camera[2] / -ray[2], abs=1e-3)
            assert CLASSES[painter.geom_classes[geoms][row, column]] == "table"


def test_rendering_depth_does_not_change_images():
    one, other = Painter(64, "internet"), Painter(64, "internet")
    for index in range(3):
        dense, plain = one.draw("train", 3, index, dense=True), other.draw("train", 3, index)
        np.testing.assert_array_equal(dense.image, plain.image)
        assert plain.depth is None and dense.depth.shape == dense.classes.shape == (64, 64)


def test_columns_agree_with_the_simulator(data):
    painter = Painter(64, "internet")
    dense, pictures = read_dense(data, TRAIN, 64, TASK), read_questions(data, TRAIN)
    assert list(dense.palette) == list(PALETTE) and dense.image_size == 64
    for number in (0, 17, 39):
        drawn = painter.draw(f"{TASK} train", 0, number, dense=True)
        np.testing.assert_array_equal(pictures.images([number])[0], drawn.image)
        np.testing.assert_allclose(dense.depth([number])[0], drawn.depth, atol=1e-3)
        np.testing.assert_array_equal(dense.classes([number])[0], drawn.classes)
        seen = {CLASSES[c] for c in np.unique(drawn.classes)}
        assert seen <= set(CLASSES) and "table" in seen
    every = dense.depth(np.arange(40))
    assert dense.limits == pytest.approx(tuple(np.percentile(every, (1, 90))), abs=1e-3)
    requests = {(s.question, s.answer) for s in pictures.statements}
    assert requests == {(request, modality) for modality, request in REQUESTS.items()}


def test_props_of_every_noun_have_a_class():
    assert {class_of_prop(name) for name in PROPS} <= set(CLASSES)
    assert len({tuple(colour) for colour in PALETTE.values()}) == len(CLASSES)
    assert HALF_TABLE  # the test of depth uses points on the table


def test_target_maps_are_the_downsampled_truth(data, backbone):
    fine_tuning = GenerationFineTuning(settings(), data, load(backbone))
    ids = np.array([1, 4])
    truth = {modality: fine_tuning.held_out.target_maps(modality, ids) for modality in MODALITIES}
    for maps in truth.values():
        assert maps.shape == (2, 3, 16, 16) and maps.abs().max() <= 1
    np.testing.assert_array_equal(
        fine_tuning.held_out.nearest_classes(truth["segmentation"]),
        fine_tuning.held_out.dense.classes(ids)[:, 2::4, 2::4],
    )
    cut = fine_tuning.held_out.dense.depth(ids).clip(*fine_tuning.held_out.dense.limits)
    means = cut.reshape(2, 16, 4, 16, 4).mean((2, 4))
    np.testing.assert_allclose(fine_tuning.held_out.metres(truth["depth"]), means, atol=1e-5)


def test_perfect_maps_score_one_and_mean_maps_zero(data, backbone, monkeypatch):
    fine_tuning = GenerationFineTuning(settings(), data, load(backbone))
    monkeypatch.setattr(fine_tuning, "generate", fine_tuning.held_out.target_maps)
    perfect = fine_tuning.score()
    assert perfect["score"] == pytest.approx(1, abs=1e-4) and perfect["questions"] == 18

    def mean(modality, ids):
        if modality != "segmentation":
            return (
                fine_tuning.train.target_maps(modality, np.arange(40))
                .mean(0, keepdim=True)
                .expand(len(ids), -1, -1, -1)
            )
        classes = fine_tuning.train.classes(np.arange(40))
        commonest = np.argmax([(classes == number).sum(0) for number in range(len(CLASSES))], axis=0)
        colours = fine_tuning.train.colours[torch.from_numpy(commonest)].permute(2, 0, 1)
        return colours.expand(len(ids), -1, -1, -1)

    monkeypatch.setattr(fine_tuning, "generate", mean)
    for part in fine_tuning.score()["modalities"].values():
        assert part["score"] == pytest.approx(0, abs=1e-4)


def test_loss_falls_and_its_gradient_reaches_vision_and_language(data, backbone):
    fine_tuning = GenerationFineTuning(settings(), data, load(backbone))
    objective, samples = fine_tuning.objective(), fine_tuning.samples()
    random = np.random.default_rng(0)
    batch = samples.batch(np.arange(12), random)
    optimiser = torch.optim.AdamW(objective.parameters(), lr=3e-3)
    losses = []
    for step in range(60):
        torch.manual_seed(step)
        loss = objective(batch)
        optimiser.zero_grad()
        loss.backward()
        optimiser.step()
        losses.append(loss.item())
    assert np.mean(losses[-10:]) < 0.6 * np.mean(losses[:5])
    model = fine_tuning.backbone.model
    encoder = {id(p) for module in fine_tuning.backbone.vision_encoder() for p in module.parameters()}
    reached = {True: 0, False: 0}
    for parameter in model.parameters():
        if parameter.grad is not None and parameter.grad.abs().max() > 0:
            reached[id(parameter) in encoder] += 1
    assert reached[True] > 10 and reached[False] > 10
    assert model.get_input_embeddings().weight.grad.abs().max() > 0


@pytest.mark.parametrize("family", FAMILIES)
def test_the_gradient_reaches_every_family(data, family):
    size = TinySize(
        hidden=32, intermediate=32, layers=2, vision_hidden=32, vision_intermediate=32, experts=2,
        experts_per_token=1,
    )  # fmt: skip
    wanted = Backbone(family=family, parameters_b=1, tiny=size, pretraining="r")
    fine_tuning = GenerationFineTuning(settings(), data, build(wanted, "tiny", vocabulary(), 64, 0))
    torch.manual_seed(0)
    # The initial weights of the output layer are zero and would stop the gradient.
    torch.nn.init.normal_(fine_tuning.decoder.transformer.proj_out.weight, std=0.1)
    fine_tuning.objective()(fine_tuning.samples().batch(np.arange(12), np.random.default_rng(0))).backward()
    model = fine_tuning.backbone.model
    untouched = [n for n, p in model.named_parameters() if p.grad is None or not p.grad.abs().max() > 0]
    # A tied output layer counts as word embeddings. An expert may have received no token.
    assert not [name for name in untouched if "lm_head" not in name and "expert" not in name]


def test_the_folder_has_the_vlm_only_and_a_rerun_gives_the_same_bytes(data, backbone, tmp_path):
    for name in ("one", "other"):
        stage.run(settings(), backbone=backbone, data=data, output=tmp_path / name)
    one = tmp_path / "one"
    for name in ("model.safetensors", "score.json", "generated.png", "generated.pdf"):
        assert (one / name).read_bytes() == (tmp_path / "other" / name).read_bytes(), name
    saved, base = load_file(one / "model.safetensors"), load_file(backbone / "model.safetensors")
    assert saved.keys() == base.keys()
    assert sum(not torch.equal(saved[key], base[key]) for key in base) > len(base) / 2
    assert not missing_words(load(one), " ".join(REQUESTS.values()).split())
    scores = json.loads((one / "score.json").read_text())
    assert scores.keys() == {"before", "after"}
    for score in scores.values():
        assert 0 <= score["ci_low"] <= score["score"] <= score["ci_high"] <= 1
        assert score["questions"] == 18 and score["modalities"].keys() == set(MODALITIES)
    assert len((one / "train.jsonl").read_text().splitlines()) == 2


@pytest.mark.parametrize("column", ["depth", "segmentation"])
def test_data_without_a_column_raises(data, backbone, tmp_path, column):
    without_column(data, tmp_path / "data", column)
    with pytest.raises(
        UserError, match=rf"the column '{column}' is missing, and omni-generation needs it: write"
    ) as error:
        stage.run(settings(), backbone=backbone, data=tmp_path / "data", output=tmp_path / "out")
    assert "\n" not in str(error.value) and "train" in str(error.value)
    assert not (tmp_path / "out" / "train.jsonl").exists()


def test_data_without_depth_limits_raises(data, backbone, tmp_path):
    shutil.copytree(data, tmp_path / "data")
    write_json(tmp_path / "data" / "dense.json", {"palette": {}})
    message = r"dense\.json: depth_limits_m or palette is missing or invalid: write both"
    with pytest.raises(UserError, match=message):
        stage.run(settings(), backbone=backbone, data=tmp_path / "data", output=tmp_path / "out")


def test_a_decoder_size_that_does_not_divide_image_size_raises(data, backbone, tmp_path):
    wide = DECODER.model_copy(update={"size": 24})
    with pytest.raises(
        UserError, match=r"decoder\.size: 24 does not divide image_size 64: write a divisor of image_size"
    ):
        stage.run(settings(decoder=wide), backbone=backbone, data=data, output=tmp_path)


@pytest.mark.parametrize("steps", [1, 2, 5])
def test_a_decoder_that_predicts_the_truth_generates_it_in_any_number_of_steps(monkeypatch, steps):
    torch.manual_seed(0)
    decoder = Decoder(DECODER.model_copy(update={"steps": steps}), 8, 6, (1, 5))
    truth = torch.rand(2, 3, 16, 16) * 2 - 1

    monkeypatch.setattr(decoder, "predict_clean", lambda noisy, times, states, real: truth)
    drawn = decoder.draw(torch.randn(2, 3, 16, 16), torch.zeros(2, 6, 8), torch.ones(2, 6, dtype=torch.bool))
    torch.testing.assert_close(drawn, truth, atol=1e-4, rtol=0)


def test_padding_does_not_change_the_prediction():
    torch.manual_seed(0)
    decoder = Decoder(DECODER, 8, 9, (1, 5)).eval()
    torch.nn.init.normal_(decoder.transformer.proj_out.weight)
    states, noise = torch.randn(1, 6, 8), torch.randn(1, 3, 16, 16)
    padded = torch.cat([torch.full((1, 3, 8), 7.0), states], dim=1)
    real = torch.tensor([[False] * 3 + [True] * 6])
    times = torch.tensor([500.0])
    alone = decoder.predict_clean(noise, times, states, real[:, 3:])
    torch.testing.assert_close(decoder.predict_clean(noise, times, padded, real), alone, atol=1e-5, rtol=1e-5)


def test_grid_codes_are_the_codes_at_the_centres_of_cells():
    codes = torch.stack(torch.meshgrid(torch.arange(8.0), torch.arange(8.0), indexing="ij"), -1).reshape(
        64, 2
    )
    found = grid_codes(codes, 16)
    torch.testing.assert_close(found[0], torch.tensor([0.5, 0.5]))
    torch.testing.assert_close(found[7], torch.tensor([2.5, 6.5]))
    assert grid_codes(codes, 3).shape == (3, 2)


def test_other_stages_do_not_import_diffusers():
    modules = "vlm4vla.stages.auxiliary, vlm4vla.auxiliary.fine_tuning.answers, vlm4vla.stages.vla"
    code = f"""
import sys, {modules}
from vlm4vla.auxiliary.lookup import get_task
get_task("omni-generation")
print("diffusers" in sys.modules)
"""
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True)
    assert done.stdout.strip() == "False", done.stderr


def test_depth_is_read_in_pieces(data):
    pieces = pixels(read_table(data / TRAIN)["depth"])
    assert sum(map(len, pieces)) == 40 and all(piece.shape[1] == 64 * 64 * 2 for piece in pieces)
