"""Films, strips of failures and the pages of films, from synthetic rollouts."""

import numpy as np
import pytest
import synthetic_study as made
from PIL import Image

from vlm4vla.config.stages import FilmsSettings
from vlm4vla.core.errors import UserError
from vlm4vla.report.figures.failures import first_failures
from vlm4vla.report.pages.film_page import film_page
from vlm4vla.report.rows.films import frames_of, read_films
from vlm4vla.stages import films as films_report


def write_film(path, greys):
    """Write a GIF of uniform frames, 0.2 s each."""
    path.parent.mkdir(parents=True, exist_ok=True)
    images = [Image.fromarray(np.full((8, 8, 3), grey, dtype=np.uint8)) for grey in greys]
    images[0].save(path, save_all=True, append_images=images[1:], duration=200, loop=0)


@pytest.fixture
def rollouts(tmp_path):
    """Records of three models, with films of the episodes 0 and 1 of each."""
    success = {"kosmos-2": (True, False), "paligemma-1": (True, True), "qwen2.5-vl-3b": (False, False)}
    paths = []
    for model, outcomes in success.items():
        frame = made.episodes(model, "full", "bridge", 0.5, count=6)
        frame.loc[:1, "success"] = outcomes
        frame["solved"] = frame["success"].astype(int)
        path = made.write_episodes(tmp_path, frame)
        for number in (0, 1):
            write_film(path.parent / "videos" / f"episode{number:04d}.gif", range(0, 250, 25))
        paths.append(path)
    return tmp_path, paths


def test_first_failed_film_of_each_model(rollouts):
    _, paths = rollouts
    films = read_films(paths)
    assert [(each.model, each.episode) for each in films] == [
        (model, number) for model in ("kosmos-2", "paligemma-1", "qwen2.5-vl-3b") for number in (0, 1)
    ]
    chosen = first_failures(films, ["bridge"])
    assert [(each.model, each.episode) for each in chosen] == [("kosmos-2", 1), ("qwen2.5-vl-3b", 0)]
    assert len(first_failures(films, ["bridge"], strips=1)) == 1


def test_frames_are_evenly_spaced_and_equal_frames_last_longer(tmp_path):
    write_film(tmp_path / "a.gif", [0, 0, 0, 60, 120, 180])
    frames = frames_of(tmp_path / "a.gif", 3)
    assert [second for second, _ in frames] == pytest.approx([0, 0, 1.0][::2])
    write_film(tmp_path / "b.gif", range(0, 250, 25))
    seconds = [second for second, _ in frames_of(tmp_path / "b.gif", 4)]
    assert seconds[0] == 0 and seconds[-1] == pytest.approx(1.8) and len(seconds) == 4
    (tmp_path / "c.gif").write_text("no film")
    with pytest.raises(UserError, match="not a film"):
        frames_of(tmp_path / "c.gif", 3)


def test_pages_and_strips(rollouts):
    root, paths = rollouts
    settings = FilmsSettings(
        scale="smoke", benchmarks=["calvin", "bridge"], models=["kosmos-2", "qwen2.5-vl-3b"]
    )
    made_files = films_report.run(settings, episodes=paths, output=root)
    assert all(path.is_file() for path in made_files)
    page = (root / "films" / "bridge.html").read_text()
    assert page.count("data:image/gif;base64,") == 2 and "http" not in page
    assert "Kosmos-2: solved" in page and "Qwen2.5-VL-3B: not solved" in page
    assert "No episode of this benchmark was filmed" in (root / "films" / "calvin.html").read_text()


def test_page_says_how_far_a_chain_got(rollouts):
    _, paths = rollouts
    chain = read_films(paths)[0].__class__(
        **{**vars(read_films(paths)[0]), "instructions": ("a", "b", "c"), "solved": 1, "success": False}
    )
    assert chain.failed_at == "b"
    assert "solved 1 of 3" in film_page([chain], "bridge", {"kosmos-2": "Kosmos-2"}, "smoke")


def test_film_without_a_record_is_refused(rollouts):
    _, paths = rollouts
    write_film(paths[0].parent / "videos" / "episode0099.gif", [0, 9])
    with pytest.raises(UserError, match="no episode 99"):
        read_films(paths)
