"""Bounds of the image size in the folder of an installed checkpoint, against transformers' own processor."""

import json
from dataclasses import replace

import numpy as np
import pytest
import torch
from shrunk_backbones import save_shrunk
from transformers import AutoImageProcessor
from transformers.models.qwen2_vl.image_processing_pil_qwen2_vl import smart_resize

from vlm4vla.backbones import load
from vlm4vla.backbones.image_size import processed_side
from vlm4vla.backbones.pixel_bounds import write_pixel_bounds
from vlm4vla.config.backbones import WITH_PIXEL_BOUNDS, Backbone, PixelBounds
from vlm4vla.config.stages import BackboneSettings
from vlm4vla.core.errors import UserError
from vlm4vla.core.registry import FAMILIES
from vlm4vla.stages.backbone import run
from vlm4vla.workflow.estimate.models import model_of
from vlm4vla.workflow.estimate.published_configs import published_configs

STUDY = 28 * 28 * 256
QWEN = {"Qwen/Qwen2.5-VL-7B-Instruct": 28, "Qwen/Qwen3-VL-8B-Instruct": 32}  # patch size times merge size
PROCESSOR = "preprocessor_config.json"


@pytest.fixture(params=QWEN)
def hub(request):
    return request.param


@pytest.fixture
def folder(hub, tmp_path):
    torch.manual_seed(0)
    save_shrunk(published_configs()[hub], tmp_path / "checkpoint")
    return tmp_path / "checkpoint"


def grid_of(folder, side=224):
    """The patches per side that transformers' processor makes of a square image."""
    processor = AutoImageProcessor.from_pretrained(folder, backend="pil")
    made = processor(images=[np.zeros((side, side, 3), dtype=np.uint8)], return_tensors="pt")
    _, rows, columns = made["image_grid_thw"][0].tolist()
    assert rows == columns
    return rows


