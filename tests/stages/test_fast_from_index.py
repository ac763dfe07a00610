"""FAST tokens of an indexed dataset equal those of the same demonstrations read into memory."""

import numpy as np

from vlm4vla.config.auxiliary import FastTokens
from vlm4vla.config.demonstrations import Demonstrations
from vlm4vla.config.stages import DemonstrationsSettings, FastDataSettings
from vlm4vla.core.artefacts import write_json
from vlm4vla.data.lerobot.writer import LeRobotWriter
from vlm4vla.data.questions.dataset import HELD_OUT, TRAIN
from vlm4vla.data.questions.reading import read_questions
from vlm4vla.stages.demonstrations_dataset import run as index_dataset
from vlm4vla.stages.fast_data import run

SIDE, EPISODES = 16, 20


def recorded(folder):
    random = np.random.default_rng(0)
    with LeRobotWriter(folder, fps=5, robot_type="arm", image_size=SIDE) as writer:
        for number in range(EPISODES):
            images = random.integers(0, 256, (6, SIDE, SIDE, 3), dtype=np.uint8)
            actions = random.uniform(-1, 1, (6, 7))
            actions[:, 6] = random.choice([0.0, 1.0], 6)
            actions[:2, 6] = (0.0, 1.0)
            writer.add_episode(images, random.normal(size=(6, 8)), actions, f"take thing {number % 3}")
    write_json(folder / "provenance.json", {"stage": "demonstrations"})
    return folder


def test_tokens_and_images_are_the_same(tmp_path):
    memory = recorded(tmp_path / "memory")
    index = tmp_path / "index"
    wanted = Demonstrations(dataset=str(memory))
    index_dataset(
        DemonstrationsSettings(benchmark="bridge", demonstrations=wanted, image_size=SIDE), output=index
    )
    fast = FastTokens(benchmark="bridge", vocabulary=120, scale=10, pictures=30)
    settings = FastDataSettings(fast=fast, chunk=2, normalisation="range")
    for name, folder in (("one", memory), ("two", index)):
        run(settings, demonstrations=folder, output=tmp_path / name)
    for name in ("fast.json", "report.json"):
        assert (tmp_path / "one" / name).read_bytes() == (tmp_path / "two" / name).read_bytes()
    for split in (TRAIN, HELD_OUT):
        one, two = (read_questions(tmp_path / name, split) for name in ("one", "two"))
        assert one.statements == two.statements and len(one) == len(two) > 10
        np.testing.assert_array_equal(one.images(range(len(one))), two.images(range(len(two))))


def test_numbers_of_images(tmp_path):
    memory = recorded(tmp_path / "memory")
    for held_out, expected in ((None, 12), (5, 5)):
        more = {} if held_out is None else {"held_out_pictures": held_out}
        fast = FastTokens(benchmark="bridge", vocabulary=120, scale=10, pictures=30, **more)
        settings = FastDataSettings(fast=fast, chunk=2, normalisation="range")
        assert set(settings.model_dump(mode="json")["fast"]) >= set(more)
        assert ("held_out_pictures" in settings.model_dump_json()) == (held_out is not None)
        run(settings, demonstrations=memory, output=tmp_path / str(held_out))
        assert len(read_questions(tmp_path / str(held_out), TRAIN)) == 30
        # without a limit: all six frames of each held-out episode
        assert len(read_questions(tmp_path / str(held_out), HELD_OUT)) == expected
