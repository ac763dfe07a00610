"""pi0's images without torchvision: the documented steps, and the settings of transformers' own class."""

import numpy as np
import pytest
from PIL import Image
from transformers.models.pi0.image_processing_pi0 import PI0ImageProcessor

from vlm4vla.policies.released.images import PI0ImageProcessorPil


@pytest.fixture
def images():
    return np.random.default_rng(0).integers(0, 256, (2, 30, 30, 3), dtype=np.uint8)


def test_settings_are_transformers_own():
    names = [name for name in vars(PI0ImageProcessor) if not name.startswith("_") and name != "valid_kwargs"]
    assert {"size", "pad_size", "resample", "image_mean", "image_std"} < set(names)
    for name in names:
        assert getattr(PI0ImageProcessorPil, name) == getattr(PI0ImageProcessor, name), name


def test_an_image_of_the_models_size_is_only_normalised():
    images = np.random.default_rng(1).integers(0, 256, (2, 224, 224, 3), dtype=np.uint8)
    found = PI0ImageProcessorPil().pixels(images).numpy()
    expected = (images.transpose(0, 3, 1, 2) / 255 - 0.5) / 0.5
    np.testing.assert_allclose(found, expected, atol=1e-6)


def test_a_square_image_is_enlarged_by_pillow(images):
    found = PI0ImageProcessorPil().pixels(images).numpy()
    for image, pixels in zip(images, found, strict=True):
        large = np.asarray(Image.fromarray(image).resize((224, 224), Image.Resampling.BICUBIC))
        np.testing.assert_allclose(pixels, large.transpose(2, 0, 1) / 127.5 - 1, atol=1e-6)


@pytest.mark.parametrize(("shape", "scaled"), [((50, 100), (112, 224)), ((448, 112), (224, 56))])
def test_another_image_keeps_its_proportions_and_is_padded(shape, scaled):
    image = np.random.default_rng(2).integers(0, 256, (*shape, 3), dtype=np.uint8)
    found = PI0ImageProcessorPil().pixels(image[None]).numpy()[0]
    size = Image.fromarray(image).resize(scaled[::-1], Image.Resampling.BICUBIC)
    assert found.shape == (3, 224, 224)
    inside = found[:, : scaled[0], : scaled[1]]
    np.testing.assert_allclose(inside, np.asarray(size).transpose(2, 0, 1) / 127.5 - 1, atol=1e-6)
    found[:, : scaled[0], : scaled[1]] = 0
    assert not found.any()  # on the right and at the bottom
