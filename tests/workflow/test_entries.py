"""Each file in Snakemake's report has a unique entry, a caption that exists, and a unique name."""

from pathlib import Path

import pytest
from fast_yaml import load_yaml

from vlm4vla.config.config import load_config
from vlm4vla.study.study import Study
from vlm4vla.workflow.report_entries import CAPTIONS, report_entry

REPOSITORY = Path(__file__).parents[2]


@pytest.fixture(scope="module")
def shown():
    """The files in the report of a study with all tables, relative to its results folder."""
    raw = load_yaml((REPOSITORY / "config.yaml").read_text())
    raw["tables"]["executed_steps"] = {"backbones": "all", "variants": ["full"], "benchmarks": ["bridge"]}
    study = Study(load_config(raw))
    paths = [path for table in study.tables() for path in study.shown_files(table)]
    paths += [*study.film_files(), *study.summary_files(), *study.config_files()]
    return [str(Path(path).relative_to(study.root)) for path in paths]


def test_names_are_unique(shown):
    names = [Path(path).name for path in shown]
    assert len(set(names)) == len(names)


def test_every_file_has_a_unique_entry_and_a_caption(shown):
    found = {path: report_entry(path) for path in shown}
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
    entries = [(each["category"], *each["labels"].values()) for each in found.values()]
    assert len(set(entries)) == len(entries)


def test_every_caption_is_used(shown):
    used = {Path(report_entry(path)["caption"]).name for path in shown} | {"workflow.rst"}
    assert {path.name for path in (REPOSITORY / "rules" / CAPTIONS).glob("*.rst")} == used
