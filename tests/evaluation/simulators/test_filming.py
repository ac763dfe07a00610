"""Films of episodes on real simulators, from the images that a policy sees."""

import numpy as np
import pytest
from PIL import Image
from simulator_examples import METAWORLD, rollout

from vlm4vla.evaluation.films import film_number
from vlm4vla.evaluation.simulators.episodes import filmed_episodes, simulator_episodes
from vlm4vla.evaluation.simulators.filming import LARGEST, Filming


def picture(colour, height=64, width=64):
    return np.full((height, width, 3), colour, dtype=np.uint8)


def frames_of(path):
    with Image.open(path) as film:
        found = []
        for index in range(film.n_frames):
            film.seek(index)
            found.append(np.asarray(film.convert("RGB")))
        return found, film.info["duration"]


def test_a_film_has_the_images_of_its_session(tmp_path):
    filming = Filming(tmp_path, {3, 5})
    filming.begin("a", 3)
    filming.begin("b", 5)
    for colour in (0, 100, 200):
        filming.look("a", picture((colour, 0, 0)))
        filming.look("b", picture((0, colour, 0)))
    filming.end("b")
    filming.end("a")
    films = sorted((tmp_path / "videos").iterdir())
    assert [film_number(film) for film in films] == [3, 5]
    for channel, film in enumerate(films):
        frames, duration = frames_of(film)
        assert [frame[0, 0, channel] for frame in frames] == [0, 100, 200] and duration == 100
        assert all(frame.shape == (64, 64, 3) for frame in frames)


def test_large_images_are_made_smaller_and_keep_their_shape(tmp_path):
    filming = Filming(tmp_path, {0})
    filming.begin("a", 0)
    for colour in (0, 255):
        filming.look("a", picture(colour, 480, 640))
    filming.end("a")
    frames, _ = frames_of(tmp_path / "videos" / "episode0000.gif")
    assert [frame.shape for frame in frames] == [(192, LARGEST, 3)] * 2


@pytest.mark.parametrize("events", [["other"], ["begin", "look"], ["begin", "look", "look", "again"]])
def test_what_is_no_filmed_episode_leaves_no_film(tmp_path, events):
    """An episode without a film, one of a single plan, and one that the session did not end."""
    filming = Filming(tmp_path, {0})
    for number, event in enumerate(events):
        if event == "look":
            filming.look("a", picture(number * 50))
        else:
            filming.begin("a", 0 if event == "begin" else 1)
    filming.end("a")
    filming.end("never began")
    assert not (tmp_path / "videos").exists()


@pytest.mark.parametrize(
    ("videos", "filmed"), [(0, []), (2, [(0, 7), (1, 7)]), (4, [(0, 7), (0, 8), (1, 7), (4, 7)])]
)
def test_each_task_is_filmed_once_before_one_is_filmed_again(videos, filmed):
    simulator = METAWORLD | {"tasks": [0, 1, 4], "first_state": 7}
    evaluation = rollout("metaworld", simulator=simulator, episodes=3, videos=videos).evaluation
    chosen = filmed_episodes(evaluation)
    assert [(e.task, e.state) for e in simulator_episodes(evaluation) if e.number in chosen] == filmed