@pytest.mark.parametrize(
    ("bounds", "side"),
    [
        ({"min": STUDY}, 448),
        ({"min": STUDY, "max": 28 * 28 * 1280}, 448),
        ({"min": 300_000}, {28: 560, 32: 576}),
        ({"min": 1, "max": 150 * 150}, {28: 140, 32: 128}),
        ({"min": 1}, 224),
    ],
)
def test_transformers_reads_the_bounds(hub, folder, bounds, side):
    factor = QWEN[hub]
    side = side[factor] if isinstance(side, dict) else side
    write_pixel_bounds(folder, PixelBounds(**bounds), "backbones.qwen")
    vision = load(folder).model.config.vision_config
    assert grid_of(folder) * vision.patch_size == side == load(folder).image_size
    largest = bounds.get("max") or published_configs()[hub].processor["longest_edge"]
    assert smart_resize(224, 224, factor, bounds["min"], largest) == (side, side)
    settings = Backbone(family=vision_family(hub), parameters_b=8, checkpoint=hub, pixels=bounds)
    assert model_of(settings, 224).shape.image_tokens == (side // factor) ** 2


def vision_family(hub):
    return published_configs()[hub].config["model_type"]


@pytest.mark.parametrize("factor", [28, 32])
def test_side_is_that_of_smart_resize(factor):
    """Bounds near the squares of multiples of the factor are those at which rounding could differ."""
    squares = [(factor * count) ** 2 for count in range(1, 20)]
    for side in (64, 200, 224, 256, 333):
        for square in squares:
            for least in (square - 1, square, square + 1):
                for most in (least, 4 * least):
                    size = {"shortest_edge": least, "longest_edge": most}
                    expected = smart_resize(side, side, factor, least, most)
                    assert (processed_side(size, factor, side),) * 2 == expected


def test_older_names_of_the_bounds(folder):
    """Older checkpoints have `min_pixels` and `max_pixels`, which transformers prefers to `size`."""
    path = folder / PROCESSOR
    record = json.loads(path.read_text())
    del record["size"]
    path.write_text(json.dumps(record | {"min_pixels": 3136, "max_pixels": 12845056}))
    write_pixel_bounds(folder, PixelBounds(min=STUDY), "backbones.qwen")
    assert load(folder).image_size == 448
    written = json.loads(path.read_text())
    assert (written["min_pixels"], written["max_pixels"]) == (STUDY, 12845056)


def test_bounds_in_the_file_of_the_whole_processor(folder):
    """transformers' processors save the image processor as a part of processor_config.json."""
    own = json.loads((folder / PROCESSOR).read_text())
    (folder / PROCESSOR).unlink()
    (folder / "processor_config.json").write_text(json.dumps({"image_processor": own, "other": 1}))
    write_pixel_bounds(folder, PixelBounds(min=STUDY), "backbones.qwen")
    assert load(folder).image_size == 448
    assert json.loads((folder / "processor_config.json").read_text())["other"] == 1
    assert not (folder / PROCESSOR).exists()


def test_an_upper_bound_of_the_checkpoint_below_min_is_refused(folder):
    path = folder / PROCESSOR
    record = json.loads(path.read_text())
    path.write_text(json.dumps(record | {"size": {"shortest_edge": 3136, "longest_edge": 100_000}}))
    before = path.read_bytes()
    with pytest.raises(UserError, match=r"backbones.qwen.pixels.min: 200704 .* at most 100000: write `max`"):
        write_pixel_bounds(folder, PixelBounds(min=STUDY), "backbones.qwen")
    assert path.read_bytes() == before


def test_a_folder_without_an_image_processor_is_refused(tmp_path):
    with pytest.raises(UserError, match=r"backbones.qwen.pixels: .* has no preprocessor_config.json"):
        write_pixel_bounds(tmp_path, PixelBounds(min=STUDY), "backbones.qwen")


def test_the_stage_installs_the_bounds_and_leaves_the_source(hub, folder, tmp_path):
    """The installed files are hard links, so a file that is changed in place would change the source."""
    before = {path.name: path.read_bytes() for path in folder.iterdir()}
    grid = grid_of(folder)
    settings = Backbone(
        family=vision_family(hub), parameters_b=8, checkpoint=str(folder), pixels={"min": STUDY}
    )
    stage = BackboneSettings(name="qwen", backbone=settings, recipe=None, image_size=224, seed=0)
    for _ in range(2):  # a second run installs the files again
        run(stage, questions=None, output=tmp_path / "installed")
        assert load(tmp_path / "installed").image_size == 448
    assert {path.name: path.read_bytes() for path in folder.iterdir()} == before
    record = json.loads((tmp_path / "installed" / "provenance.json").read_text())
    assert record["settings"]["backbone"]["pixels"] == {"min": STUDY}
    without = stage.model_copy(update={"backbone": settings.model_copy(update={"pixels": None})})
    run(without, questions=None, output=tmp_path / "installed")
    assert grid_of(tmp_path / "installed") == grid


def test_the_setting_is_absent_by_default():
    settings = Backbone(family="qwen3_vl", parameters_b=8, checkpoint="lab/qwen")
    assert "pixels" not in settings.model_dump(mode="json")


@pytest.mark.parametrize("family", FAMILIES)
def test_families_with_one_fixed_size_refuse_the_key(family):
    from vlm4vla.backbones.lookup import adapter_class

    has = family in WITH_PIXEL_BOUNDS
    assert adapter_class(family).has_pixel_bounds == has
    keys = {"family": family, "parameters_b": 8, "checkpoint": "lab/model", "pixels": {"min": STUDY}}
    if has:
        assert Backbone(**keys).pixels.min == STUDY
        return
    with pytest.raises(ValueError, match=r"pixels: the image processor of the family .* remove this key"):
        Backbone(**keys)


def test_impossible_bounds_are_refused():
    tiny = {"family": "qwen3_vl", "parameters_b": 8, "tiny": {}, "pretraining": "r"}
    with pytest.raises(ValueError, match="pixels: a tiny backbone reads images of `image_size` pixels"):
        Backbone(**tiny, pixels={"min": STUDY})
    with pytest.raises(ValueError, match=r"max 1000 is below min 200704: write at least 200704"):
        PixelBounds(min=STUDY, max=1000)
    with pytest.raises(ValueError, match="greater than 0"):
        PixelBounds(min=0)


def test_a_fine_tuned_backbone_and_a_policy_keep_the_bounds(folder, tmp_path):
    write_pixel_bounds(folder, PixelBounds(min=STUDY), "backbones.qwen")
    load(folder).save(tmp_path / "saved")
    again = load(tmp_path / "saved")
    assert (again.image_size, grid_of(tmp_path / "saved")) == (448, again.adapter.grid)
    assert again.question_ids("where is it").count(again.model.config.image_token_id) in (256, 196)


def test_pictures_of_another_size_go_through_the_processor(hub, folder):
    """A square image of any size that becomes 448 pixels wide is resized in one step."""
    write_pixel_bounds(folder, PixelBounds(min=STUDY), "backbones.qwen")
    backbone = load(folder)
    images = np.random.default_rng(3).integers(0, 256, (2, 200, 200, 3), dtype=np.uint8)
    theirs = backbone.image_processor(images=list(images), return_tensors="pt")["pixel_values"]
    assert torch.allclose(backbone.encode_images(images)["pixel_values"], theirs, rtol=0, atol=2e-6)
    published = replace(published_configs()[hub], processor={"shortest_edge": STUDY, "longest_edge": 10**8})
    assert processed_side(published.processor, QWEN[hub], 200) == 448
