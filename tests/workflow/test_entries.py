"""Every file that Snakemake's report shows has a place, a caption that is there, and a name of its own."""

from pathlib import Path

import pytest
import yaml

from vlm4vla.config.config import load_config
from vlm4vla.study.study import Study
from vlm4vla.workflow.report_entries import CAPTIONS, entry

REPOSITORY = Path(__file__).parents[2]


@pytest.fixture(scope="module")
def shown():
    """Files of a study with every table there is in the report, relative to its results folder."""
    raw = yaml.safe_load((REPOSITORY / "config.yaml").read_text())
    raw["tables"]["executed_steps"] = {"backbones": "all", "variants": ["full"], "benchmarks": ["bridge"]}
    study = Study(load_config(raw))
    paths = [path for table in study.tables() for path in study.shown_files(table)]
    paths += [*study.film_files(), *study.summary_files(), *study.config_files()]
    return [str(Path(path).relative_to(study.root)) for path in paths]


def test_names_are_unique(shown):
    names = [Path(path).name for path in shown]
    assert len(set(names)) == len(names)


def test_every_file_has_a_place_and_a_caption(shown):
    found = {path: entry(path) for path in shown}
    assert {each["category"] for each in found.values()} == {
        "Tables",
        "Figures",
        "Rollouts",
        "Training",
        "Provenance",
    }
    for path, each in found.items():
        assert (REPOSITORY / "rules" / each["caption"]).is_file(), path
        assert all(each["labels"].values())
    places = [(each["category"], *each["labels"].values()) for each in found.values()]
    assert len(set(places)) == len(places)


def test_every_caption_is_used(shown):
    used = {Path(entry(path)["caption"]).name for path in shown} | {"workflow.rst"}
    assert {path.name for path in (REPOSITORY / "rules" / CAPTIONS).glob("*.rst")} == used
