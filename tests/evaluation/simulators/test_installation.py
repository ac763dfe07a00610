"""What is missing in the environment of a simulator is one line that says what to do."""

import pytest
from simulator_examples import protocol

from vlm4vla.core.errors import UserError
from vlm4vla.evaluation.simulators import installation


@pytest.fixture(autouse=True)
def harness(monkeypatch, tmp_path):
    """vla-eval counts as installed, in a folder that stands for this environment."""
    own = installation.importlib.util.find_spec
    monkeypatch.setattr(
        installation.importlib.util, "find_spec", lambda name: name == "vla_eval" or own(name)
    )
    monkeypatch.setattr(installation.sys, "prefix", str(tmp_path / "own"))
    record(tmp_path / "own/lib/python3.11/site-packages", "vla-eval", "0.8.0")


def record(site, package, version):
    """The record of an installed version."""
    folder = site / f"{package.replace('-', '_')}-{version}.dist-info"
    folder.mkdir(parents=True)
    (folder / "METADATA").write_text(f"Metadata-Version: 2.1\nName: {package}\nVersion: {version}\n")


def environment(folder, packages, version=None, harness="0.8.0"):
    """A virtual environment with `packages`, and the records of versions of metaworld and vla-eval."""
    (folder / "bin").mkdir(parents=True)
    (folder / "bin/python").touch()
    site = folder / "lib/python3.11/site-packages"
    for package in packages:
        (site / package).mkdir(parents=True)
    if version:
        record(site, "metaworld", version)
    record(site, "vla-eval", harness)
    return protocol("metaworld", {"runs": {"environment": str(folder)}}).simulator


@pytest.mark.parametrize(
    ("packages", "version", "message"),
    [
        (["vla_eval"], None, "'metaworld' is not installed in .*env-metaworld"),
        (["metaworld"], "3.1.1", "'vla_eval' is not installed in .*env-metaworld"),
        (
            ["vla_eval", "metaworld"],
            "3.0.0",
            r"metaworld 3\.0\.0 is installed in .* needs 3\.1\.1: .*env-metaworld",
        ),
        (["vla_eval", "metaworld"], None, r"metaworld without a version is installed in .* needs 3\.1\.1"),
    ],
)
def test_an_environment_that_cannot_run_metaworld(tmp_path, packages, version, message):
    simulator = environment(tmp_path / "venv", packages, version)
    with pytest.raises(UserError, match=message) as caught:
        installation.check_installed(simulator, "metaworld")
    assert str(caught.value).startswith("benchmarks.metaworld.evaluation.simulator")
    assert "\n" not in str(caught.value)


def test_another_version_of_the_harness_is_refused_in_both_environments(tmp_path):
    simulator = environment(tmp_path / "venv", ["vla_eval", "metaworld"], "3.1.1", harness="0.7.1")
    with pytest.raises(UserError, match=r"vla-eval 0\.7\.1 is installed in .*/venv, .*: create the env"):
        installation.check_installed(simulator, "metaworld")
    (tmp_path / "own/lib/python3.11/site-packages/vla_eval-0.8.0.dist-info/METADATA").unlink()
    with pytest.raises(UserError, match=r"vla-eval without a version is .*/own, .*: run `make env-vla-eval`"):
        installation.check_installed(simulator, "metaworld")


def test_the_right_version_is_accepted(tmp_path):
    simulator = environment(tmp_path / "venv", ["vla_eval", "metaworld"], "3.1.1")
    installation.check_installed(simulator, "metaworld")
    (tmp_path / "venv/lib/python3.11/site-packages/metaworld").rmdir()
    with pytest.raises(UserError, match="'metaworld' is not installed"):
        installation.check_installed(simulator, "metaworld")
