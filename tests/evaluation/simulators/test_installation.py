"""What is missing in the environment of a simulator is one line that says what to do."""

import pytest
from simulator_examples import protocol

from vlm4vla.core.errors import UserError
from vlm4vla.evaluation.simulators import installation


@pytest.fixture(autouse=True)
def harness(monkeypatch):
    """vla-eval counts as installed where the policy server runs."""
    own = installation.importlib.util.find_spec
    monkeypatch.setattr(
        installation.importlib.util, "find_spec", lambda name: name == "vla_eval" or own(name)
    )


def environment(folder, packages, version=None):
    """A virtual environment with `packages`, and the record of a version of metaworld."""
    (folder / "bin").mkdir(parents=True)
    (folder / "bin/python").touch()
    site = folder / "lib/python3.11/site-packages"
    for package in packages:
        (site / package).mkdir(parents=True)
    if version:
        record = site / f"metaworld-{version}.dist-info"
        record.mkdir()
        (record / "METADATA").write_text(f"Metadata-Version: 2.1\nName: metaworld\nVersion: {version}\n")
    return protocol("metaworld", {"runs": {"environment": str(folder)}}).simulator


@pytest.mark.parametrize(
    ("packages", "version", "message"),
    [
        (["vla_eval"], None, "'metaworld' is not installed in .*env-metaworld"),
        (["metaworld"], "3.1.1", "'vla_eval' is not installed in .*env-metaworld"),
        (
            ["vla_eval", "metaworld"],
            "3.0.0",
            r"metaworld 3\.0\.0 is installed in .* need 3\.1\.1: .*env-metaworld",
        ),
        (["vla_eval", "metaworld"], None, r"metaworld without a version is installed in .* need 3\.1\.1"),
    ],
)
def test_an_environment_that_cannot_run_metaworld(tmp_path, packages, version, message):
    simulator = environment(tmp_path / "venv", packages, version)
    with pytest.raises(UserError, match=message) as caught:
        installation.check_installed(simulator, "metaworld")
    assert str(caught.value).startswith("benchmarks.metaworld.evaluation.simulator")
    assert "\n" not in str(caught.value)


def test_the_right_version_is_accepted(tmp_path):
    simulator = environment(tmp_path / "venv", ["vla_eval", "metaworld"], "3.1.1")
    installation.check_installed(simulator, "metaworld")
    (tmp_path / "venv/lib/python3.11/site-packages/metaworld").rmdir()
    with pytest.raises(UserError, match="'metaworld' is not installed"):
        installation.check_installed(simulator, "metaworld")
