"""The extras resolve with the lock, on every Python that the package allows. uv is the resolver."""

from __future__ import annotations

import functools
import json
import tomllib
from pathlib import Path

import pytest
import yaml
from fast_yaml import load_yaml
from packaging.requirements import Requirement
from packaging.specifiers import SpecifierSet
from packaging.utils import canonicalize_name
from uv_resolver import Resolution, compiled, pins, resolution, uv

REPOSITORY = Path(__file__).parents[2]
LOCK = REPOSITORY / "requirements.lock"
TESTS = REPOSITORY / "envs" / "test.lock"
PROJECT = tomllib.loads((REPOSITORY / "pyproject.toml").read_text())["project"]
PYTHONS = [f"3.{minor}" for minor in range(8, 20) if f"3.{minor}" in SpecifierSet(PROJECT["requires-python"])]
TRACKIO = REPOSITORY / "envs" / "trackio.lock"
BROWSER = REPOSITORY / "envs" / "browser" / "requirements.lock"


def test_the_pythons_are_those_that_the_environment_script_accepts():
    script = (REPOSITORY / "workflow" / "environment.sh").read_text()
    assert PYTHONS == ["3.11", "3.12", "3.13"]
    assert " ".join(f"python{version}" for version in PYTHONS) in script
    assert script.count("(3, 11) <= sys.version_info[:2] <= (3, 13)") == 2


# One Python for `make test`: the first, which CI uses.
EACH = [PYTHONS[0], *(pytest.param(each, marks=pytest.mark.exhaustive) for each in PYTHONS[1:])]


@functools.cache
def resolved(python: str) -> Resolution:
    """The project with all extras, within both locks."""
    locks = ("--constraint", str(LOCK), "--constraint", str(TESTS))
    project = str(REPOSITORY / "pyproject.toml")
    return resolution(project, "--all-extras", *locks, "--python-version", python)


def names(requirements: list[str]) -> set[str]:
    return {canonicalize_name(Requirement(each).name) for each in requirements}


@pytest.mark.parametrize("python", EACH)
def test_all_extras_resolve_with_the_lock(python):
    found = resolved(python).versions
    lock = pins(LOCK.read_text())
    assert len(lock) > 100
    assert {name: found[name] for name in lock if name in found} == {n: lock[n] for n in lock if n in found}
    assert {
        "deepspeed",
        "tensorboard",
        "wandb",
        "vla-eval",
        "snakemake-executor-plugin-slurm",
    } <= found.keys()


@pytest.mark.parametrize("extra", [None, "test"])
@pytest.mark.parametrize("python", EACH)
def test_the_locks_have_all_packages_that_the_project_and_its_tests_need(python, extra):
    roots = names(PROJECT["dependencies"])
    roots |= names(PROJECT["optional-dependencies"][extra]) if extra else set()
    found = resolved(python).needed_by(roots)
    assert len(found) > 80
    # PyPI's torch for Linux brings these; a build for the CPU does not need them.
    cuda = {name for name in found if name.startswith(("nvidia-", "cuda-")) or name == "triton"}
    locked = pins(LOCK.read_text()) | (pins(TESTS.read_text()) if extra else {})
    assert found - cuda - locked.keys() == set()  # both locks can be installed with --no-deps
    assert pins(LOCK.read_text()).keys().isdisjoint(pins(TESTS.read_text()))


def test_what_asks_for_a_package_is_followed_to_the_roots():
    parents = {"a": {"project"}, "b": {"a"}, "c": {"b", "x"}, "x": {"project"}, "d": {"x"}}
    assert Resolution(dict.fromkeys(parents, "1"), parents).needed_by({"a"}) == {"a", "b", "c"}


def test_only_pillow_keeps_trackio_out_of_the_extras(tmp_path):
    """If trackio's bound is lifted, this test fails: then trackio becomes an extra again."""
    lock = pins(LOCK.read_text())
    (tmp_path / "pillow.txt").write_text(f"pillow=={lock['pillow']}\n")
    options = [str(TRACKIO), "--constraint", str(LOCK), "--python-version", PYTHONS[0]]
    refused = uv("pip", "compile", "--quiet", *options)
    assert refused.returncode != 0 and f"pillow=={lock['pillow']}" in refused.stderr
    found = compiled(*options, "--override", str(tmp_path / "pillow.txt"))
    added = pins(TRACKIO.read_text())
    assert {name: version for name, version in found.items() if name not in lock} == added
    assert all(found[name] == lock[name] for name in found.keys() & lock.keys())


@pytest.mark.parametrize("python", EACH)
def test_the_lock_of_the_browser_is_complete(python):
    """It is installed with --no-deps, by the Python of the main environment."""
    lock = pins(BROWSER.read_text())
    assert "playwright" in lock
    assert compiled(str(BROWSER), "--python-version", python) == lock


def test_a_constraint_that_conflicts_is_noticed(tmp_path):
    """The check above can fail: with a Pillow that nothing allows, nothing resolves."""
    (tmp_path / "lock.txt").write_text("pillow==3.0.0\n")
    with pytest.raises(AssertionError, match="pillow"):
        compiled(str(REPOSITORY / "pyproject.toml"), "--constraint", str(tmp_path / "lock.txt"))


def test_uv_chooses_the_cpu_build_with_the_option_of_the_page():
    page = (REPOSITORY / "docs" / "set-up.md").read_text()
    assert "uv pip install --torch-backend cpu --requirement requirements.lock" in page
    done = uv("pip", "install", "--help")
    assert "--torch-backend" in done.stdout


def test_the_conda_environment_reads_the_lock():
    """conda hands the list under `pip` to pip as a requirements file, in the folder of the YAML file."""
    path = REPOSITORY / "envs" / "vlm4vla.yaml"
    environment = load_yaml(path.read_text())
    (listed,) = (entry["pip"] for entry in environment["dependencies"] if isinstance(entry, dict))
    assert listed == ["-r ../requirements.lock"]  # pip refuses --no-deps in a requirements file
    assert (path.parent / listed[0].split()[1]).resolve() == LOCK.resolve()
    assert f"python={PYTHONS[0]}" in environment["dependencies"]


def test_the_citation_file_is_valid(tmp_path):
    """By the JSON schema of CFF 1.2.0, which the package cffconvert contains."""
    import jsonschema

    done = uv("pip", "install", "--quiet", "--no-deps", "--target", str(tmp_path), "cffconvert==2.0.0")
    assert done.returncode == 0, done.stderr
    schema = json.loads((tmp_path / "cffconvert/schemas/1.2.0/schema.json").read_text())
    # Dates are strings in JSON, and YAML would read them as dates.
    citation = yaml.load((REPOSITORY / "CITATION.cff").read_text(), Loader=yaml.BaseLoader)
    validator = jsonschema.validators.validator_for(schema)
    check = validator(schema, format_checker=jsonschema.FormatChecker())
    assert list(check.iter_errors(citation)) == []
    assert list(
        check.iter_errors({k: v for k, v in citation.items() if k != "authors"})
    )  # the schema is read


def test_the_citation_file_agrees_with_the_project():
    citation = load_yaml((REPOSITORY / "CITATION.cff").read_text())
    assert citation["cff-version"] == "1.2.0" and citation["message"]
    assert (citation["title"].split(":")[0], citation["version"]) == (PROJECT["name"], PROJECT["version"])
    assert citation["license"] == PROJECT["license"]
    (paper,) = citation["references"]
    assert paper["identifiers"] == [{"type": "other", "value": "arXiv:2601.03309"}]
    assert len(paper["authors"]) == 10
